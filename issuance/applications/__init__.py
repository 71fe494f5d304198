"""Applications and the instant-issue saga."""
