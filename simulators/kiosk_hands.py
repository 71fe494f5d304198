"""Hands at a simulated kiosk: everything people do to the machine but touch its screen.

The devices live in this process, the agent in another: `Power` starts it and ends it the hard way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, TypeVar

from simulators.card import CardState, SimCard
from simulators.card_machine import Link, SimCardMachine
from simulators.cut import CutLine
from simulators.panel import Act, Both, Choice, Fact, Section
from simulators.portrait import Portrait
from simulators.receipt_printer import SimReceiptPrinter
from simulators.serial import Person, SimIdCardModule
from simulators.vpcd import VirtualCard

PEOPLE: Final = MappingProxyType(
    {
        "new": Person(name="测试甲", number="990101199001010115"),
        "other": Person(name="测试乙", sex="2", birth="19920315", number="990101199203152023"),
        "third": Person(name="测试丁欣然", sex="1", birth="19850707", number="990101198507072036"),
        "holder": Person(name="测试持卡人", sex="1", birth="19620608", number="990101196206082039"),
        "child": Person(name="测试少年", sex="1", birth="20140202", number="990101201402021018"),
        "expired": Person(name="测试老证", sex="2", birth="19790909", number="990101197909091040", valid_to="20210101"),
    }
)
"""Invented people with their ID cards, all of region 99, by a short name."""
PEOPLE_WORDS: Final = MappingProxyType(
    {
        "new": Both("测试甲，没有卡", "no card yet"),
        "other": Both("测试乙，没有卡", "no card yet"),
        "third": Both("测试丁欣然，没有卡", "no card yet"),
        "holder": Both("测试持卡人，有卡", "has a card"),
        "child": Both("测试少年，未成年", "a child"),
        "expired": Both("测试老证，身份证过期", "ID card out of date"),
    }
)
SCENES: Final = MappingProxyType(
    {
        "good": Portrait(),
        "dark": Portrait(background=(96, 96, 96)),
        "blurred": Portrait(blur=4.0),
        "far": Portrait(face_width=110),
        "two": Portrait(face_width=120, faces=2),
        "nobody": Portrait(faces=0),
    }
)
"""What stands before the camera."""
SCENE_WORDS: Final = MappingProxyType(
    {
        "good": Both("站好看镜头", "stand well"),
        "dark": Both("背景太暗", "dark background"),
        "blurred": Both("晃动", "move"),
        "far": Both("站得太远", "too far away"),
        "two": Both("两个人", "two people"),
        "nobody": Both("没有人", "nobody"),
    }
)
FAULT_WORDS: Final = MappingProxyType(
    {
        "jam": Both("卡住", "jam"),
        "ribbon_empty": Both("色带用完", "ribbon out"),
        "hopper_empty": Both("白卡用完", "no blanks"),
        "cover_open": Both("盖子打开", "cover open"),
        "paused": Both("暂停", "paused"),
    }
)
PICTURE: Final = "camera.jpg"
RIBBON: Final = 200
FULL_HOPPER: Final = 20
T = TypeVar("T")


class Power(Protocol):
    """The kiosk's computer."""

    @property
    def is_on(self) -> bool: ...

    def cut(self) -> None: ...

    def on(self) -> None: ...


@dataclass(frozen=True, slots=True)
class KioskDevices:
    """All of them listen; `slot` puts a card into the citizen's slot when it is inserted."""

    module: SimIdCardModule
    machine: SimCardMachine
    receipts: SimReceiptPrinter
    line: CutLine
    pictures: Path
    slot: Callable[[VirtualCard], Link]


@dataclass(slots=True)
class Drawer:
    """Cards at hand, by the name they are called by on the panel."""

    cards: dict[str, VirtualCard] = field(default_factory=dict)

    def add(self, card: VirtualCard) -> str:
        """The holder's name, numbered when there are several."""
        owner = (holder_of(card.state) if isinstance(card, SimCard) else "") or "空白卡"
        name, count = owner, 1
        while name in self.cards:
            name, count = f"{owner} {count + 1}", count + 1
        self.cards[name] = card
        return name


class KioskHands:
    """Every method is what a hand does, at once; ValueError for what is not possible now."""

    title = Both("模拟的手", "Simulated hands")

    def __init__(
        self, devices: KioskDevices, power: Power, drawer: Drawer, blanks: Callable[[int], Sequence[SimCard]]
    ) -> None:
        """`blanks` gives so many new blanks that the centre knows."""
        self.devices, self.power, self.drawer = devices, power, drawer
        self.screen_url = ""
        self._blanks = blanks
        self._on_module: str | None = None
        self._in_slot: tuple[str, Link] | None = None
        self._scene = ""
        self.stand("good")

    # -- the ID card ----------------------------------------------------------------------------------------------

    def put_id_card(self, who: str) -> None:
        self.devices.module.place(_of(PEOPLE, who))
        self._on_module = who

    def take_id_card(self) -> None:
        self.devices.module.lift()
        self._on_module = None

    # -- the citizen's slot and the tray ----------------------------------------------------------------------------

    @property
    def inserted(self) -> str | None:
        """The card's name in the drawer."""
        return self._in_slot[0] if self._in_slot else None

    def insert(self, name: str) -> None:
        card = _of(self.drawer.cards, name)
        if self._in_slot is not None:
            raise ValueError("another card is in the slot")
        link = self.devices.slot(card)
        link.insert()
        self._in_slot = name, link

    def pull_card(self) -> None:
        if self._in_slot is None:
            raise ValueError("no card is in the slot")
        _, link = self._in_slot
        self._in_slot = None
        link.remove()

    def take_from_tray(self) -> str:
        """Into the drawer; the name of the card there."""
        card = self.devices.machine.take()
        if card is None:
            raise ValueError("the tray is empty")
        return self.drawer.add(card)

    # -- camera, network, power -------------------------------------------------------------------------------------

    def stand(self, scene: str) -> None:
        picture = self.devices.pictures / f"{PICTURE}.new"
        picture.write_bytes(_of(SCENES, scene).jpeg())
        picture.replace(self.devices.pictures / PICTURE)
        self._scene = scene

    def cut_network(self) -> None:
        self.devices.line.cut()

    def mend_network(self) -> None:
        self.devices.line.mend()

    def cut_power(self) -> None:
        """The computer is gone in mid-instruction, the card machine stands still."""
        self.power.cut()
        self.devices.machine.power_off()

    def restore_power(self) -> None:
        self.devices.machine.power_on()
        self.power.on()

    # -- staff --------------------------------------------------------------------------------------------------------

    def service(self) -> None:
        """Ribbon and blanks are filled up, whatever was wrong with the card machine is put right."""
        machine = self.devices.machine
        missing = FULL_HOPPER - len(machine.blanks)
        if missing > 0:
            machine.refill(self._blanks(missing))
        machine.clear(ribbon=RIBBON)

    def put_paper(self, is_there: bool) -> None:
        self.devices.receipts.paper = None if is_there else 0

    # -- the panel ----------------------------------------------------------------------------------------------------

    def do(self, act: str, value: str) -> None:
        doings: dict[str, Callable[[], object]] = {
            "put_id_card": lambda: self.put_id_card(value),
            "take_id_card": self.take_id_card,
            "insert": lambda: self.insert(value),
            "pull_card": self.pull_card,
            "take_from_tray": self.take_from_tray,
            "stand": lambda: self.stand(value),
            "fail": lambda: self.devices.machine.fail(value),
            "service": self.service,
            "paper_in": lambda: self.put_paper(True),
            "paper_out": lambda: self.put_paper(False),
            "cut_network": self.cut_network,
            "mend_network": self.mend_network,
            "cut_power": self.cut_power,
            "restore_power": self.restore_power,
        }
        _of(doings, act)()

    def sections(self) -> list[Section]:
        return [
            self._id_card(),
            self._slot(),
            self._tray(),
            self._camera(),
            self._card_machine(),
            self._paper(),
            self._network_and_power(),
        ]

    def _id_card(self) -> Section:
        who = self._on_module
        fact = Fact(PEOPLE_WORDS[who], "ok") if who else Fact(Both("没有放", "none on the reader"), "idle")
        acts = [Act("put_id_card", Both("放上身份证", "put it on the reader"), _choices(PEOPLE_WORDS))]
        acts += [Act("take_id_card", Both("拿走身份证", "take it back"))] if who else []
        return Section("staff", Both("身份证", "ID card"), (fact,), tuple(acts))

    def _slot(self) -> Section:
        name = self.inserted
        fact = Fact(Both(name, "a card is in"), "ok") if name else Fact(Both("空的", "empty"), "idle")
        choices = _choices({card: Both(card, "card") for card in self.drawer.cards})
        acts = [Act("insert", Both("插卡", "insert"), choices)] if choices and not name else []
        acts += [Act("pull_card", Both("拔卡", "pull it out"))] if name else []
        return Section("reader", Both("卡口", "Card slot"), (fact,), tuple(acts))

    def _tray(self) -> Section:
        is_there = self.devices.machine.tray is not None
        fact = Fact(Both("有一张卡", "a card is there"), "ok") if is_there else Fact(Both("空的", "empty"), "idle")
        acts = (Act("take_from_tray", Both("取卡", "take the card")),) if is_there else ()
        return Section("card", Both("出卡口", "Tray for new cards"), (fact,), acts)

    def _camera(self) -> Section:
        fact = Fact(SCENE_WORDS[self._scene], "ok" if self._scene == "good" else "warn")
        act = Act("stand", Both("换一种站法", "stand otherwise"), _choices(SCENE_WORDS))
        return Section("eye", Both("镜头前", "Before the camera"), (fact,), (act,))

    def _card_machine(self) -> Section:
        machine = self.devices.machine
        state, hopper = machine.state, len(machine.blanks)
        words = FAULT_WORDS.get(state, Both("正常", "in order") if state == "ready" else Both(state, state))
        facts = (
            Fact(words, "bad" if state in FAULT_WORDS else "ok"),
            Fact(Both(f"白卡 {hopper} 张", f"{hopper} blanks"), "info"),
            Fact(Both(f"废卡 {len(machine.bin)} 张", f"{len(machine.bin)} in the reject bin"), "info"),
        )
        acts = (
            Act("fail", Both("弄出故障", "make a fault"), _choices(FAULT_WORDS), is_grave=True),
            Act("service", Both("排除故障，补色带和白卡", "put it right, fill it up")),
        )
        return Section("print", Both("制卡机", "Card machine"), facts, acts)

    def _paper(self) -> Section:
        receipts = self.devices.receipts
        is_out = receipts.paper == 0
        facts = (
            Fact(Both("没有纸", "out of paper"), "bad") if is_out else Fact(Both("有纸", "paper is there"), "ok"),
            Fact(Both(f"打了 {len(receipts.printed)} 张", f"{len(receipts.printed)} printed"), "info"),
        )
        act = (
            Act("paper_in", Both("装纸", "put paper in"))
            if is_out
            else Act("paper_out", Both("把纸拿走", "take the paper out"), is_grave=True)
        )
        return Section("file", Both("凭条", "Receipts"), facts, (act,))

    def _network_and_power(self) -> Section:
        return network_and_power(is_cut=self.devices.line.is_cut, is_on=self.power.is_on)


def network_and_power(*, is_cut: bool, is_on: bool) -> Section:
    """Of any simulated machine: acts `cut_network`, `mend_network`, `cut_power` and `restore_power`."""
    facts = (
        Fact(Both("网络断了", "network cut"), "bad") if is_cut else Fact(Both("网络通", "network up"), "ok"),
        Fact(Both("有电", "power on"), "ok") if is_on else Fact(Both("没有电", "no power"), "bad"),
    )
    network = (
        Act("mend_network", Both("接上网线", "plug the network in"))
        if is_cut
        else Act("cut_network", Both("拔掉网线", "pull the network cable"), is_grave=True)
    )
    power = (
        Act("cut_power", Both("断电", "cut the power"), is_grave=True)
        if is_on
        else Act("restore_power", Both("来电，开机", "power back, switch on"))
    )
    return Section("globe", Both("网线和电源", "Network and power"), facts, (network, power))


def holder_of(state: CardState) -> str:
    """The name on the chip; empty where there is none."""
    return _item(state, 0xEF06, 0x09)


def number_of(state: CardState) -> str:
    """The card number on the chip; empty where there is none."""
    return _item(state, 0xEF05, 0x07)


def _item(state: CardState, fid: int, tag: int) -> str:
    records = (record for df in state.dfs for ef in df.efs if ef.fid == fid for record in ef.records)
    found = next((record[2:] for record in records if record[:1] == bytes((tag,))), b"")
    return found.rstrip(b"\0\xff").decode("gb18030", "replace")


def _choices(words: Mapping[str, Both]) -> tuple[Choice, ...]:
    return tuple(Choice(value, text) for value, text in words.items())


def _of(table: Mapping[str, T], name: str) -> T:
    if name not in table:
        raise ValueError(f"no {name[:40]!r} now")
    return table[name]
