"""The kiosk as a whole: its devices, its flows, the one visit at a time, and what its screen shows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from cardlib.failures import FailureCode, failure_of
from cardlib.terminal_state import Supplies
from terminal_agent.devices import DeviceKind, DeviceState
from terminal_agent.heartbeat import MachineState
from terminal_agent.kiosk.centre import SelfServiceCentre
from terminal_agent.kiosk.clock import Clock, RealClock
from terminal_agent.kiosk.flows import THIS_CARD, Flow, load
from terminal_agent.kiosk.maker import Maker
from terminal_agent.kiosk.offers import HomeTile, Offers
from terminal_agent.kiosk.screens import Need, Screen
from terminal_agent.kiosk.slips import as_receipt
from terminal_agent.kiosk.staff import StaffDesk
from terminal_agent.kiosk.visit import IDLE_S, GoTo, Over, Visit, VisitOver
from terminal_agent.kiosk.words import Lang
from terminal_agent.lock import TERMINAL_LOCKED
from terminal_agent.pin_dialog import PIN_OVER, PIN_WANTED
from terminal_agent.registry import Reader
from terminal_agent.waiting import until_set

if TYPE_CHECKING:
    from terminal_agent.agent import Agent

CARD_EVENTS: Final = frozenset({"card_inserted", "card_removed", "reader_added", "reader_removed", "reader_lost"})
BACK_S: Final = 20.0
"""How long a card that was pulled may be put back."""
APOLOGY_S: Final = 20.0
HOME_LOOK_S: Final = 1.0
HELP_EVENTS: Final = ("kiosk_help_wanted", "kiosk_help_over")
LOG = logging.getLogger("terminal_agent.kiosk")


@dataclass(frozen=True, slots=True)
class Look:
    """What the person at the machine has chosen."""

    lang: Lang = "zh"
    is_large: bool = False
    has_voice: bool = True


class Signal:
    """Wakes everybody who waits now."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def send(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    @property
    def event(self) -> asyncio.Event:
        """Of the next signal."""
        return self._event


class KioskDesk:
    """Use from the event loop between `start` and `stop`. `folder` is where what outlives a power cut is kept."""

    def __init__(
        self, agent: Agent, client: object, *, clock: Clock | None = None, flows: dict[str, Flow] | None = None
    ):
        self.agent = agent
        self.settings = agent.settings
        self.clock: Clock = clock or RealClock()
        self.folder: Path | None = self.settings.state_dir / "kiosk" if self.settings.state_dir else None
        self.centre = SelfServiceCentre(client, self.clock.now, lambda: agent.heart.is_well)
        self.flows = load() if flows is None else flows
        self.offers = Offers(self)
        self.look = Look()
        self.draw: Callable[..., str] = lambda screen, **extra: ""
        """The page of a screen that stands outside of `/kiosk`; the pages set it."""
        self.visit: Visit | None = None
        self.revision = 0
        self.home_number = 0
        self.is_ready = False
        self.is_closed_by_staff = False
        self.help_since: float | None = None
        self.maker = Maker(self)
        self.staff = StaffDesk(self)
        agent.heart.machine = self.state
        self._numbers = 0
        self._changes, self._cards = Signal(), Signal()
        self._tasks: set[asyncio.Task[None]] = set()
        self._home_touched = self.clock.now()

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.home_number = self.next_number()
        self._spawn(self._listen())
        self._spawn(self._get_ready())
        self._spawn(self._watch_home())

    async def stop(self) -> None:
        await self.maker.stop()
        await self.staff.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _get_ready(self) -> None:
        """What a power cut has left is looked for before the first home page."""
        try:
            await self.maker.resume()
        except Exception as error:  # a kiosk that shows nothing helps nobody
            LOG.error("getting ready: %s", type(error).__name__, exc_info=error)
        self.is_ready = True
        self.changed()
        self._ask_about_card()

    async def _listen(self) -> None:
        while True:
            async for event in self.agent.hub.subscribe():
                if event.name in CARD_EVENTS:
                    self._cards_changed(event.name, str(event.data.get("reader", "")))
                elif event.name == TERMINAL_LOCKED and self.visit is not None:
                    self.visit.end(Over.LOCKED)
                if self.visit is None or event.name in (PIN_WANTED, PIN_OVER):
                    self.changed()
            await asyncio.sleep(1)

    async def _watch_home(self) -> None:
        """What can be done changes without an event too: a card is finished, the centre answers again."""
        shown: object = None
        while True:
            if self.visit is None and self.is_ready:
                now = self.is_closed, self.tiles()
                if shown not in (None, now):
                    self.changed()
                shown = now
            await asyncio.sleep(HOME_LOOK_S)

    # -- what the screen shows --------------------------------------------------------------------------------------

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def changed(self) -> None:
        self.revision += 1
        self._changes.send()

    async def until_changed(self, seen: int, timeout_s: float) -> int:
        """The present revision, as soon as it is another than `seen`."""
        if self.revision == seen:
            await until_set(self._changes.event, timeout_s)
        return self.revision

    @property
    def number(self) -> int:
        return self.home_number if self.visit is None else self.visit.number

    @property
    def screen(self) -> Screen:
        """What stands there now, home and out of service among it."""
        if self.visit is not None:
            return self.visit.screen
        if not self.is_ready:
            return Screen(name="getting_ready", layout="wait", acts=())
        if self.is_closed:
            return Screen(name="out_of_service", acts=())
        return Screen(name="home", acts=tuple(f"start-{tile.name}" for tile in self.tiles() if tile.missing is None))

    @property
    def is_closed(self) -> bool:
        return self.agent.lock.lock is not None or self.is_closed_by_staff or not self._is_anything_open()

    def _is_anything_open(self) -> bool:
        return any(tile.missing is None for tile in self.tiles())

    def tiles(self) -> list[HomeTile]:
        return self.offers.tiles()

    def can(self, need: Need) -> bool:
        """Whether the machine has it, and it works now."""
        return self.offers.has(need) and self.offers.missing(need) is None

    # -- devices ----------------------------------------------------------------------------------------------------

    def slot(self) -> Reader | None:
        """The citizens' slot: a card reader that is neither the machine's nor contactless, one with a card first."""
        encoder = self.settings.encoder_reader
        ours = [
            reader
            for reader in self.agent.registry.card_readers()
            if not reader.is_lost and not reader.is_contactless and not (encoder and encoder in reader.name)
        ]
        return next((reader for reader in ours if reader.has_card), ours[0] if ours else None)

    def encoder(self) -> Reader | None:
        part = self.settings.encoder_reader
        return next((r for r in self.agent.registry.card_readers() if part and part in r.name and not r.is_lost), None)

    def has_card(self) -> bool:
        reader = self.slot()
        return reader is not None and reader.has_card

    async def until_card(self, *, is_in: bool) -> None:
        while self.has_card() is not is_in:
            await self._cards.event.wait()

    def _cards_changed(self, event: str, name: str) -> None:
        self._cards.send()
        if self.visit is not None:
            self.visit.look_at_cards()
            return
        reader = self.slot()
        if event == "card_inserted" and reader is not None and reader.name == name:
            self._ask_about_card()

    def _ask_about_card(self) -> None:
        """What it was put in for, or left in the slot when the power went."""
        is_free = self.visit is None and self.is_ready and not self.is_closed
        if is_free and self.has_card() and THIS_CARD in self.flows:
            self.begin(THIS_CARD)

    @property
    def prints_receipts(self) -> bool:
        return self.settings.receipt_printer is not None

    async def print_receipt(self, visit: Visit) -> None:
        """Raises DeviceNotConfiguredError, and as the receipt printer."""
        if visit.receipt is not None:
            await self.agent.counter.print(as_receipt(visit.receipt, self.look.lang, self.settings.kiosk_place))

    def alerts(self) -> tuple[FailureCode, ...]:
        """What the centre is told with the next heartbeat."""
        missing = [tile.missing for tile in self.tiles() if tile.missing is not None]
        return tuple(dict.fromkeys([*self.maker.alerts(), *missing]))

    def state(self) -> MachineState:
        """For the heartbeat."""
        stock = self.maker.machine.stock
        return MachineState(
            supplies=Supplies(
                hopper=stock.hopper if stock else None,
                reject_bin=stock.bin if stock else None,
                ribbon=stock.ribbon if stock else None,
                paper=self._paper(),
            ),
            help_wanted_s=self.help_wanted_s,
            mode=self._mode(),
            failures=self.alerts(),
        )

    def _mode(self) -> Literal["open", "busy", "staff", "out"]:
        if self.staff.is_open:
            return "staff"
        if self.visit is not None:
            return "busy"
        return "out" if self.is_closed else "open"

    def _paper(self) -> Literal["ok", "out"] | None:
        for device in self.agent.counter.devices():
            if device.kind is DeviceKind.RECEIPT_PRINTER and device.state is not DeviceState.UNKNOWN:
                return "out" if device.failure is FailureCode.RECEIPT_PAPER_OUT else "ok"
        return None

    # -- help -------------------------------------------------------------------------------------------------------

    def call_help(self) -> None:
        if self.help_since is None:
            self.help_since = self.clock.now()
            LOG.info("help wanted")
            self.agent.hub.publish(HELP_EVENTS[0], {})
            self._tell_centre()
        self.changed()

    def cancel_help(self) -> None:
        if self.help_since is not None:
            self.help_since = None
            self.agent.hub.publish(HELP_EVENTS[1], {})
            self._tell_centre()
        self.changed()

    @property
    def help_wanted_s(self) -> float | None:
        return None if self.help_since is None else max(0.0, self.clock.now() - self.help_since)

    async def call_after(self, seconds: float) -> None:
        await self.clock.wait(asyncio.Event(), seconds)
        self.call_help()

    def _tell_centre(self) -> None:
        """Who waits for help must not wait for the next heartbeat."""
        self._spawn(self.agent.heart.beat())

    # -- visits -----------------------------------------------------------------------------------------------------

    def press(self, number: int, act: str, fields: Mapping[str, str]) -> None:
        """A button of the screen `number`; a stale one, or a second tap, is nothing."""
        if number != self.number:
            return
        if self.visit is not None:
            self.visit.take(act, fields)
        elif act in self.screen.acts and act.startswith("start-"):
            self.begin(act.removeprefix("start-"))

    def begin(self, flow: str) -> None:
        self.visit = Visit(self, flow)
        LOG.info("visit: %s", flow)
        self._spawn(self._serve(self.visit))
        self.changed()

    def choose_look(self, **changes: Any) -> None:
        self.look = replace(self.look, **changes)
        self.touched()
        if self.visit is None and self.look != Look():
            self._spawn(self._back_to_usual())
        self.changed()

    def touched(self) -> None:
        self._home_touched = self.clock.now()
        if self.visit is not None:
            self.visit.touch()

    async def _back_to_usual(self) -> None:
        """What somebody chose who then went away is not kept for the next."""
        while self.visit is None:
            left_s = self._home_touched + IDLE_S - self.clock.now()
            if left_s <= 0:
                self.look = Look()
                self.changed()
                return
            await self.clock.wait(asyncio.Event(), left_s)

    async def _serve(self, visit: Visit) -> None:
        over: Over | None = None
        try:
            await self._follow(visit)
        except VisitOver as ended:
            over = ended.over
            LOG.info("visit over: %s", over.value)
        except Exception as error:
            LOG.error("visit %s: %s", visit.flow, type(error).__name__, exc_info=error)
            await self._apologise(visit, failure_of(error))
        visit.forget()
        is_again = over is Over.CARD_GONE and await self._is_card_back(visit)
        if not is_again:
            await visit.take_card()
        self._go_home(keeps_look=is_again or visit.keeps_look or over is Over.LOCKED)
        if is_again:
            self.begin(visit.flow)

    async def _follow(self, visit: Visit) -> None:
        while True:
            try:
                return await self.flows[visit.flow].run(visit)
            except GoTo as way:
                visit.flow = way.flow

    async def _apologise(self, visit: Visit, failure: FailureCode) -> None:
        screen = Screen(name="trouble", refusal=failure, tone="bad", acts=("finish",))
        with suppress(VisitOver, TimeoutError):
            async with asyncio.timeout(APOLOGY_S):  # wait_for can lose a cancellation (ReaderWorker.call)
                await visit.ask(screen)

    async def _is_card_back(self, visit: Visit) -> bool:
        """The card was pulled before the end: nothing has changed, and with the card the same begins anew."""
        seconds = self.clock.wait(asyncio.Event(), BACK_S)
        either = asyncio.create_task(_first(self.until_card(is_in=True), seconds))
        with suppress(VisitOver):
            await visit.wait_or_act(Screen(name="card_gone", acts=("finish",), tone="warn"), either)
        return self.has_card() and not self.is_closed

    def _go_home(self, *, keeps_look: bool) -> None:
        self.visit = None
        self.home_number = self.next_number()
        if not keeps_look:
            self.look = Look()
        elif self.look != Look():
            self._spawn(self._back_to_usual())
        self._home_touched = self.clock.now()
        self.changed()


async def _first(*works: Any) -> None:
    """Until one of them is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
