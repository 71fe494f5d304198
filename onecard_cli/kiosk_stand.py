"""A whole simulated kiosk beside a `System`: its agent as a process of its own, its devices and hands in this one.

Used by `demo --kiosk`, `up` and the end-to-end tests.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Final

from onecard_cli.home import Home
from onecard_cli.machine_stand import Computer, MachineStand
from onecard_cli.personas import installed_psam
from onecard_cli.system import REGION, Service, System
from simulators.card import CardStore, Life, SimCard
from simulators.card_machine import SimCardMachine
from simulators.factory import build_card
from simulators.kiosk_hands import FULL_HOPPER, RIBBON, Drawer, KioskDevices, KioskHands, holder_of, number_of
from simulators.personas import load
from simulators.receipt_printer import SimReceiptPrinter
from simulators.serial import SimIdCardModule

GENERATION: Final = "3.0"
FIRST_SERIAL: Final = 0x0300C001
FIRST_NUMBER: Final = "B0000001"
NUMBERS: Final = 1000
CHANNEL_GRANT: Final = "urn:onecard:params:grant-type:channel"
STAFF_PIN: Final = "20262026"
"""Opens the staff page of the simulated kiosk."""
PLACE: Final = "示例办事大厅一层 · 2 号自助机"
_ENCODER: Final = {True: "Virtual Reader 1", False: "PCD 00 02"}
_SLOTS: Final = 3
"""The citizen's, the PSAM's, the encoder's."""


def card_folder(home: Home) -> Path:
    """Chips that hands at the kiosk have, and its blanks."""
    folder = home.path / "cards" / "kiosk"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class KioskStand(MachineStand):
    """A kiosk with all its devices."""

    def __init__(self, system: System, *, port: int = 0, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(system, "kiosk", port, settings)
        self.hands: KioskHands
        self._staff_pin = ""

    def seal(self, name: str) -> None:
        """The card of this name in the drawer is 封存 at the centre, as one that came by post."""
        card = self.hands.drawer.cards[name]
        assert isinstance(card, SimCard)
        with closing(sqlite3.connect(self.system.home.path / "issuance.sqlite3")) as books, books:
            books.execute("UPDATE cards SET state = '0' WHERE card_number = ?", (number_of(card.state),))

    def _start(self) -> None:
        from terminal_agent.kiosk.staff import staff_pin

        self._staff_pin = staff_pin(STAFF_PIN)
        slots = self._readers(_SLOTS, vpcds=2)
        cards = _CardBox(self.system)
        sam = installed_psam(self.system.home, REGION)
        self._stack.callback(sam.lock.close)
        devices = self._devices(slots, cards.blanks(FULL_HOPPER))
        self._register(devices.line, "kiosk", PLACE)
        self._offer_log_in()
        computer = Computer(self._run, self.url)
        self._stack.callback(computer.cut)
        self.hands = KioskHands(devices, computer, Drawer(), cards.more)
        self.hands.screen_url = f"{self.url}/kiosk"
        for card in cards.issued():
            self.hands.drawer.add(card)
        self._plugged(sam.psam, slots[1]).insert()
        computer.on()

    def _devices(self, slots: Sequence[int], blanks: Sequence[SimCard]) -> KioskDevices:
        enter, folder = self._stack.enter_context, self._folder
        pictures = folder / "camera"
        pictures.mkdir(parents=True, exist_ok=True, mode=0o700)
        machine = SimCardMachine(
            folder / "printed", lambda card: self._plugged(card, slots[2]), blanks, print_s=0.3, ribbon=RIBBON
        )
        return KioskDevices(
            module=enter(SimIdCardModule()),
            machine=enter(machine),
            receipts=enter(SimReceiptPrinter(folder / "receipts")),
            line=self._line_to_centre(),
            pictures=pictures,
            slot=lambda card: self._plugged(card, slots[0]),
        )

    def _offer_log_in(self) -> None:
        """People may show at kiosks who they are by their phone."""
        party = {"id": "kiosk", "name": PLACE, "grant_types": [CHANNEL_GRANT], "scopes": ["openid"]}
        answer = self.system.client("operator-1").post("/v1/relying-parties", json=party)
        if answer.status_code != HTTPStatus.CONFLICT:  # it is there since an earlier start
            answer.raise_for_status()

    def _run(self) -> Service:
        devices = self.hands.devices
        settings: dict[str, str] = {
            "SIMULATED": "true",
            "ENCODER_READER": _ENCODER[self.system.use_pcsc],
            "KIOSK_PLACE": PLACE,
            "KIOSK_HOURS": "工作日 9:00 到 17:00",
            "KIOSK_ELSEWHERE": "示例办事大厅二层 3 号窗口",
            "KIOSK_VOICE": "browser",
            "KIOSK_STAFF_PIN": self._staff_pin,
            "HEARTBEAT_S": "5",
        }
        options = (
            *("--id-card-module", devices.module.path, "--camera", f"file:{devices.pictures}"),
            *("--card-printer", devices.machine.address, "--receipt-printer", devices.receipts.address),
        )
        agent = self._spawn("kiosk", devices.line, settings, *options)
        agent.wait_ready()
        return agent


class _CardBox:
    """The chips of this kiosk in files: blanks for its hopper, cards it has made."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._folder = card_folder(system.home)
        self._kept = [SimCard.from_store(CardStore(path)) for path in sorted(self._folder.glob("*.json"))]

    def issued(self) -> list[SimCard]:
        return [card for card in self._kept if card.state.life is Life.ISSUED]

    def blanks(self, count: int) -> list[SimCard]:
        """Those left over and new ones, all of them known to the centre, which gets numbers for them too."""
        numbers = {"region": REGION, "body_from": FIRST_NUMBER, "count": NUMBERS}
        self._system.client("operator-1").post("/v1/card-numbers", json=numbers).raise_for_status()
        unused = [card for card in self._kept if card.state.life is not Life.ISSUED and not holder_of(card.state)]
        return [*unused, *self.more(max(0, count - len(unused)))]

    def more(self, count: int) -> list[SimCard]:
        persona = load(f"blank-{GENERATION}")
        last = max([FIRST_SERIAL - 1, *(int(path.stem, 16) for path in self._folder.glob("*.json"))])
        made = []
        for serial in range(last + 1, last + 1 + count):
            store = CardStore(self._folder / f"{serial:08X}.json")
            state = build_card(dataclasses.replace(persona, serial=serial), self._system.home.roots())
            store.save(state)
            made.append(SimCard(state, store=store))
        delivery = {
            "delivery": f"kiosk-{last + 1:08X}",
            "region": REGION,
            "generation": GENERATION,
            "reset_information": [card.state.historical.hex().upper() for card in made],
        }
        if made:
            self._system.client("operator-1").post("/v1/blanks", json=delivery).raise_for_status()
        return made
