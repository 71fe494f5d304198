"""The outbox: what leaves the process is stored with the act that causes it, and sent afterwards, at least once."""
