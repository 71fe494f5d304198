"""The `onecard` command line: the one place that puts the packages together. Imported by none of them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The project's folder, where the root script lies."""
