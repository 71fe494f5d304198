"""The national platform (全国社保卡服务平台) as a way to be known on the log-in page, by its own scan protocol."""
