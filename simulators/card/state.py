"""What a chip keeps without power: life cycle, files, keys and counters, with their JSON form."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import IntEnum

from simulators import image
from simulators.apps.state import NeighbourState
from simulators.card.crypto import Algorithm
from simulators.image import ImageError

CHIP_HISTORICAL_BYTES = bytes.fromhex("00FE00000086FE000000000000")
CHIP_MEMORY = 0x10000
KEY_RECORD_SIZE = 24
EMPTY_PIN = b"\xff" * 8

FID_KEYS = 0x0000
FID_ACCOUNT = 0x0002
FID_DF04 = 0xDF04

LATER_FIELDS = frozenset({"neighbours"})
"""Absent from images of the first release, which stay readable; `factory.complete` adds what they lack."""


class CardStateError(ImageError):
    """A stored card image that cannot be read back."""


class Life(IntEnum):
    """Life-cycle states of the reference COS profile (personalization.md section 1)."""

    CHIP = 0
    ACTIVATED = 1
    STRUCTURED = 2
    PRE_PERSONALISED = 3
    ISSUED = 4


class FileType(IntEnum):
    """Type byte of CREATE FILE (personalization.md 3.1, 3.2)."""

    TRANSPARENT = 0x28
    LINEAR_FIXED = 0x2A
    LINEAR_VARIABLE = 0x2C
    CYCLIC = 0x2E
    ACCOUNT = 0x2F
    KEYS = 0x3F


RECORD_TYPES = frozenset({FileType.LINEAR_FIXED, FileType.LINEAR_VARIABLE, FileType.CYCLIC})
DF_TYPE_ADF = 0x38
DF_TYPE_DDF = 0x39


class KeyType(IntEnum):
    """Type byte of WRITE KEY (personalization.md 3.3)."""

    MASTER = 0x00
    PIN = 0x01
    PURCHASE = 0x02
    MAC = 0x06
    AUTHENTICATION = 0x07
    MAC_ENCRYPTION = 0x08
    LOAD = 0x09
    TAC = 0x0C


TRANSACTION_KEYS = frozenset({KeyType.PURCHASE, KeyType.LOAD, KeyType.TAC})
FLAG_INTERNAL_ONLY = 0x01
FLAG_SECURED_UPDATE = 0x01


@dataclass(slots=True)
class KeyObject:
    """One key or PIN record; `retry_max` 0 means that failures are not counted."""

    type: KeyType
    kid: int
    version: int
    algorithm: int
    retry_max: int
    retry_left: int
    flags: int
    value: bytes

    @property
    def is_locked(self) -> bool:
        return self.retry_max > 0 and self.retry_left == 0

    @property
    def tries(self) -> int:
        """The x of 63Cx."""
        return self.retry_left if self.retry_max else 0xF

    def fail(self) -> None:
        if self.retry_max:
            self.retry_left -= 1

    def restore(self) -> None:
        self.retry_left = self.retry_max


@dataclass(slots=True)
class Ef:
    """An elementary file. Linear records stand oldest first, cyclic ones newest first."""

    fid: int
    type: FileType
    size: int
    record_length: int
    records_max: int
    read: bytes
    write: bytes
    sfi: int
    flags: int
    content: bytes = b""
    records: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Df:
    """A dedicated file: the SSSE (a DDF) or one application of it."""

    fid: int
    type: int
    size: int
    create: bytes
    block_kid: int
    retry: int
    dir_sfi: int
    algorithm: int
    name: bytes
    efs: list[Ef] = field(default_factory=list)
    keys: list[KeyObject] = field(default_factory=list)
    master: KeyObject | None = None
    is_blocked: bool = False

    @property
    def is_environment(self) -> bool:
        return self.type == DF_TYPE_DDF

    def ef(self, fid: int) -> Ef | None:
        return next((ef for ef in self.efs if ef.fid == fid), None)

    def ef_by_sfi(self, sfi: int) -> Ef | None:
        return next((ef for ef in self.efs if ef.sfi == sfi), None) if sfi else None

    def key(self, types: set[KeyType], kid: int, version: int | None = None) -> KeyObject | None:
        """The record of this version, or of the lowest version present when none is named (OPEN C19)."""
        found = [k for k in self.keys if k.type in types and k.kid == kid and version in (None, k.version)]
        return min(found, key=lambda k: k.version, default=None)


@dataclass(slots=True)
class Proof:
    """The last completed medical transaction, kept for GET TRANSACTION PROOF (draft P7 14)."""

    type: int
    sequence: int
    mac: bytes
    tac: bytes


@dataclass(slots=True)
class CardState:
    """Everything that survives power-off. `dfs[0]` is the SSSE once it exists."""

    life: Life = Life.CHIP
    algorithm: Algorithm = Algorithm.TRIPLE_DES
    historical: bytes = CHIP_HISTORICAL_BYTES
    transport: KeyObject | None = None
    dfs: list[Df] = field(default_factory=list)
    is_blocked: bool = False
    proof: Proof | None = None
    neighbours: NeighbourState = field(default_factory=NeighbourState)

    @property
    def atr(self) -> bytes:
        """Basic ATR, T=0 (draft P2 8.2): TS, T0 with TB1 and TC1, historical bytes."""
        return bytes((0x3B, 0x60 | len(self.historical), 0, 0)) + self.historical

    @property
    def ssse(self) -> Df | None:
        return self.dfs[0] if self.dfs else None

    @property
    def applications(self) -> list[Df]:
        return self.dfs[1:]

    @property
    def pin(self) -> KeyObject | None:
        """The one global PIN object, id 01 of the SSSE key file (OPEN F12)."""
        return self.ssse.key({KeyType.PIN}, 1) if self.ssse else None

    @property
    def has_pin(self) -> bool:
        return self.pin is not None and self.pin.value != EMPTY_PIN

    @property
    def free_memory(self) -> int:
        return CHIP_MEMORY - (self.ssse.size if self.ssse else 0)

    def free_in(self, df: Df) -> int:
        """Bytes not yet given to a file of `df`; applications lie inside the SSSE."""
        used = sum(ef.size for ef in df.efs)
        if df is self.ssse:
            used += sum(child.size for child in self.applications)
        return df.size - used

    def to_json(self) -> str:
        return image.dump(self)

    @classmethod
    def from_json(cls, text: str) -> CardState:
        """Raises CardStateError for anything `to_json` did not write."""
        try:
            return image.restore(cls, json.loads(text), LATER_FIELDS)
        except (ValueError, TypeError, KeyError) as exc:
            raise CardStateError(f"card image unreadable: {exc}") from exc
