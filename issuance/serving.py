"""How a process that serves for a long time uses its memory."""

from __future__ import annotations

import gc
from typing import Final

_THRESHOLDS: Final = (20_000, 20, 20)
"""Requests in flight hold thousands of objects; with Python's own 700 each would be looked at again and again."""


def settle_memory() -> None:
    """Once the service is started: what it holds stays, so the search for garbage leaves out its quarter of a million
    objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
