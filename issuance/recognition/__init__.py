"""Codes of other platforms (多码融合): whose a code is, where it works, and which of our cards it stands for."""
