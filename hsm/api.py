"""The key service contract: what may be asked of keys, never the keys themselves.

Cryptographic rules: card specification draft P4 §8-9 (session keys, MAC, encryption), P9 §7 (diversification),
reference COS profile for key loading (`docs/card.md`). Backends live beside this module and are chosen by the
composition root; callers import only from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol, runtime_checkable


class Algorithm(StrEnum):
    """Cipher a card key belongs to. 3DES keys have 16 bytes, or 8 where the draft asks for single DES (STK)."""

    TDES = "3DES"
    SM4 = "SM4"


class Purpose(StrEnum):
    """What one key may be used for; a request outside its purpose raises `KeyPurposeError`."""

    AUTHENTICATION = "authentication"
    MESSAGE = "message"
    MASTER = "master"
    PURCHASE = "purchase"
    LOAD = "load"
    TAC = "tac"
    SEAL = "seal"
    SIGN = "sign"


@dataclass(frozen=True, slots=True)
class KeyRef:
    """Name of a key. Card keys carry the card's own key name (`IRK`, `UK1DF02`, `STKDF03`, `MK_SSSE`, `TK`)."""

    name: str
    algorithm: Algorithm
    version: int = 1

    def __str__(self) -> str:
        return f"{self.name}/{self.algorithm}/v{self.version}"


@dataclass(frozen=True, slots=True)
class CardFactors:
    """What makes a root key a card's own key (P9 §7.3).

    `region` is the six-digit 应用城市代码 (digits 1-2 give L1, 1-6 give L2); `card` is L3, historical bytes 6-13.
    How many of the three are applied follows from the level of the root: 1 = L1 L2 L3, 2 = L2 L3, 3 = L3, 0 = none.
    """

    region: str
    card: bytes

    def __post_init__(self) -> None:
        if len(self.region) != 6 or not (self.region.isascii() and self.region.isdigit()):
            raise ValueError("region must be six digits")
        if len(self.card) != 8:
            raise ValueError("card factor must be 8 bytes")


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """Public facts of a key. `level` as in `CardFactors`; `length` in bytes; `kcv` 3 bytes (first of E(K, 00…))."""

    ref: KeyRef
    purpose: Purpose
    level: int
    length: int
    kcv: bytes


class HsmError(Exception):
    """Base of key-service errors; `failure` names a member of `cardlib.failures.FailureCode`."""

    failure: ClassVar[str] = "INTERNAL"


class KeyNotFoundError(HsmError):
    failure = "KEY_NOT_FOUND"


class KeyExistsError(HsmError):
    """A key of that name, algorithm and version is there already; keys are never overwritten."""

    failure = "CONFLICT"


class KeyPurposeError(HsmError):
    failure = "KEY_PURPOSE"


class KeyStoreLockedError(HsmError):
    """Wrong passphrase, or locked after too many of them."""

    failure = "KEY_STORE_LOCKED"


class KeyStoreCorruptError(HsmError):
    failure = "KEY_STORE_CORRUPT"


class BadInputError(HsmError, ValueError):
    """A length or value outside the contract; nothing was computed."""

    failure = "INPUT_INVALID"


@runtime_checkable
class CardAuthenticator(Protocol):
    """Gives authentication values for card keys: the key service at the centre, or a PSAM in the terminal."""

    def authentication_value(self, key: KeyRef, factors: CardFactors, challenge: bytes, original: bytes) -> bytes:
        """8-byte 鉴别数据 over `original` (8 bytes) with the session key from `challenge` (4, 8 or 16 bytes)."""
        ...


@runtime_checkable
class KeyService(CardAuthenticator, Protocol):
    """All key operations. Methods are safe to call from several threads. Key bytes never leave."""

    def info(self, key: KeyRef) -> KeyInfo: ...

    def keys(self) -> list[KeyInfo]: ...

    def generate(self, key: KeyRef, purpose: Purpose, *, level: int = 0, length: int = 16) -> KeyInfo: ...

    def import_components(self, key: KeyRef, purpose: Purpose, components: list[bytes], *, level: int = 0) -> KeyInfo:
        """Key = XOR of the components (at least two, equal lengths 8 or 16), as custodians hand them over."""
        ...

    def destroy(self, key: KeyRef) -> None: ...

    def random(self, length: int) -> bytes: ...

    def secured_data(
        self, key: KeyRef, factors: CardFactors, challenge: bytes, header: bytes, data: bytes, *, encrypt: bool = False
    ) -> bytes:
        """Data field of a secured command: [enc] data || MAC (P4 §8). `header` is CLA INS P1 P2; needs MESSAGE."""
        ...

    def wrap_card_key(
        self,
        key: KeyRef,
        factors: CardFactors,
        record_header: bytes,
        *,
        under: KeyRef,
        under_factors: CardFactors,
        challenge: bytes,
        header: bytes,
    ) -> bytes:
        """Data field of WRITE KEY: `key` diversified for the card, behind its 8-byte record header, encrypted and
        MACed with the full key `under` (purpose MASTER); IV of the MAC = `challenge` (4 bytes) filled with 00."""
        ...

    def wrap_value(
        self,
        value: bytes,
        record_header: bytes,
        *,
        under: KeyRef,
        under_factors: CardFactors,
        challenge: bytes,
        header: bytes,
    ) -> bytes:
        """As `wrap_card_key` for a value the caller may know (the PIN object)."""
        ...

    def master_mac(
        self, key: KeyRef, factors: CardFactors, challenge: bytes, header: bytes, data: bytes = b""
    ) -> bytes:
        """4-byte MAC with the full master key over CLA INS P1 P2 Lc || data, IV = challenge filled with 00."""
        ...

    def card_kcv(self, key: KeyRef, factors: CardFactors) -> bytes:
        """3-byte key check value of the diversified card key."""
        ...

    def seal(self, key: KeyRef, plaintext: bytes, context: bytes = b"") -> bytes:
        """Authenticated encryption of data at rest (SM4-GCM, purpose SEAL); `context` is bound, not stored."""
        ...

    def unseal(self, key: KeyRef, sealed: bytes, context: bytes = b"") -> bytes: ...

    def index(self, key: KeyRef, value: bytes) -> bytes:
        """32-byte keyed SM3 of `value` for look-ups over sealed data (purpose SEAL)."""
        ...

    def sm2_generate(self, key: KeyRef) -> bytes:
        """Make an SM2 signing key (purpose SIGN); returns the public key, 04 || X || Y."""
        ...

    def sm2_public_key(self, key: KeyRef) -> bytes: ...

    def sm2_sign(self, key: KeyRef, message: bytes, *, user_id: bytes) -> bytes:
        """Raw r || s, 64 bytes (GM/T 0003.2)."""
        ...
