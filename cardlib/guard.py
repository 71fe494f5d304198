"""Lock-out guard: what is known of the tries left, so that nothing is spent unknowingly.

The PIN's counter can be asked of the card (draft P5 §6.14.5); a key's cannot, so what 63Cx told is remembered for each
card by its reset information. Safe for several threads, and with a file for several processes.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import tempfile
import threading
from functools import cache
from pathlib import Path

from cardlib.errors import LastKeyTryError

TRIES_KEPT = 1
"""Tries a program leaves unless an operator says otherwise (targets.md, row 7)."""


class KeyTries:
    """Tries left by card and key name. With `path` they outlive the process; a file that cannot be read counts as
    empty, because a guard that stops all work would be switched off."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._left: dict[str, int] = {}

    def left(self, card: bytes, key: str) -> int | None:
        """None when no failure with this key is known since its last success."""
        with self._lock:
            self._load()
            return self._left.get(_name(card, key))

    def require(self, card: bytes, key: str, *, use_last_try: bool) -> None:
        """Raises LastKeyTryError when a wrong value would lock the key."""
        left = self.left(card, key)
        if left is not None and left <= TRIES_KEPT and not use_last_try:
            raise LastKeyTryError(left, key)

    def failed(self, card: bytes, key: str, left: int) -> None:
        """`left` as 63Cx told it. Of a key with none left nothing more can be lost, and it is not kept."""
        with self._lock:
            self._load()
            self._left[_name(card, key)] = left
            if not left:
                del self._left[_name(card, key)]
            self._save()

    def succeeded(self, card: bytes, key: str) -> None:
        """A success gives a key all its tries back (draft P5 §6.4)."""
        with self._lock:
            self._load()
            if self._left.pop(_name(card, key), None) is not None:
                self._save()

    def _load(self) -> None:
        if self._path is None:
            return
        try:
            raw = json.loads(self._path.read_text(encoding="utf-8"))
            self._left = {str(name): int(left) for name, left in raw.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self._left = {}

    def _save(self) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(self._left, file)
        Path(name).replace(self._path)


@cache
def process_tries() -> KeyTries:
    """The guard of this process, for sessions that were given none."""
    return KeyTries()


class WrongPins:
    """PINs a card refused in this session, as digests under a random of the session."""

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(16)
        self._digests: set[bytes] = set()

    def __contains__(self, pin: bytes) -> bool:
        return self._digest(pin) in self._digests

    def add(self, pin: bytes) -> None:
        self._digests.add(self._digest(pin))

    def clear(self) -> None:
        self._digests.clear()

    def _digest(self, pin: bytes) -> bytes:
        return hmac.digest(self._salt, pin, "sha256")


def _name(card: bytes, key: str) -> str:
    return f"{card.hex().upper()}/{key}"
