"""What the applications beside the SSSE keep without power. Plain data, so that the card image can hold them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class LastTransaction:
    """The last finished purse transaction, kept for GET TRANSACTION PROVE (transit_card.md 4.3)."""

    type: int
    number: int
    mac: bytes
    tac: bytes


@dataclass(slots=True)
class PurseState:
    """The 交通联合 purse (transit_card.md section 2). `balance` is the actual one in fen, negative when overdrawn.

    `algorithm` is the byte of INIT responses: 00 3DES, 04 SM4. Cyclic files stand newest first. `block` 0 open,
    1 temporarily blocked, 2 locked for good; `mac_failures` counts block commands with a wrong MAC in a row.
    `is_mac_folded` False is the other reading of OPEN X3 for SM4.
    """

    algorithm: int
    key_index: int
    key_version: int
    dpk: bytes
    dlk: bytes
    dtk: bytes
    damk: bytes
    duk: bytes
    public: bytes
    holder: bytes
    management: bytes
    processes: list[bytes]
    balance: int = 0
    overdraft_limit: int = 0
    online: int = 0
    offline: int = 0
    log: list[bytes] = field(default_factory=list)
    trips: list[bytes] = field(default_factory=list)
    last: LastTransaction | None = None
    is_mac_folded: bool = True
    block: int = 0
    mac_failures: int = 0


@dataclass(slots=True)
class PinState:
    """A PIN of the certificate application, kept as its key (first 16 bytes of SM3 over the packed-BCD digits)."""

    key: bytes
    retry_max: int
    retry_left: int


@dataclass(slots=True)
class KeyPair:
    """An SM2 pair, both parts empty until it is made: public 04 || X || Y, private 32 bytes."""

    public: bytes = b""
    private: bytes = b""


@dataclass(slots=True)
class PkiState:
    """SS.CERT.ADF1: two key pairs and two certificate files of fixed size, written over in slices."""

    user: PinState
    admin: PinState
    signing: KeyPair
    encryption: KeyPair
    signing_certificate: bytes
    encryption_certificate: bytes


@dataclass(slots=True)
class BankState:
    """The bank application, as far as a counter reads it."""

    number: str
    expiry: str
    sequence: int


@dataclass(slots=True)
class NeighbourState:
    """The applications of one card beside its SSSE; None where the card has none of the kind."""

    transit: PurseState | None = None
    pki: PkiState | None = None
    bank: BankState | None = None
