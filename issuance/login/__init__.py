"""Log-in by electronic card: an OpenID Connect provider for relying parties."""
