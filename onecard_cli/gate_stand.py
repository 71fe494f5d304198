"""A simulated gate beside a `System`: its agent as a process of its own, its reader, scanner and hands in this one.

Used by `demo --transit`, `up` and the end-to-end tests.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import httpx

from cardlib.failures import FailureCode
from onecard_cli import ROOT
from onecard_cli.machine_stand import Computer, MachineStand
from onecard_cli.output import CommandError
from onecard_cli.personas import installed_psam
from onecard_cli.sim_wallet import PHONES
from onecard_cli.system import REGION, Service, System
from simulators.apps.build import purse
from simulators.apps.state import NeighbourState
from simulators.card import CardState, CardStore
from simulators.contactless import ContactlessCard
from simulators.factory import build_card
from simulators.gate_hands import FLAT_DEBIT, METRO_DEBIT, GateHands, Purse
from simulators.panel import Both
from simulators.personas import load
from simulators.serial import SimScanner
from simulators.wallet.phone import Phone, PhoneFileError

RULES: Final = ROOT / "docs" / "transit-rules"
PERSONA: Final = "adult-3.0"
PEOPLE: Final = MappingProxyType(
    {
        "adult": (Both("成人卡", "adult"), 1, 5_000, 0x0A01),
        "student": (Both("学生卡", "student"), 2, 5_000, 0x0A02),
        "senior": (Both("老人卡", "senior"), 3, 1_000, 0x0A03),
        "poor": (Both("快没钱的卡", "nearly empty"), 1, 100, 0x0A04),
        "test": (Both("测试卡", "test card"), 4, 5_000, 0x0A05),
    }
)
"""By short name: what it is called, passenger class, balance in fen, serial of the chip."""
LOOK_S: Final = 10.0


class GateStand(MachineStand):
    """A gate, whose agent still comes up when `__enter__` returns. `rules` names one of the shipped rules files."""

    def __init__(
        self,
        system: System,
        rules: str,
        *,
        name: str = "gate",
        port: int = 0,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(system, name, port, settings)
        self.hands: GateHands
        self._rules = rules
        self._computer: Computer

    def state(self) -> dict[str, Any]:
        """Raises OSError when the gate is off."""
        try:
            told: dict[str, Any] = self._http.get("/gate/state").raise_for_status().json()
        except httpx.HTTPError as error:
            raise OSError(str(error)) from error
        return told

    def wait_until(self, condition: Any, timeout_s: float = 60.0) -> dict[str, Any]:
        """The gate's state once `condition` holds of it; also while it starts. Raises CommandError."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            try:
                told = self.state()
            except OSError:
                pass
            else:
                if condition(told):
                    return told
            time.sleep(0.05)
        raise CommandError(FailureCode.TIMEOUT, f"{self.name}: it did not come to that")

    def fetch(self) -> None:
        """What is published, at once."""
        self._http.post("/v1/catalog/fetch", timeout=30).raise_for_status()

    # -- start --------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        slots = self._readers(2, vpcds=1)
        self._http = self._stack.enter_context(httpx.Client(base_url=self.url, timeout=LOOK_S, trust_env=False))
        self._scanner = self._stack.enter_context(SimScanner(label=f"scanner of {self.name}"))
        sam = installed_psam(self.system.home, REGION)
        self._stack.callback(sam.lock.close)
        self._line = self._line_to_centre()
        self._register(self._line, "transit", f"示例闸机 {self.name}")
        self._computer = Computer(self._run, self.url)
        self._stack.callback(self._computer.stop)
        self.hands = GateHands(
            lambda card: self._plugged(card, slots[0]),
            self._scanner,
            self._line,
            self._computer,
            self.state,
            self._code,
            debit_at=FLAT_DEBIT if self._rules == "bus" else METRO_DEBIT,
        )
        self.hands.screen_url = f"{self.url}/gate"
        self._plugged(sam.psam, slots[1]).insert()
        self._computer.on()

    def _run(self) -> Service:
        settings = {
            "SIMULATED": "true",
            "TRANSIT_RULES": str(RULES / f"{self._rules}.toml"),
            "SCANNER": self._scanner.path,
            "HEARTBEAT_S": "5",
            "TRANSIT_STATEMENT_S": "60",
        }
        return self._spawn("transit", self._line, settings)

    def _code(self) -> bytes | None:
        """Of the first phone here that may make codes for gates."""
        for file in sorted((self.system.home.path / PHONES).glob("*.json")):
            try:
                made = Phone.open(file).transit_code(time.time())
            except PhoneFileError:
                continue
            if made is not None:
                return made
        return None


def purses(system: System) -> dict[str, Purse]:
    """The cards at hand, in their last state; the same ones for every gate."""
    folder = system.home.path / "cards" / "gate"
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, (words, passenger_class, balance, serial) in PEOPLE.items():
        store = CardStore(folder / f"{name}.json")
        if not store.path.exists():
            persona = dataclasses.replace(load(PERSONA), serial=serial, applications={})
            state = build_card(persona, system.home.roots())
            add_purse(system, state, serial, passenger_class, balance)
            store.save(state)
        found[name] = Purse(words, ContactlessCard(store.load(), store=store))
    return found


def add_purse(system: System, state: CardState, number: int, passenger_class: int, balance_fen: int) -> str:
    """A purse on a chip; its serial."""
    serial = f"0999010000000000{number:04d}"
    table = {"serial": serial, "balance_fen": balance_fen, "passenger_class": passenger_class}
    state.neighbours = NeighbourState(transit=purse(system.home.roots().root, table))
    return serial
