"""What the tests of the driver functions put around a card: a terminal, a PIN entry, a centre."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import count
from types import TracebackType
from typing import Self

from cardlib.driver_hsm import HsmSteps
from cardlib.driver_session import DriverSession, DriverTerminal
from cardlib.guard import KeyTries
from cardlib.hsm_route import HsmRoute, factors_of
from cardlib.medical import PendingTransaction, PsamPurchase
from cardlib.psam import PsamAuthenticator
from hsm.api import CardFactors
from hsm.soft import SoftKeyService
from hsm.transactions import transaction_keys
from simulators.card import Algorithm, SimCard
from simulators.psam import KeyRecord, SimPsam
from tests.cardlib.support import key_service_of
from tests.simulators.support import vector_roots, vector_state, vectors

TERMINAL = "990100000001"
ADDRESSES = {"PUK": "0x1A06", "RK_SSSE": "0x1A0A", "STK": "0x1A02", "DPK": "0x1B01"}
INFO = "990100D15600000500000001FFFFFFFF|A00000011|"
FACTORS: CardFactors = factors_of("990100", "00FE00000086FE990100000001")


class Typed:
    """Digits for one `with`."""

    def __init__(self, digits: str) -> None:
        self.digits = digits

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.digits = ""


class Holder:
    """Types what the list says; an exception in it is raised. `asked` remembers the kinds of entry."""

    def __init__(self, *entries: str | Exception) -> None:
        self._entries: Iterator[str | Exception] = iter(entries)
        self.asked: list[bool] = []

    def enter(self, *, is_new: bool) -> Typed:
        self.asked.append(is_new)
        entry = next(self._entries)
        if isinstance(entry, Exception):
            raise entry
        return Typed(entry)


@cache
def keys() -> SoftKeyService:
    return key_service_of(vector_roots())


def route() -> HsmRoute:
    return HsmRoute(keys(), transaction_keys(keys()), count(0x2A).__next__, ADDRESSES)


def card(algorithm: Algorithm, pin: str = "123456") -> SimCard:
    return SimCard(vector_state(algorithm, pin=pin, balance=15000))


def psam(*, encrypts: bool = False) -> PsamAuthenticator:
    chip = SimPsam(vector_roots(), region="990100", terminal_number=TERMINAL, counter=0x2A)
    if encrypts:
        add_message_key(chip)
    chip.power_on()
    return PsamAuthenticator(chip)


def add_message_key(chip: SimPsam) -> SimPsam:
    """STK as 28/09: MAC and encryption, in both environments."""
    root = bytes.fromhex(vectors()["meta"]["root_keys"]["STK"]["key"])
    for algorithm, length in ((Algorithm.TRIPLE_DES, 8), (Algorithm.SM4, 16)):
        chip.add_key(algorithm, KeyRecord(0x28, 0x09, root[:length]))
    return chip


def session(chip: SimCard, *entries: str | Exception, by: str = "psam") -> DriverSession:
    """`by`: psam, message psam (its STK encrypts), keys (a key service in the terminal), or none."""
    pending: list[PendingTransaction] = []
    sam = psam(encrypts=by == "message psam") if "psam" in by else None
    terminal = DriverTerminal(
        journal=pending.append,
        number=TERMINAL,
        device_number="TEST00000001",
        authenticator=keys() if by == "keys" else sam,
        purchase=PsamPurchase(sam) if sam else None,
        pin_entry=Holder(*entries) if entries else None,
        addresses=ADDRESSES,
    )
    return DriverSession(chip, chip.power_on(), terminal, tries=KeyTries())


def steps(chip: SimCard, *entries: str | Exception) -> tuple[DriverSession, HsmSteps]:
    own = session(chip, *entries, by="none")
    return own, HsmSteps(own)


def signing_certificate(chip: SimCard) -> bytes:
    """Without the rest of its file; by its own length, as its last byte may be zero too."""
    assert chip.state.neighbours.pki is not None
    raw = bytes(chip.state.neighbours.pki.signing_certificate)
    return raw[: 4 + int.from_bytes(raw[2:4], "big")]
