"""Gates, purses and a clock around the vectors' roots: what the tests of the transit gate share."""

from __future__ import annotations

import copy
import datetime
import random
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from apdu.errors import CardRemovedError
from cardlib.transit_gate import GateClock, TransitGate
from cardlib.transit_gate_result import TapResult
from cardlib.transit_journal import TransitJournal
from cardlib.transit_psam import TransitPsam
from cardlib.transit_records import PurseIdentity
from cardlib.transit_rules import TransitRules
from simulators.apps import transit_crypto as crypto
from simulators.apps.build import empty_process
from simulators.apps.state import NeighbourState, PurseState
from simulators.card import Algorithm, CardState
from simulators.contactless import ContactlessCard
from simulators.psam import SimPsam
from tests.cardlib.transit import Reader
from tests.simulators import transit as stand
from tests.simulators.support import vector_roots, vector_state

START = datetime.datetime(2026, 3, 16, 8, 0)
INSTITUTION, OTHER = "19990100FFFFFFFF", "18880100FFFFFFFF"
ISSUER = stand.META["issuer_id"]
FARES = {"minimum_fen": 300, "maximum_fen": 900, "pairs": {"2:5-2:17": 505, "2:17-2:17": 300, "2:5-2:5": 300}}
PRODUCTS = [
    {"slug": "senior-free", "zh": "敬老免费", "en": "Senior, free", "issuer": ISSUER[:8], "classes": [3], "percent": 0,
     "item": "joint-transport-free-ride"},
    {"slug": "student-half", "zh": "学生半价", "en": "Student", "issuer": ISSUER[:8], "classes": [2], "percent": 50,
     "fixed_fen": 1},
]  # fmt: skip


def table(mode: str, station: int = 5, **changes: Any) -> dict[str, Any]:
    """Rules as a file would have them; `limits` and `policy` are merged in."""
    is_bus = mode.startswith("bus")
    place = {"industry": 2 if is_bus else 1, "line": 2, "station": station, "city": "9901", "institution": INSTITUTION}
    start: dict[str, Any] = {
        "format": "transit-rules-1",
        "version": "test",
        "mode": mode,
        "valid_from": "2026-01-01",
        "valid_until": "2026-12-31",
        "place": place,
        "issuers": [{"issuer": ISSUER[:8], "home": True}, {"issuer": "*"}],
        "fares": {"flat_fen": 200} if mode in ("bus_flat", "ferry") else FARES,
        "products": PRODUCTS,
    }
    return start | changes


def rules(mode: str, station: int = 5, **changes: Any) -> TransitRules:
    return TransitRules.model_validate(table(mode, station, **changes))


def purse(number: int, name: str = "3DES", passenger_class: int = 1, **values: Any) -> PurseState:
    """A purse of its own serial under the vectors' roots."""
    serial = f"0999010{number:013d}"
    public = bytearray.fromhex(stand.META["ef15"])
    public[10:20] = bytes.fromhex(serial)
    management = bytearray.fromhex(stand.META["ef17"])
    management[10] = passenger_class
    code = int(stand.of(name)["algorithm_id"], 16)
    keys = {
        key: crypto.card_key(code, stand.root(name, key.upper()), stand.ISSUER, bytes(public[12:20]))
        for key in ("dpk", "dlk", "dtk", "damk", "duk")
    }
    start: dict[str, Any] = {"balance": 10000, "offline": 0x10, "online": 3} | values
    return PurseState(
        algorithm=code,
        key_index=1,
        key_version=1,
        public=bytes(public),
        holder=bytes(55),
        management=bytes(management),
        processes=[empty_process(1), empty_process(2)],
        **keys,
        **start,
    )


def card(state: PurseState, seed: int = 0) -> ContactlessCard:
    """The social security part is one for all of them: nothing here writes to it."""
    whole = copy.copy(_base())
    whole.neighbours = NeighbourState(transit=state)
    return ContactlessCard(whole, rng=random.Random(seed).randbytes)


@cache
def _base() -> CardState:
    return vector_state(Algorithm.SM4)


def sam(number: str) -> SimPsam:
    """A PSAM of its own terminal number."""
    chip = SimPsam(vector_roots(), terminal_number=number)
    chip.transit = stand.sam("3DES").transit
    chip.transit._terminal = bytes.fromhex(number)
    return chip


@dataclass
class Time:
    """One clock for every gate; a gate's own may be `off_s` from it."""

    passed_s: float = 0.0

    @property
    def now(self) -> datetime.datetime:
        return START + datetime.timedelta(seconds=self.passed_s)


class Slot(Reader):
    """A PSAM that somebody can pull."""

    is_gone = False

    def transmit(self, command: bytes) -> bytes:
        if self.is_gone:
            raise CardRemovedError("no PSAM")
        return super().transmit(command)


@dataclass
class Gate:
    """One gate with its PSAM and journal; `restart` is a kill -9 and a new program. `off_s`: its clock's error."""

    rules: TransitRules
    time: Time
    terminal: str = "099900000001"
    name: str = ""
    path: Path | None = None
    off_s: float = 0.0
    is_trusted: bool = True
    blocked: set[str] = field(default_factory=set)
    has_list: bool = True
    names_purses: bool = True
    items: set[str] = field(default_factory=lambda: {"joint-transport-free-ride"})

    def __post_init__(self) -> None:
        self.psam = Slot(sam(self.terminal))
        self.journal = TransitJournal(self.path)
        self.restart()

    def restart(self) -> None:
        if self.path is not None:
            self.journal = TransitJournal(self.path)
        self.psam.is_gone = False
        self.psam.card.power_on()
        self.sam = TransitPsam(self.psam)
        assert self.sam.key_index  # read before the first card comes, as an agent does
        self.gate = TransitGate(
            self.rules,
            self.journal,
            is_blocked=self._is_blocked,
            in_force=lambda item, _day: item in self.items,
            clock=GateClock(
                lambda: self.time.now + datetime.timedelta(seconds=self.off_s),
                lambda: self.time.passed_s,
                lambda: self.is_trusted,
            ),
            names_purses=lambda: self.names_purses,
        )

    def _is_blocked(self, identity: PurseIdentity) -> bool | None:
        return identity.serial in self.blocked if self.has_list else None

    def tap(self, holder: ContactlessCard, opened: Any = None) -> TapResult:
        return self.gate.tap(Reader(holder), self.sam, opened=opened)

    def told(self) -> list[Any]:
        """What waits for the centre, taken away."""
        records = self.gate.undelivered()
        self.gate.delivered(records)
        return [record.payload for record in records]
