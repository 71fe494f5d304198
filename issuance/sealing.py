"""Personal data at rest: one JSON per row, sealed by the key service and bound to its row.

The first byte names the version of the key, so the key can be rotated: new data is sealed with the current version, old
data opens with its own.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar

from hsm.api import Algorithm, KeyExpiredError, KeyNotFoundError, KeyRef, KeyService, Purpose
from hsm.primitives import AuthenticationFailed

PERSON_SEAL = KeyRef("PERSON_SEAL", Algorithm.SM4)
PERSON_INDEX = KeyRef("PERSON_INDEX", Algorithm.SM4)
"""Not rotated with the seal: an index finds rows that were written before."""


class SealedDataError(Exception):
    """Sealed data does not open: damaged, moved to another row, or sealed under another key."""

    failure: ClassVar[str] = "INTERNAL"


class Sealer:
    """`context` names table and row: a sealed value copied to another row does not open."""

    def __init__(self, keys: KeyService) -> None:
        self._keys = keys
        self._current = PERSON_SEAL

    def seal(self, value: Any, context: str) -> bytes:
        return self.seal_bytes(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), context)

    def seal_bytes(self, plain: bytes, context: str) -> bytes:
        try:
            return self._sealed(plain, context)
        except (KeyExpiredError, KeyNotFoundError):
            self._current = self._keys.current(PERSON_SEAL.name, PERSON_SEAL.algorithm)
            return self._sealed(plain, context)

    def _sealed(self, plain: bytes, context: str) -> bytes:
        key = self._current
        return bytes((key.version,)) + self._keys.seal(key, plain, context.encode())

    def unseal(self, sealed: bytes, context: str) -> Any:
        """Raises SealedDataError, and HsmError when the key service itself cannot serve."""
        return json.loads(self.unseal_bytes(sealed, context))

    def unseal_bytes(self, sealed: bytes, context: str) -> bytes:
        """As `unseal`."""
        try:
            key = replace(PERSON_SEAL, version=sealed[0])
            return self._keys.unseal(key, sealed[1:], context.encode())
        except (AuthenticationFailed, KeyNotFoundError, IndexError, ValueError) as error:
            raise SealedDataError(f"{context.partition(':')[0]}: sealed data does not open") from error

    def index(self, kind: str, value: str) -> bytes:
        """32 bytes for equality look-ups; the same value of another `kind` gives another index."""
        return self._keys.index(PERSON_INDEX, f"{kind}:{value}".encode())


def ensure_seal_keys(keys: KeyService) -> None:
    """Make the sealing keys of a new key store."""
    for key in (PERSON_SEAL, PERSON_INDEX):
        try:
            keys.current(key.name, key.algorithm)
        except KeyNotFoundError:
            keys.generate(key, Purpose.SEAL)
