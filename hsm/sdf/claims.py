"""Which internal pairs were given out: one small file per public key in a folder beside the key store.

A machine cannot make or destroy internal pairs through SDF, so a pair is given out once in its life. The claim names
the public key, not the index: when an operator makes a new pair at an index, it is free; when two machines hold the
same pairs, one claim counts for both. A pair claimed by a process that died before it wrote its key table stays spent.
"""

from __future__ import annotations

import os
from pathlib import Path


class PairClaims:
    """Safe for several threads and processes that share the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def claim(self, public: bytes) -> bool:
        """True for the one caller that asks first. Raises OSError when the folder cannot be written."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            file = os.open(self._folder / f"sm2-{public[1:].hex()}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return False
        os.fsync(file)
        os.close(file)
        return True
