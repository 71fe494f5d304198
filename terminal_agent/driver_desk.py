"""The driver functions on the cards of this terminal.

iReadCardBas stands alone, as pages poll it. Every other function keeps its card for the next one, because a verified
PIN and the challenge between two steps live in the card: until the card leaves, a function fails on the way, or nothing
is called for `HOLD_S`. Meanwhile other users of the reader hear that it is busy.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from apdu.channel import TraceChannel
from apdu.errors import ReaderNotFoundError, TransportError
from apdu.readers import CardConnection
from apdu.serial.pinpad import BETWEEN_DIGITS_S, TOTAL_S, Pin, PinPad, Purpose
from cardlib.driver import error_answer
from cardlib.driver_hsm import HsmSteps
from cardlib.driver_session import Answer, DriverSession, DriverTerminal
from cardlib.medical import PendingTransaction, Permit, PurchaseAuthority
from hsm.api import CardFactors, KeyRef
from hsm.transactions import Purchase
from terminal_agent.cards import NO_READER, CardDesk, terminal_number_of
from terminal_agent.driver_functions import DriverFunction
from terminal_agent.problems import AgentError
from terminal_agent.registry import HeldCard, Reader, ReaderRegistry
from terminal_agent.settings import AgentSettings
from terminal_agent.terminal_psam import TerminalPsam

HOLD_S: Final = 30.0
PIN_ENTRIES_S: Final = 2 * (TOTAL_S + BETWEEN_DIGITS_S)
STEP_MISSING: Final = -23
_GONE = frozenset({-2, -3, -4, NO_READER})
LOG = logging.getLogger("terminal_agent.driver")


class PadEntry:
    """The serial PIN pad as a `PinEntry`."""

    def __init__(self, pad: PinPad) -> None:
        self._pad = pad

    def enter(self, *, is_new: bool) -> Pin:
        return self._pad.enter(Purpose.NEW_PIN if is_new else Purpose.VERIFY)


class TerminalPurchase(PurchaseAuthority):
    """Settlement under the PSAM in its slot."""

    def __init__(self, psam: TerminalPsam) -> None:
        self._psam = psam

    @property
    def terminal_number(self) -> bytes:
        return bytes.fromhex(self._psam.terminal_number())

    def permit(self, key: KeyRef, factors: CardFactors, purchase: Purchase) -> Permit:
        return Permit(*self._psam.init_purchase(key, factors, purchase))

    def confirm(self, key: KeyRef, factors: CardFactors, purchase: Purchase, mac2: bytes) -> None:
        self._psam.credit_purchase(mac2)


class NoJournalError(Exception):
    """Without a journal a torn settlement could not be resolved. Driver code -13."""

    failure: ClassVar[str] = "COMMAND_REJECTED"


class DebitJournal:
    """Pending settlements as JSON lines, each on the disk before money moves. Without a path no settlement begins."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()

    def __call__(self, pending: PendingTransaction) -> None:
        if self._path is None:
            raise NoJournalError("no journal for settlements is configured")
        line = json.dumps(pending.to_json()) + "\n"
        with self._lock:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "a", encoding="ascii") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())


@dataclass(slots=True)
class _Held:
    """A card kept between functions."""

    reader: Reader
    insertions: int
    card: HeldCard
    session: DriverSession
    steps: HsmSteps
    exits: AsyncExitStack

    @property
    def is_there(self) -> bool:
        return self.reader.has_card and self.reader.insertions == self.insertions


class DriverDesk:
    """One driver session at a time, as the interface has no handles. Lives on the event loop."""

    def __init__(self, registry: ReaderRegistry, desk: CardDesk, settings: AgentSettings) -> None:
        self._registry = registry
        self._desk = desk
        self._settings = settings
        self._journal = DebitJournal(settings.debit_journal)
        pad = PinPad(settings.pin_pad, baud=settings.pin_pad_baud) if settings.pin_pad else None
        self._entry = PadEntry(pad) if pad else None
        self._lock = asyncio.Lock()
        self._held: _Held | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._calls = 0
        self._releases: set[asyncio.Task[None]] = set()

    async def call(self, function: DriverFunction, arguments: list[Any]) -> Answer:
        """Code and text. Never raises for what a card, a reader or a program does."""
        i_type = arguments.pop(0) if function.begins else 0
        async with self._lock:
            self._calls += 1
            self._stop_timer()
            if function.name == "iReadCardBas":
                await self._release()
                return await self._desk.driver_read(i_type)
            try:
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

    async def close(self) -> None:
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
        session, steps = held.session, held.steps
        return await held.card.worker.call(lambda: function.run(session, steps, *arguments), timeout_s)

    async def _hold(self, reader: Reader) -> _Held:
        """Raises ReaderBusyError while a card session has the reader."""
        async with AsyncExitStack() as exits:
            self._registry.take(reader)
            exits.callback(self._give_back, reader)
            insertions = reader.insertions
            card = await exits.enter_async_context(self._registry.hold(reader, self._settings.operation_timeout_s))
            psam = self._desk.psam()
            session = await card.worker.call(
                lambda: self._session(card.connection, psam), self._settings.operation_timeout_s
            )
            self._held = _Held(reader, insertions, card, session, HsmSteps(session), exits.pop_all())
            return self._held

    def _session(self, connection: CardConnection, psam: TerminalPsam | None) -> DriverSession:
        terminal = DriverTerminal(
            journal=self._journal,
            number=terminal_number_of(psam),
            device_number=self._settings.device_number,
            authenticator=psam,
            purchase=TerminalPurchase(psam) if psam else None,
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
