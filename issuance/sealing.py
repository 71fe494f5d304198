"""Personal data at rest: one JSON per row, sealed by the key service and bound to its row."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from hsm.api import Algorithm, KeyNotFoundError, KeyRef, KeyService, Purpose
from hsm.primitives import AuthenticationFailed

PERSON_SEAL = KeyRef("PERSON_SEAL", Algorithm.SM4)


class SealedDataError(Exception):
    """Sealed data does not open: damaged, moved to another row, or sealed under another key."""

    failure: ClassVar[str] = "INTERNAL"


class Sealer:
    """`context` names table and row: a sealed value copied to another row does not open."""

    def __init__(self, keys: KeyService) -> None:
        self._keys = keys

    def seal(self, value: Any, context: str) -> bytes:
        plain = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        return self._keys.seal(PERSON_SEAL, plain, context.encode())

    def unseal(self, sealed: bytes, context: str) -> Any:
        """Raises SealedDataError, and HsmError when the key service itself cannot serve."""
        try:
            plain = self._keys.unseal(PERSON_SEAL, sealed, context.encode())
        except (AuthenticationFailed, ValueError) as error:
            raise SealedDataError(f"{context.partition(':')[0]}: sealed data does not open") from error
        return json.loads(plain)

    def index(self, kind: str, value: str) -> bytes:
        """32 bytes for equality look-ups; the same value of another `kind` gives another index."""
        return self._keys.index(PERSON_SEAL, f"{kind}:{value}".encode())


def ensure_seal_key(keys: KeyService) -> None:
    """Make the sealing key of a new key store."""
    try:
        keys.info(PERSON_SEAL)
    except KeyNotFoundError:
        keys.generate(PERSON_SEAL, Purpose.SEAL)
