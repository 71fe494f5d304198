"""The driver functions on the cards of this terminal.

iReadCardBas stands alone, as pages poll it. Every other function keeps its card for the next one, because a verified
PIN and the challenge between two steps live in the card: until the card leaves, a function fails on the way, or nothing
is called for `HOLD_S`. Meanwhile other users of the reader hear that it is busy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from apdu.channel import TraceChannel
from apdu.errors import CardAbsentError, ReaderNotFoundError, TransportError
from apdu.readers import CardConnection
from apdu.serial.errors import PinEntryCancelledError
from apdu.serial.pinpad import BETWEEN_DIGITS_S, TOTAL_S, Pin, PinPad, Purpose
from cardlib.driver import error_answer
from cardlib.driver_hsm import HsmSteps
from cardlib.driver_session import Answer, DriverSession, DriverTerminal, EnteredPin, PinEntry
from cardlib.failures import FailureCode, describe
from cardlib.hsm_route import needs_hsm
from cardlib.medical import PsamPurchase
from cardlib.settlement_journal import Slip
from terminal_agent.caller import CONNECTION, LINK, PROGRAM, Link
from terminal_agent.cards import NO_READER, CardDesk, CardListedError, terminal_number_of
from terminal_agent.centre import SecurityModule
from terminal_agent.devices import DeviceHall
from terminal_agent.driver_functions import ID_CARD_FUNCTION, DriverFunction
from terminal_agent.hsm_way import SETTLEMENTS, HsmWay, OncePin
from terminal_agent.hub import EventHub
from terminal_agent.id_cards import read_identity_card
from terminal_agent.journal.desk import Act, JournalDesk
from terminal_agent.pin_dialog import PinDialog, PinSubject, pin_subject
from terminal_agent.problems import AgentError, DeviceNotConfiguredError, ReaderBusyError
from terminal_agent.registry import HeldCard, Reader, ReaderRegistry
from terminal_agent.settings import AgentSettings
from terminal_agent.settlements import Settlements
from terminal_agent.terminal_psam import TerminalPsam

HOLD_S: Final = 30.0
PIN_ENTRIES_S: Final = 2 * (TOTAL_S + BETWEEN_DIGITS_S)
WATCH_PAUSE_S: Final = 1.0
STEP_MISSING: Final = -23
LISTED: Final = describe(FailureCode.CARD_BLOCKED).driver_code
"""What installed programs know for a card that is not to be served."""
_GONE = frozenset({-2, -3, -4, NO_READER})
LOCAL: Final = "本机程序 / local program"
PAGE: Final = "网页 / web page"
LOG = logging.getLogger("terminal_agent.driver")
T = TypeVar("T")


def named(answer: Answer, error: Exception) -> Answer:
    """With the name of who has the reader, where that is the reason."""
    holder = error.extra.get("holder") if isinstance(error, AgentError) else None
    return (answer[0], f"{answer[1]} 正在使用：{holder['origin'] or holder['owner']}") if holder else answer


class PadEntry:
    """The serial PIN pad as a `PinEntry`."""

    def __init__(self, pad: PinPad, used: Callable[[Exception | None], None]) -> None:
        self._pad = pad
        self._used = used

    def enter(self, *, is_new: bool) -> Pin:
        try:
            pin = self._pad.enter(Purpose.NEW_PIN if is_new else Purpose.VERIFY)
        except Exception as error:
            self._used(error)
            raise
        self._used(None)
        return pin

    def cancel(self) -> None:
        self._pad.cancel()


@dataclass(slots=True)
class _Held:
    """A card kept between functions."""

    reader: Reader
    insertions: int
    card: HeldCard
    session: DriverSession
    steps: HsmSteps
    slip: Slip | None
    exits: AsyncExitStack
    connection: str = field(default_factory=CONNECTION.get)
    program: str = field(default_factory=PROGRAM.get)

    @property
    def is_there(self) -> bool:
        return self.reader.has_card and self.reader.insertions == self.insertions

    @property
    def is_mine(self) -> bool:
        """Of a web page's connection, that it is the same; else that the caller is the same page, or a program too."""
        connection = CONNECTION.get()
        return self.connection == connection if connection else self.program == PROGRAM.get()


class DriverDesk:
    """One driver session at a time, as the interface has no handles. Lives on the event loop."""

    def __init__(
        self,
        registry: ReaderRegistry,
        desk: CardDesk,
        settings: AgentSettings,
        hub: EventHub,
        module: SecurityModule | None = None,
        *,
        dialog: PinDialog,
        devices: DeviceHall,
        journal: JournalDesk,
    ) -> None:
        self._registry = registry
        self._desk = desk
        self._settings = settings
        self._hub = hub
        self._module = module
        self._journal = journal
        self.settlements = Settlements(
            settings.debit_journal, registry, hub, module, settings.operation_timeout_s, journal
        )
        pad = PinPad(settings.pin_pad, baud=settings.pin_pad_baud) if settings.pin_pad else None
        self._dialog, self._devices = dialog, devices
        self._pad = PadEntry(pad, devices.pad_used) if pad else None
        entry: PinEntry | None = self._pad or (dialog if settings.pin_dialog else None)
        self._new_pins = entry
        self._entry = OncePin(entry) if entry else None
        self._lock = asyncio.Lock()
        self._held: _Held | None = None
        self._link: Link | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._calls = 0
        self._releases: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def call(self, function: DriverFunction, arguments: list[Any]) -> Answer:
        """Code and text. Never raises for what a card, a reader or a program does."""
        if function.name == ID_CARD_FUNCTION:
            return await read_identity_card(self._devices)
        i_type = arguments.pop(0) if function.begins else 0
        async with self._lock:
            try:
                self._expect_mine()
            except ReaderBusyError as exc:
                return named(error_answer(exc), exc)
            self._calls += 1
            self._stop_timer()
            self._link = LINK.get()
            try:
                if function.name == "iReadCardBas":
                    answer = await self._read_bas(i_type)
                else:
                    answer = await self._run(function, i_type, arguments)
            except ReaderNotFoundError as exc:
                answer = NO_READER, error_answer(exc)[1]
            except Exception as exc:
                if not isinstance(exc, TransportError | AgentError):
                    LOG.error("unforeseen %s", type(exc).__name__, exc_info=exc)
                answer = named(error_answer(exc), exc)
                await self._release()
            finally:
                self._link = None
            if answer[0] in _GONE:
                await self._release()
            elif self._held is not None:
                self._timer = asyncio.get_running_loop().call_later(HOLD_S, self._time_over)
            LOG.info("%s: %d", function.name, answer[0])
            return answer

    async def with_holder(
        self, name: str, subject: Callable[[DriverSession, bool], PinSubject], act: Callable[[DriverSession], T]
    ) -> T:
        """`act` on the card in a reader, which nobody else has in between. What asks for a PIN is shown as `subject`.

        Raises UnknownReaderError, CardAbsentError, ReaderBusyError, and as `act`.
        """
        reader = self._registry.get(name)
        async with self._lock:
            self._expect_mine()
            self._calls += 1
            self._stop_timer()
            await self._release()
            if not reader.has_card:
                raise CardAbsentError(f"{reader.name} is empty")
            held = await self._hold(reader)
            self._link = LINK.get()
            try:
                self._ask_as(partial(subject, held.session))
                timeout_s = self._settings.operation_timeout_s + PIN_ENTRIES_S
                return await held.card.worker.call(lambda: self._logged_in(held.session, act), timeout_s)
            finally:
                self._link = None
                if self._entry is not None:
                    self._entry.forget()
                await self._release()

    def gone(self, link: Link) -> None:
        """Who called by it has gone: a function of it that is on the card ends as always, but asks for no PIN."""
        link.has_gone = True
        if link is self._link:
            self._dialog.give_up()

    def _ask_as(self, subject: Callable[[bool], PinSubject]) -> None:
        """Raises PinEntryCancelledError where who called has gone."""
        if self._link is not None and self._link.has_gone:
            raise PinEntryCancelledError("who called has gone")
        self._dialog.subject = subject

    def _logged_in(self, session: DriverSession, act: Callable[[DriverSession], T]) -> T:
        self._journal.admit()
        self._desk.demand_unlisted(session.opened().identification_code)
        result = act(session)
        self._note_use("log_in", session)
        return result

    def _note_use(self, act: Act, session: DriverSession) -> None:
        if self._journal.is_kept:
            card = session.opened()
            self._journal.used(act, card.identification_code, card.card_number)

    async def leave(self) -> None:
        """A connection has ended: what it kept is given back at once."""
        async with self._lock:
            if self._held is not None and self._held.is_mine:
                self._stop_timer()
                await self._release()

    def _expect_mine(self) -> None:
        """One page must not go on with the PIN that another page's holder has typed. Raises ReaderBusyError."""
        held = self._held
        if held is not None and held.is_there and not held.is_mine:
            error = ReaderBusyError(f"{held.reader.name}: {held.reader.holder}")
            if held.reader.holder is not None:
                error.extra = {"holder": held.reader.holder.public()}
            raise error

    def new_pin(self, reader: str) -> EnteredPin:
        """For a card session with the centre. Blocks; not for the event loop.

        Raises DeviceNotConfiguredError, and as `PinEntry`.
        """
        return self.enter_pin(PinSubject("iReloadPIN", reader=reader), is_new=True)

    def enter_pin(self, subject: PinSubject, *, is_new: bool) -> EnteredPin:
        """Asked for outside of a driver function. Blocks; not for the event loop. Raises as `new_pin`."""
        if self._new_pins is None:
            raise DeviceNotConfiguredError("this terminal has no PIN pad and no PIN dialog")
        self._dialog.subject = lambda is_new: subject
        return self._new_pins.enter(is_new=is_new)

    @property
    def has_pin_pad(self) -> bool:
        return self._pad is not None

    def give_up_pin(self) -> None:
        """Ends what `enter_pin` waits for, as cancelled."""
        self._dialog.give_up()
        if self._pad is not None:
            self._pad.cancel()

    async def try_pad(self) -> int:
        """How many keys somebody pressed at the PIN pad. Raises DeviceNotConfiguredError, and as `PinEntry`."""
        pad = self._pad
        if pad is None:
            raise DeviceNotConfiguredError("no PIN pad is configured")

        def enter() -> int:
            with pad.enter(is_new=False) as keys:
                return len(keys)

        async with self._lock:
            return await asyncio.to_thread(enter)

    def start(self) -> None:
        self.settlements.start()
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self.settlements.report())]

    async def _watch(self) -> None:
        """Resolve what is unclear with a card as soon as it is put in."""
        while True:
            async for event in self._hub.subscribe():
                if event.name == "card_inserted":
                    await self._resolve_inserted(event.data["reader"])
            await asyncio.sleep(WATCH_PAUSE_S)  # cut off as too slow, or the agent is about to end

    async def _resolve_inserted(self, name: str) -> None:
        reader = next((reader for reader in self._registry.card_readers() if reader.name == name), None)
        async with self._lock:
            if self._held is not None and not self._held.is_there:
                await self._release()
            if reader is not None:
                await self.settlements.resolve_inserted(reader)

    async def close(self) -> None:
        self.settlements.stop()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        async with self._lock:
            self._stop_timer()
            await self._release()

    async def _run(self, function: DriverFunction, i_type: int, arguments: list[Any]) -> Answer:
        held = self._held
        if not function.begins:
            if held is None or not held.is_there:
                await self._release()
                return STEP_MISSING, "缺少上一步，请从第一步重新开始"
        else:
            reader = self._desk.choose(i_type)
            if held is None or held.reader is not reader or not held.is_there:
                await self._release()
                held = await self._hold(reader)
        timeout_s = self._settings.operation_timeout_s + (PIN_ENTRIES_S if function.asks_pin else 0)
        session, steps, slip = held.session, held.steps, held.slip
        self._ask_as(partial(pin_subject, function.name, held.reader.name, PROGRAM.get(), session))

        def by_psam() -> Answer:
            self._journal.admit(is_money=function.name in SETTLEMENTS)
            refusal = self.settlements.clear_way(session) if function.name in SETTLEMENTS else None
            refusal = refusal or self._listed(function, session)
            answer = refusal or function.run(session, steps, *arguments)
            self.settlements.close(slip, answer)
            if answer[0] == 0 and function.use is not None:
                self._note_use(function.use, session)
            return answer

        try:
            answer = await held.card.worker.call(by_psam, timeout_s)
            return await self._by_hsm(held, function.name, arguments, answer, timeout_s)
        finally:
            if self._entry is not None:
                self._entry.forget()

    def _listed(self, function: DriverFunction, session: DriverSession) -> Answer | None:
        """The refusal of a card that the block list has. What is unclear with it was resolved before."""
        if function.serves_holder:
            try:
                self._desk.demand_unlisted(session.opened().identification_code)
            except CardListedError as error:
                return LISTED, error_answer(error)[1]
        return None

    async def _read_bas(self, i_type: int) -> Answer:
        await self._release()
        answer = await self._desk.driver_read(i_type)
        if self._module is None or not needs_hsm(answer[0]):
            return answer
        held = await self._hold(self._desk.choose(i_type))
        try:
            return await self._by_hsm(held, "iReadCardBas", [], answer, self._settings.operation_timeout_s)
        finally:
            await self._release()

    async def _by_hsm(self, held: _Held, name: str, arguments: list[Any], by_psam: Answer, timeout_s: float) -> Answer:
        if self._module is None:
            return by_psam
        way = HsmWay(
            self._module,
            lambda call: held.card.worker.call(call, timeout_s),
            held.session,
            held.steps,
            held.slip,
            self.settlements,
            budget_s=self._settings.network_deadline_s,
        )
        return await way.answer(name, arguments, by_psam)

    async def _hold(self, reader: Reader) -> _Held:
        """Raises ReaderBusyError while a card session has the reader."""
        async with AsyncExitStack() as exits:
            self._registry.take(reader, PAGE if PROGRAM.get() else LOCAL, PROGRAM.get())
            exits.callback(self._give_back, reader)
            insertions = reader.insertions
            card = await exits.enter_async_context(self._registry.hold(reader, self._settings.operation_timeout_s))
            psam, slip = self._desk.psam(), self.settlements.slip()
            session = await card.worker.call(
                lambda: self._session(card.connection, psam, slip), self._settings.operation_timeout_s
            )
            self._held = _Held(reader, insertions, card, session, HsmSteps(session), slip, exits.pop_all())
            return self._held

    def _session(self, connection: CardConnection, psam: TerminalPsam | None, slip: Slip | None) -> DriverSession:
        terminal = DriverTerminal(
            journal=self.settlements.journal_of(slip),
            number=terminal_number_of(psam, self._settings.terminal_number),
            device_number=self._settings.device_number,
            authenticator=psam,
            purchase=PsamPurchase(psam) if psam else None,
            pin_entry=self._entry,
            addresses=self._settings.hsm_addresses,
        )
        return DriverSession(TraceChannel(connection), connection.atr, terminal, protocol=connection.protocol)

    async def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            await held.exits.aclose()

    def _give_back(self, reader: Reader) -> None:
        self._registry.give_back(reader)
        reader.is_session_over = False  # the card may stay for the next function

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_over(self) -> None:
        task = asyncio.get_running_loop().create_task(self._release_idle(self._calls))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _release_idle(self, calls: int) -> None:
        """Unless another function came in between."""
        async with self._lock:
            if calls == self._calls:
                await self._release()
