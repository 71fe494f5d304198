"""Hands at a simulated gate: cards held to the reader, or pulled away too soon, codes shown, cable and power."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from cardlib.money import yuan
from simulators.apps.state import PurseState
from simulators.card_machine import Link
from simulators.contactless import ContactlessCard
from simulators.cut import CutLine
from simulators.faults import Faults
from simulators.kiosk_hands import Power, network_and_power
from simulators.panel import Act, Both, Choice, Fact, Section
from simulators.serial import SimScanner
from simulators.vpcd import VirtualCard

PATIENCE_S: Final = 20.0
AGAIN_S: Final = 2.1
"""A gate that let a card pass, and a scanner, take no notice of the same one for two seconds; so hands wait."""
_LOOK_S: Final = 0.02
_RESTING: Final = ("idle", "out")
TORN: Final = MappingProxyType(
    {
        "early": Both("一碰就拿开", "away at once"),
        "unpaid": Both("扣款前拿开", "away just before it pays"),
        "paid": Both("扣款后、应答前拿开", "away just after it has paid"),
    }
)
"""How a card leaves in the middle."""
METRO_DEBIT: Final = 7
"""The command of a tap that is DEBIT; a flat fare reads and writes less."""
FLAT_DEBIT: Final = 5

Look = Callable[[], dict[str, Any]]
"""What the gate says of itself: `number` and `sign` of its picture, `picture` itself. Raises OSError when it is off."""


@dataclass(slots=True)
class Purse:
    """A card at hand. `name` is what the panel calls it."""

    name: Both
    card: ContactlessCard

    @property
    def state(self) -> PurseState:
        purse = self.card.state.neighbours.transit
        if purse is None:
            raise ValueError("this card has no purse")
        return purse


class GateHands:
    """Each method is one thing that hands do, and returns when it is done; ValueError for what cannot be done now.

    `code` gives the code a phone shows now, None without such a phone.
    """

    title = Both("模拟的手：闸机", "Simulated hands at the gate")

    def __init__(
        self,
        field: Callable[[VirtualCard], Link],
        scanner: SimScanner,
        line: CutLine,
        power: Power,
        look: Look,
        code: Callable[[], bytes | None] = lambda: None,
        *,
        debit_at: int = METRO_DEBIT,
    ) -> None:
        self._field, self._scanner, self._look, self._code = field, scanner, look, code
        self.line, self.power = line, power
        self._torn = {
            "early": Faults(tear_before=2),
            "unpaid": Faults(tear_before=debit_at),
            "paid": Faults(tear_after=debit_at),
        }
        self.purses: dict[str, Purse] = {}
        self.screen_url = ""
        self.last: dict[str, Any] | None = None
        self._passed: dict[object, float] = {}

    # -- a card or a phone at the reader ----------------------------------------------------------------------------

    def tap(self, name: str) -> dict[str, Any]:
        """Held until the gate has decided, then taken away: the gate's picture."""
        return self._hold(_of(self.purses, name).card)

    def tear(self, name: str, how: str) -> dict[str, Any]:
        """Pulled away in the middle, by the names of `TORN`."""
        return self.tap_with(name, replace(_of(self._torn, how)))

    def tap_with(self, name: str, faults: Faults) -> dict[str, Any]:
        card = _of(self.purses, name).card
        card.faults = faults
        try:
            return self._hold(card)
        finally:
            card.faults = Faults()

    def show_code(self, code: bytes | None = None) -> dict[str, Any]:
        """A phone's code before the scanner."""
        code = code or self._code()
        if code is None:
            raise ValueError("no phone here may make codes: open 乘车码 on the phone first")
        self._wait(code)
        before = self._number()
        self._scanner.scan(code.hex().upper())
        return self._passing(code, self._decided(before))

    def _hold(self, card: VirtualCard) -> dict[str, Any]:
        self._wait(card)
        before = self._number()
        link = self._field(card)
        link.insert()
        try:
            return self._passing(card, self._decided(before))
        finally:
            link.remove()

    def _wait(self, shown: object) -> None:
        time.sleep(max(0.0, self._passed.get(shown, 0.0) + AGAIN_S - time.monotonic()))

    def _passing(self, shown: object, picture: dict[str, Any]) -> dict[str, Any]:
        if picture["sign"] == "pass":
            self._passed[shown] = time.monotonic()
        return picture

    def _number(self) -> int:
        try:
            return int(self._look()["number"])
        except OSError:
            raise ValueError("the gate is off") from None

    def _decided(self, before: int) -> dict[str, Any]:
        """Raises ValueError when nothing is decided."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            seen = self._look()
            if seen["number"] > before and seen["sign"] not in _RESTING:
                self.last = seen["picture"]
                return self.last
            time.sleep(_LOOK_S)
        raise ValueError("the gate said nothing")

    # -- the panel ----------------------------------------------------------------------------------------------------

    def do(self, act: str, value: str) -> None:
        doings: Mapping[str, Callable[[], object]] = {
            "tap": lambda: self.tap(value),
            "tear": lambda: self.tear(*_pair(value)),
            "show_code": self.show_code,
            "cut_network": self.line.cut,
            "mend_network": self.line.mend,
            "cut_power": self.power.cut,
            "restore_power": self.power.on,
        }
        _of(doings, act)()

    def sections(self) -> list[Section]:
        return [self._cards(), self._phone(), network_and_power(is_cut=self.line.is_cut, is_on=self.power.is_on)]

    def _cards(self) -> Section:
        facts = tuple(
            Fact(Both(f"{purse.name.zh}：{yuan(purse.state.balance)} 元", purse.name.en), "info")
            for purse in self.purses.values()
        )
        taps = tuple(Choice(name, purse.name) for name, purse in self.purses.items())
        torn = tuple(
            Choice(f"{name} {how}", Both(f"{purse.name.zh}，{words.zh}", f"{purse.name.en}, {words.en}"))
            for name, purse in list(self.purses.items())[:1]
            for how, words in TORN.items()
        )
        acts = (
            Act("tap", Both("刷卡", "tap"), taps),
            Act("tear", Both("没刷完就拿开", "pull it away too soon"), torn, is_grave=True),
        )
        return Section("card", Both("手里的卡", "Cards at hand"), (*self._answer(), *facts), acts)

    def _answer(self) -> tuple[Fact, ...]:
        if self.last is None:
            return ()
        tone = {"pass": "ok", "stop": "bad"}.get(self.last["sign"], "warn")
        words = [
            " ".join(filter(None, (self.last[tongue]["title"], self.last[tongue]["text"]))) for tongue in ("zh", "en")
        ]
        return (Fact(Both(*words), tone),)  # type: ignore[arg-type]

    def _phone(self) -> Section:
        is_there = self._code() is not None
        words = (
            Both("手机上有乘车码", "a phone has ride codes")
            if is_there
            else Both("先在手机上打开乘车码", "open it on the phone first")
        )
        acts = (Act("show_code", Both("出示乘车码", "show the code")),) if is_there else ()
        return Section("qr", Both("手机乘车码", "Ride code"), (Fact(words, "ok" if is_there else "idle"),), acts)


def _of(known: Mapping[str, Any], name: str) -> Any:
    try:
        return known[name]
    except KeyError:
        raise ValueError(f"no {name!r}; there are {', '.join(known)}") from None


def _pair(value: str) -> tuple[str, str]:
    name, _, how = value.partition(" ")
    return name, how
