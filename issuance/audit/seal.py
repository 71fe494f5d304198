"""The MAC an entry gets when it is made: until the tree has it, this is what shows a change.

Format: key version (2 bytes), nonce (16), keyed SM3 (32) over the nonce and every column but `id` and `seal`. The nonce
tells a copied entry from one that was made.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from hsm.api import Algorithm, KeyExistsError, KeyNotFoundError, KeyRef, KeyService, Purpose
from issuance.audit.verifier import entry_bytes

AUDIT_SEAL: Final = KeyRef("AUDIT_SEAL", Algorithm.SM4)
_NONCE, _MAC = 16, 32
_LABEL: Final = b"audit entry\0"


class AuditSeal:
    """Safe to use from several threads."""

    def __init__(self, keys: KeyService) -> None:
        self._keys = keys
        self._current = _current(keys)

    def make(self, entries: Sequence[dict[str, Any]]) -> list[bytes]:
        """Entries as the database will give them back (`stored_form`)."""
        made = [(secrets.token_bytes(_NONCE), entry) for entry in entries]
        key = self._current
        try:
            macs = self._macs(key, made)
        except KeyNotFoundError:  # destroyed after a rotation
            key = self._current = _current(self._keys)
            macs = self._macs(key, made)
        version = key.version.to_bytes(2)
        return [version + nonce + mac for (nonce, _), mac in zip(made, macs, strict=True)]

    def fits(self, entry: dict[str, Any]) -> bool:
        """Whether the entry is as it was made. Raises HsmError when the key service cannot serve."""
        try:
            seal = bytes.fromhex(entry["seal"])
        except (TypeError, ValueError):
            return False
        if len(seal) != 2 + _NONCE + _MAC:
            return False
        key = replace(AUDIT_SEAL, version=int.from_bytes(seal[:2]))
        try:
            (mac,) = self._macs(key, [(seal[2:-_MAC], entry)])
        except KeyNotFoundError:
            return False
        return hmac.compare_digest(mac, seal[-_MAC:])

    def _macs(self, key: KeyRef, made: Sequence[tuple[bytes, dict[str, Any]]]) -> list[bytes]:
        """Of entries with their nonces."""
        return self._keys.index_batch(key, [_LABEL + nonce + entry_bytes(_body(entry)) for nonce, entry in made])


def _body(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name not in ("id", "seal")}


def stored_form(entry: dict[str, Any]) -> dict[str, Any]:
    """Columns as the log shows them: the time and the detail as the database keeps them, as text."""
    at: datetime = entry["at"]
    return entry | {
        "at": at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "detail": json.dumps(entry["detail"]),
    }


def _current(keys: KeyService) -> KeyRef:
    """The newest version, made in a new key store."""
    try:
        return keys.current(AUDIT_SEAL.name, AUDIT_SEAL.algorithm)
    except KeyNotFoundError:
        with suppress(KeyExistsError):  # another process was faster
            keys.generate(AUDIT_SEAL, Purpose.SEAL)
        return keys.current(AUDIT_SEAL.name, AUDIT_SEAL.algorithm)
