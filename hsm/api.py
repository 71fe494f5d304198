"""The key service contract: what may be asked of keys, never the keys themselves.

Cryptographic rules: card specification draft P4 §8-9 (session keys, MAC, encryption), P9 §7 (diversification),
reference COS profile for key loading (`docs/card.md`). Backends live beside this module and are chosen by the
composition root; callers import only from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol, runtime_checkable


class Algorithm(StrEnum):
    """What a key is for. Card keys are 3DES (16 bytes, or 8 where the draft asks for single DES: STK) or SM4 keys."""

    TDES = "3DES"
    SM4 = "SM4"
    SM2 = "SM2"
    P256 = "P-256"
    RSA = "RSA"


CARD_ALGORITHMS = (Algorithm.TDES, Algorithm.SM4)
PAIR_ALGORITHMS = (Algorithm.SM2, Algorithm.P256, Algorithm.RSA)


class Purpose(StrEnum):
    """What one key may be used for; a request outside its purpose raises `KeyPurposeError`."""

    AUTHENTICATION = "authentication"
    MESSAGE = "message"
    MASTER = "master"
    PURCHASE = "purchase"
    LOAD = "load"
    TAC = "tac"
    TRANSPORT = "transport"
    SEAL = "seal"
    SIGN = "sign"
    DECRYPT = "decrypt"


CARD_PURPOSES = frozenset(
    (Purpose.AUTHENTICATION, Purpose.MESSAGE, Purpose.MASTER, Purpose.PURCHASE, Purpose.LOAD, Purpose.TAC)
)
PAIR_PURPOSES = frozenset((Purpose.SIGN, Purpose.DECRYPT))


class KeyState(StrEnum):
    """ACTIVE keys do everything their purpose allows; RETIRED ones serve the cards and data that carry them."""

    ACTIVE = "active"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class KeyRef:
    """Name of a key. Card keys carry the card's own key name (`IRK`, `UK1DF02`, `STKDF03`, `MK_SSSE`, `TK`).

    `region` is the six-digit region a root belongs to, empty for a national one.
    """

    name: str
    algorithm: Algorithm
    version: int = 1
    region: str = ""

    def __str__(self) -> str:
        return f"{self.name}/{self.algorithm}/v{self.version}" + (f"@{self.region}" if self.region else "")


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
    """Public facts of a key. `level` as in `CardFactors`; `length` in bytes; `kcv` 3 bytes (first of E(K, 00…)), of
    pairs the first of SM3 over the public key; `created` and `expires` in seconds since 1970, `uses` since then."""

    ref: KeyRef
    purpose: Purpose
    level: int
    length: int
    kcv: bytes
    state: KeyState = KeyState.ACTIVE
    created: int = 0
    expires: int | None = None
    uses: int = 0


@dataclass(frozen=True, slots=True)
class DiversificationStep:
    """One step from a root to a card's key: what it was diversified by, and the check value of the result."""

    name: str
    factor: bytes
    kcv: bytes


@dataclass(frozen=True, slots=True)
class Authentication:
    """One authentication of a batch; fields as in `CardAuthenticator.authentication_value`."""

    factors: CardFactors
    challenge: bytes
    original: bytes


@dataclass(frozen=True, slots=True)
class SecuredMessage:
    """One secured command of a batch; fields as in `KeyService.secured_data`."""

    factors: CardFactors
    challenge: bytes
    header: bytes
    data: bytes
    encrypt: bool = False


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


class KeyExpiredError(HsmError):
    """The key is retired or past its term; it does nothing new."""

    failure = "KEY_EXPIRED"


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
class MessageKeys(CardAuthenticator, Protocol):
    """Also secures commands of a card: the key service, or a PSAM as far as its STK allows."""

    def secured_data(
        self, key: KeyRef, factors: CardFactors, challenge: bytes, header: bytes, data: bytes, *, encrypt: bool = False
    ) -> bytes:
        """Data field of a secured command: [enc] data || MAC (P4 §8). `header` is CLA INS P1 P2; needs MESSAGE."""
        ...


@runtime_checkable
class KeyVersions(CardAuthenticator, Protocol):
    """Keeps several versions of a root side by side, as cards made before and after a rotation need them.

    Who does not, as a PSAM, has the one set of roots it was loaded with, by whatever number.
    """

    def versions(self, name: str, algorithm: Algorithm, *, region: str = "") -> list[int]:
        """Every version held, retired ones too, newest first."""
        ...


@runtime_checkable
class KeyService(MessageKeys, KeyVersions, Protocol):
    """All key operations. Methods are safe to call from several threads. Key bytes never leave."""

    def info(self, key: KeyRef) -> KeyInfo: ...

    def keys(self) -> list[KeyInfo]: ...

    def current(self, name: str, algorithm: Algorithm, *, region: str = "") -> KeyRef:
        """The highest active version. Raises KeyNotFoundError."""
        ...

    def generate(
        self, key: KeyRef, purpose: Purpose, *, level: int = 0, length: int = 16, expires: int | None = None
    ) -> KeyInfo: ...

    def import_components(
        self, key: KeyRef, purpose: Purpose, components: list[bytes], *, level: int = 0, expires: int | None = None
    ) -> KeyInfo:
        """Key = XOR of the components (at least two, equal lengths 8 or 16), as custodians hand them over."""
        ...

    def import_wrapped(
        self, key: KeyRef, purpose: Purpose, wrapped: bytes, *, kek: KeyRef, kcv: bytes, level: int = 0
    ) -> KeyInfo:
        """A key that arrives as ECB under `kek` (purpose TRANSPORT), taken only when its check value is `kcv`."""
        ...

    def derive_root(self, key: KeyRef, source: KeyRef, *, level: int) -> KeyInfo:
        """Root of a region from one nearer the nation: `key.region` gives the factors, `level` what stays to be done.

        A level-2 root is a province's, a level-3 root a city's (P9 figure 12); cards cannot tell which was used.
        """
        ...

    def wrap_root(self, source: KeyRef, *, region: str, level: int, kek: KeyRef) -> tuple[bytes, bytes]:
        """The same root as `derive_root`, as ECB under `kek` for `import_wrapped` elsewhere, and its check value."""
        ...

    def retire(self, key: KeyRef) -> KeyInfo:
        """From now on the key serves existing cards and data only."""
        ...

    def destroy(self, key: KeyRef) -> None: ...

    def random(self, length: int) -> bytes: ...

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

    def diversification(self, key: KeyRef, factors: CardFactors) -> list[DiversificationStep]:
        """The steps from the root to the card's key, the root first: a dry run for people who look for a mistake."""
        ...

    def decrypted_data(self, key: KeyRef, factors: CardFactors, challenge: bytes, cipher: bytes) -> bytes:
        """Plaintext under the session key of `key` (P4 §8.3); needs MESSAGE."""
        ...

    def authentication_value_batch(self, key: KeyRef, items: Sequence[Authentication]) -> list[bytes]:
        """`authentication_value` for each, in order; all or nothing."""
        ...

    def secured_data_batch(self, key: KeyRef, items: Sequence[SecuredMessage]) -> list[bytes]: ...

    def card_kcv_batch(self, key: KeyRef, items: Sequence[CardFactors]) -> list[bytes]: ...

    def seal(self, key: KeyRef, plaintext: bytes, context: bytes = b"") -> bytes:
        """Authenticated encryption of data at rest (SM4-GCM, purpose SEAL); `context` is bound, not stored."""
        ...

    def unseal(self, key: KeyRef, sealed: bytes, context: bytes = b"") -> bytes: ...

    def index(self, key: KeyRef, value: bytes) -> bytes:
        """32-byte keyed SM3 of `value` for look-ups over sealed data (purpose SEAL)."""
        ...

    def index_batch(self, key: KeyRef, values: Sequence[bytes]) -> list[bytes]: ...

    def generate_pair(self, key: KeyRef, purpose: Purpose = Purpose.SIGN, *, expires: int | None = None) -> bytes:
        """Make an SM2, P-256 or RSA pair (purpose SIGN, or DECRYPT for SM2); returns `public_key`."""
        ...

    def public_key(self, key: KeyRef) -> bytes:
        """SM2 and P-256: 04 || X || Y; RSA: DER SubjectPublicKeyInfo."""
        ...

    def sign(self, key: KeyRef, message: bytes, *, user_id: bytes = b"") -> bytes:
        """SM2 (GM/T 0003.2, with an explicit `user_id`) and P-256: raw r || s; RSA: PKCS #1 v1.5, SHA-256."""
        ...

    def sign_batch(self, key: KeyRef, messages: Sequence[bytes], *, user_id: bytes = b"") -> list[bytes]: ...

    def decrypt(self, key: KeyRef, ciphertext: bytes) -> bytes:
        """Plaintext of SM2 04 || C1 || C3 || C2 (GM/T 0003.4). Raises AuthenticationFailed."""
        ...
