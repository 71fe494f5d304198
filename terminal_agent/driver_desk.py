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
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from apdu.channel import TraceChannel
from apdu.errors import CardAbsentError, ReaderNotFoundError, TransportError
from apdu.readers import CardConnection
from apdu.serial.pinpad import BETWEEN_DIGITS_S, TOTAL_S, Pin, PinPad, Purpose
from cardlib.driver import error_answer
from cardlib.driver_hsm import HsmSteps
from cardlib.driver_session import Answer, DriverSession, DriverTerminal, EnteredPin, PinEntry
from cardlib.hsm_route import needs_hsm
from cardlib.medical import PsamPurchase
from cardlib.settlement_journal import Slip
from terminal_agent.cards import NO_READER, CardDesk, terminal_number_of
from terminal_agent.centre import SecurityModule
from terminal_agent.devices import DeviceHall
from terminal_agent.driver_functions import ID_CARD_FUNCTION, DriverFunction
from terminal_agent.hsm_way import SETTLEMENTS, HsmWay, OncePin
from terminal_agent.hub import EventHub
from terminal_agent.id_cards import read_identity_card
from terminal_agent.pin_dialog import PROGRAM, PinDialog, PinSubject, pin_subject
from terminal_agent.problems import AgentError, DeviceNotConfiguredError
from terminal_agent.registry import HeldCard, Reader, ReaderRegistry
from terminal_agent.settings import AgentSettings
from terminal_agent.settlements import Settlements
from terminal_agent.terminal_psam import TerminalPsam

HOLD_S: Final = 30.0
PIN_ENTRIES_S: Final = 2 * (TOTAL_S + BETWEEN_DIGITS_S)
WATCH_PAUSE_S: Final = 1.0
STEP_MISSING: Final = -23
_GONE = frozenset({-2, -3, -4, NO_READER})
LOG = logging.getLogger("terminal_agent.driver")
T = TypeVar("T")


class PadEntry:
    """The serial PIN pad as a `PinEntry`."""

    def __init__(self, pad: PinPad) -> None:
        self._pad = pad

    def enter(self, *, is_new: bool) -> Pin:
        return self._pad.enter(Purpose.NEW_PIN if is_new else Purpose.VERIFY)


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

    @property
    def is_there(self) -> bool:
        return self.reader.has_card and self.reader.insertions == self.insertions


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
    ) -> None:
        self._registry = registry
        self._desk = desk
        self._settings = settings
        self._hub = hub
        self._module = module
        self.settlements = Settlements(settings.debit_journal, registry, hub, module, settings.operation_timeout_s)
        pad = PinPad(settings.pin_pad, baud=settings.pin_pad_baud) if settings.pin_pad else None
        self._dialog, self._devices = dialog, devices
        entry: PinEntry | None = PadEntry(pad) if pad else dialog if settings.pin_dialog else None
        self._new_pins = entry
        self._entry = OncePin(entry) if entry else None
        self._lock = asyncio.Lock()
        self._held: _Held | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._calls = 0
        self._releases: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False

    async def call(self, function: DriverFunction, arguments: list[Any]) -> Answer:
        """Code and text. Never raises for what a card, a reader or a program does."""
        if function.name == ID_CARD_FUNCTION:
            return await read_identity_card(self._devices)
        i_type = arguments.pop(0) if function.begins else 0
        async with self._lock:
            self._calls += 1
            self._stop_timer()
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
                answer = error_answer(exc)
                await self._release()
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
            self._calls += 1
            self._stop_timer()
            await self._release()
            if not reader.has_card:
                raise CardAbsentError(f"{reader.name} is empty")
            held = await self._hold(reader)
            self._dialog.subject = partial(subject, held.session)
            try:
                timeout_s = self._settings.operation_timeout_s + PIN_ENTRIES_S
                return await held.card.worker.call(lambda: act(held.session), timeout_s)
            finally:
                if self._entry is not None:
                    self._entry.forget()
                await self._release()

    def new_pin(self, reader: str) -> EnteredPin:
        """For a card session with the centre. Blocks; not for the event loop.

        Raises DeviceNotConfiguredError, and as `PinEntry`.
        """
        if self._new_pins is None:
            raise DeviceNotConfiguredError("this terminal has no PIN pad and no PIN dialog")
        self._dialog.subject = lambda is_new: PinSubject("iReloadPIN", reader=reader)
        return self._new_pins.enter(is_new=True)

    def start(self) -> None:
        self.settlements.start()
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self.settlements.report())]

    async def _watch(self) -> None:
        """Resolve what is unclear with a card as soon as it is put in."""
        while not self._is_over:
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
        # A cancellation can be lost where a call of a reader's thread has just ended (asyncio.wait_for).
        self._is_over = True
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
        self._dialog.subject = partial(pin_subject, function.name, held.reader.name, PROGRAM.get(), session)

        def by_psam() -> Answer:
            refusal = self.settlements.clear_way(session) if function.name in SETTLEMENTS else None
            answer = refusal or function.run(session, steps, *arguments)
            self.settlements.close(slip, answer)
            return answer

        try:
            answer = await held.card.worker.call(by_psam, timeout_s)
            return await self._by_hsm(held, function.name, arguments, answer, timeout_s)
        finally:
            if self._entry is not None:
                self._entry.forget()

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
            self._registry.take(reader)
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
