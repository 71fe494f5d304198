"""A terminal and an operator's host around the vectors' purse and PSAM."""

from __future__ import annotations

import datetime
from pathlib import Path

from apdu.errors import CardRemovedError
from cardlib.transit import Sale, TransitPurse
from cardlib.transit_host import KeyLoadHost, LoadLedger, LoadState
from cardlib.transit_journal import Pending
from cardlib.transit_keys import TransitKeys
from cardlib.transit_psam import TransitPsam
from cardlib.transit_records import Place
from hsm.api import Algorithm, KeyRef, Purpose
from hsm.primitives import Engine, default_engine
from hsm.soft_device import SoftKey
from hsm.transit_transactions import PURPOSES, SoftTransitTransactionKeys
from simulators.card import CardGone, SimCard
from simulators.contactless import ContactlessCard
from tests.simulators import transit as stand

LOAD_TERMINAL = bytes.fromhex(stand.META["terminals"]["load"])


class Reader:
    """A channel to a simulated card or PSAM that reports its disappearance as PC/SC does."""

    def __init__(self, card) -> None:
        self.card = card
        self.sent: list[bytes] = []
        card.power_on()

    def transmit(self, command: bytes) -> bytes:
        self.sent.append(command)
        try:
            return self.card.transmit(command)
        except CardGone as gone:
            raise CardRemovedError(str(gone)) from gone


class RootsAtHand:
    """A key service's inside with the vectors' roots: what `SoftTransitTransactionKeys` takes from one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def use_key(self, key: KeyRef, purpose: Purpose, operation):
        assert purpose is PURPOSES[key.name]
        return operation(self.software_key(key.algorithm, stand.root(str(key.algorithm), key.name.removeprefix("TR_"))))

    def software_key(self, algorithm: Algorithm, value: bytes) -> SoftKey:
        return SoftKey(self._engine, algorithm, value)


def keys(name: str, engine: Engine | None = None, **options) -> TransitKeys:
    return TransitKeys(SoftTransitTransactionKeys(RootsAtHand(engine or default_engine()), **options))


def psam(name: str, terminal: str = "T1", sequence: int = 0x100, **options) -> TransitPsam:
    return TransitPsam(Reader(stand.sam(name, terminal, sequence, **options)))


def insert(card: SimCard | ContactlessCard) -> TransitPurse:
    """The card comes (back) into its reader or field."""
    purse = TransitPurse(Reader(card), protocol="T=1" if isinstance(card, ContactlessCard) else "T=0")
    purse.open()
    return purse


def when(text: str) -> datetime.datetime:
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%S")


def place(line: int, station: int, industry: int = 1) -> Place:
    return Place(industry, line, station, "9901", stand.ACCEPTOR)


class Bank(KeyLoadHost):
    """The load host of a test: its ledger, and an account the loads are paid from."""

    def __init__(self, name: str, account: int = 50000, path: Path | None = None) -> None:
        self.ledger, self._start = LoadLedger(path), account
        super().__init__(keys(name), self.ledger, clock=lambda: when("20250316090000"))

    @property
    def aside(self) -> int:
        return self.ledger.total(LoadState.APPROVED)

    @property
    def booked(self) -> int:
        return self.ledger.total(LoadState.BOOKED)

    @property
    def account(self) -> int:
        return self._start - self.aside - self.booked

    def total(self, card: SimCard) -> int:
        """All the money there is: account, set aside, and in the purse."""
        return self.account + self.aside + card.state.neighbours.transit.balance


def pending_of(name: str, step: str) -> Pending:
    """The worked transaction as a terminal would have it in its journal."""
    vector = stand.of(name)[step]
    is_load = step == "load"
    answer, init = bytes.fromhex(vector["init_rapdu"]), bytes.fromhex(vector["init_capdu"])
    at = 6 if is_load else 9
    last = bytes.fromhex(vector["credit_capdu" if is_load else "debit_capdu"])[5:]
    return Pending(
        reference=vector["id"],
        kind=2 if is_load else 6 if step == "purchase" else 9,
        issuer=stand.META["issuer_id"],
        serial=stand.META["app_serial"],
        sequence=int.from_bytes(answer[4:6], "big"),
        amount_fen=int.from_bytes(init[6:10], "big"),
        balance_fen=int.from_bytes(answer[:4], "big"),
        terminal=init[10:16].hex(),
        terminal_sequence="" if is_load else last[:4].hex(),
        moment=(last[:7] if is_load else last[4:11]).hex(),
        key_index=1,
        key_version=answer[at],
        algorithm=answer[at + 1],
        random=answer[at + 2 : at + 6].hex(),
        mac1=vector["MAC1"],
    )


FARE = 200
RIDE = when("20250316080500")


def sale(reference: str = "1", amount: int = FARE, trip=None, moment=RIDE) -> Sale:
    return Sale(reference, amount, moment, trip)
