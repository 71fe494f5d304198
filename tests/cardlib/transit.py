"""A terminal and an operator's host around the vectors' purse and PSAM."""

from __future__ import annotations

import datetime

from apdu.errors import CardRemovedError
from cardlib.errors import CardNotGenuineError
from cardlib.transit import Sale, TransitPurse
from cardlib.transit_journal import Pending
from cardlib.transit_keys import TransitKeys
from cardlib.transit_psam import TransitPsam
from cardlib.transit_records import Place, encode_moment
from hsm.api import Algorithm
from hsm.primitives import Engine, default_engine
from simulators.card import CardGone, SimCard
from tests.simulators import transit as stand

ALGORITHMS = {"3DES": Algorithm.TDES, "SM4": Algorithm.SM4}
LOAD_TERMINAL = bytes.fromhex(stand.META["terminals"]["load"])
START_FEN = 10000


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


def keys(name: str, engine: Engine | None = None, **options) -> TransitKeys:
    roots = {key: stand.root(name, key) for key in ("DPK", "DLK", "DTK", "DAMK")}
    return TransitKeys(engine or default_engine(), ALGORITHMS[name], roots, **options)


def psam(name: str, terminal: str = "T1", sequence: int = 0x100, **options) -> TransitPsam:
    return TransitPsam(Reader(stand.sam(name, terminal, sequence, **options)))


def insert(card: SimCard) -> TransitPurse:
    """The card comes (back) into the field."""
    purse = TransitPurse(Reader(card))
    purse.open()
    return purse


def when(text: str) -> datetime.datetime:
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%S")


def place(line: int, station: int, industry: int = 1) -> Place:
    return Place(industry, line, station, "9901", stand.ACCEPTOR)


class Bank:
    """The load host of a test: one account, money set aside by load, every method safe to repeat."""

    def __init__(self, name: str, account: int = 50000, moment: str = "20250316090000") -> None:
        self.keys, self.account, self.moment = keys(name), account, encode_moment(when(moment))
        self.aside: dict[tuple[str, int], int] = {}
        self.booked: dict[tuple[str, int], int] = {}

    def approve(self, load: Pending) -> tuple[bytes, bytes]:
        if not self.keys.is_load_request_genuine(load):
            raise CardNotGenuineError("MAC1")
        key = load.serial, load.sequence
        if key not in self.aside:
            self.account -= load.amount_fen
            self.aside[key] = load.amount_fen
        return self.moment, self.keys.load_mac2(load, self.moment)

    def confirm(self, load: Pending, tac: bytes) -> None:
        key = load.serial, load.sequence
        if tac != self.keys.load_tac(load, self.moment):
            raise CardNotGenuineError("TAC")
        if key in self.aside:
            self.booked[key] = self.aside.pop(key)

    def reverse(self, load: Pending) -> None:
        self.account += self.aside.pop((load.serial, load.sequence), 0)

    def total(self, card: SimCard) -> int:
        """All the money there is: account, set aside, and in the purse."""
        return self.account + sum(self.aside.values()) + card.state.neighbours.transit.balance


FARE = 200
RIDE = when("20250316080500")


def sale(reference: str = "1", amount: int = FARE, trip=None, moment=RIDE) -> Sale:
    return Sale(reference, amount, moment, trip)
