"""Electronic cards and their sixty-second codes."""
