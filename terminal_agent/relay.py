"""Remote card sessions: the centre decides, this relays (architecture.md, idea 5).

A job asks the centre for a session, executes each batch of commands on the card exactly as given, and returns the
responses until the centre says how it ended. A network failure repeats the same request; a card that left is waited
for and the session begun anew, because the centre reads the card's own content to find where it stands.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from apdu.channel import Channel, CountingChannel, TraceChannel, follow_up
from apdu.errors import CardAbsentError, CardRemovedError, CardUnsupportedError, ReaderLostError, TransportError
from cardlib import crash_points
from cardlib.driver_session import EnteredPin
from cardlib.failures import FailureCode, describe, failure_of
from cardlib.wire import (
    BatchResponses,
    CommandBatch,
    PrintOrder,
    SessionOutcome,
    SessionReply,
    SessionStart,
    sw_matches,
)
from terminal_agent.centre import CentreUnreachableError, IssuanceClient
from terminal_agent.printer import PrinterDesk
from terminal_agent.registry import HeldCard, Reader, ReaderRegistry
from terminal_agent.settings import AgentSettings

MAX_RESTARTS = 20
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
# A monitor can miss a card that left and came back between two looks; then the card itself is asked.
PROBE_S = 1.0
_OTHER_CARD = ("这不是刚才那张卡，请放回原来的卡", "Not the same card; put the first one back")
LOG = logging.getLogger("terminal_agent.relay")


class JobState(StrEnum):
    RUNNING = "running"
    AWAITING_CARD = "awaiting_card"
    AWAITING_PRINTER = "awaiting_printer"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class Job:
    """One card session as seen from the terminal; counts add up over re-insertions and repeated requests."""

    id: str
    reader: str
    request: SessionStart
    state: JobState = JobState.RUNNING
    step: int = 0
    steps: int = 0
    text_zh: str = "正在连接发卡中心"
    text_en: str = "Contacting the centre"
    apdus: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    network_round_trips: int = 0
    sessions: int = 0
    started_at: float = field(default_factory=time.time)
    finished_at: float | None = None
    failure: FailureCode | None = None
    detail: str = ""
    outcome: SessionOutcome | None = None
    phase: Literal["write", "print", "end"] = "write"
    """What is done to the card; `end`: nothing more, the centre is heard."""
    wants: FailureCode | None = None
    """What the job waits for now, beside the card."""


class _CardGoneError(Exception):
    """The card or its reader left during a session; `seen` is the insertion it belonged to."""

    def __init__(self, cause: TransportError, seen: int) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.seen = seen


class _JobFailedError(Exception):
    def __init__(self, failure: FailureCode, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure


class Relay:
    """Runs one job to its end. `report` is called on the loop after every visible change."""

    def __init__(
        self,
        job: Job,
        reader: Reader,
        registry: ReaderRegistry,
        centre: IssuanceClient,
        settings: AgentSettings,
        report: Callable[[Job], None],
        printer: PrinterDesk,
        ask_pin: Callable[[str], EnteredPin],
    ) -> None:
        self._ask_pin = ask_pin
        self._printer = printer
        self._job = job
        self._reader = reader
        self._registry = registry
        self._centre = centre
        self._settings = settings
        self._report = report
        self._atr = bytes.fromhex(job.request.atr)

    async def run(self) -> None:
        """Never raises for a failed session: the job says how it went.

        Cancelling lets the batch on the card end and leaves the card between two; a second cancelling does not wait.
        """
        job = self._job
        try:
            await self._type_pin()
            outcome = await self._sessions()
        except asyncio.CancelledError:
            job.state = JobState.CANCELLED
            self._say("已停止，卡可以重新办理", "Stopped; the card can be tried again")
            raise
        except _JobFailedError as exc:
            self._fail(exc.failure, str(exc))
        except Exception as exc:
            code = failure_of(exc)
            if code is FailureCode.INTERNAL:
                LOG.error("job %s: unforeseen %s", job.id, type(exc).__name__, exc_info=exc)
            self._fail(code, "" if code is FailureCode.INTERNAL else str(exc))
        else:
            job.outcome = outcome
            if outcome.status == "done":
                job.state = JobState.DONE
                job.step = job.steps
                self._say("办好了，请取卡", "Done, take the card")
            else:
                code = FailureCode.__members__.get(outcome.failure or "", FailureCode.INTERNAL)
                self._fail(code, outcome.detail)
        finally:
            job.request = job.request.model_copy(update={"pin": None})
            job.finished_at = time.time()

    async def _type_pin(self) -> None:
        """The holder types the new PIN before the card is touched; it is forgotten when the job ends."""
        if self._job.request.kind != "pin_reset":
            return
        self._say("请持卡人输入新密码", "The holder types the new PIN")
        with await asyncio.to_thread(self._ask_pin, self._reader.name) as pin:
            self._job.request = self._job.request.model_copy(update={"pin": pin.digits})

    async def _sessions(self) -> SessionOutcome:
        """Sessions one after the other until one ends with the card still there.

        The printer is looked at first: a card is not begun that could not be finished.
        """
        if self._job.request.can_print:
            await self._printer.ready(self._wait_for_printer)
        while True:
            self._job.sessions += 1
            try:
                return await self._one_session()
            except _CardGoneError as gone:
                LOG.info("job %s: %s", self._job.id, gone)
                if self._job.sessions > MAX_RESTARTS:
                    raise _JobFailedError(failure_of(gone.cause), f"gave up after {MAX_RESTARTS} restarts") from gone
                await self._await_card(gone)

    async def _one_session(self) -> SessionOutcome:
        seen = self._reader.insertions
        try:
            async with self._registry.hold(self._reader, self._settings.operation_timeout_s) as card:
                if card.connection.atr != self._atr:
                    raise _CardGoneError(CardRemovedError("another card is in the reader"), seen)
                reply = await self._patiently(lambda: self._centre.start(self._job.request))
                crash_points.reach("relay.started")
                while reply.batch is not None:
                    reply = await self._relay(card, reply.batch)
        except CardUnsupportedError:
            raise
        except TransportError as exc:
            raise _CardGoneError(exc, seen) from exc
        while reply.print_order is not None:
            reply = await self._print(reply.print_order)
        if reply.outcome is None:
            raise _JobFailedError(FailureCode.INTERNAL, "the centre sent neither batch nor outcome")
        return reply.outcome

    async def _relay(self, card: HeldCard, batch: CommandBatch) -> SessionReply:
        job = self._job
        job.step, job.steps = batch.step, batch.steps
        self._say(batch.text_zh, batch.text_en)
        counter = CountingChannel(card.connection)
        given_up = threading.Event()
        work = asyncio.create_task(
            card.worker.call(
                lambda: execute_batch(batch, counter, card.connection.protocol, given_up),
                self._settings.batch_timeout_s,
            )
        )
        try:
            responses = await asyncio.shield(work)
        except asyncio.CancelledError:
            self._say("正在停止，请勿取卡", "Stopping; leave the card in")
            with suppress(TransportError):
                await work
            raise
        finally:
            given_up.set()
            job.apdus += counter.apdus
            job.bytes_sent += counter.bytes_sent
            job.bytes_received += counter.bytes_received
        crash_points.reach("relay.batch")
        answer = BatchResponses(session_id=batch.session_id, sequence=batch.sequence, responses=responses)
        reply = await self._patiently(lambda: self._centre.answer(answer))
        crash_points.reach("relay.answered")
        return reply

    async def _print(self, order: PrintOrder) -> SessionReply:
        """The card's own reader is free meanwhile: it may travel to the print head."""
        self._job.step, self._job.steps = order.step, order.steps
        self._job.phase = "print"
        self._say(order.text_zh, order.text_en)
        report = await self._printer.print(order, self._wait_for_printer)
        self._job.phase = "end"
        crash_points.reach("relay.printed")
        reply = await self._patiently(lambda: self._centre.report_print(report))
        crash_points.reach("relay.reported")
        return reply

    def _wait_for_printer(self, failure: FailureCode | None) -> None:
        if failure is None:
            self._job.state = JobState.RUNNING
            self._say("打印机好了，接着办", "The printer is ready, going on")
            return
        self._job.state = JobState.AWAITING_PRINTER
        words = describe(failure)
        self._say(words.text_zh, words.text_en, wants=failure)

    async def _patiently(self, request: Callable[[], Awaitable[SessionReply]]) -> SessionReply:
        """Repeat a request that found no centre, with growing pauses, until the deadline."""
        deadline = time.monotonic() + self._settings.network_deadline_s
        pause_s = FIRST_PAUSE_S
        while True:
            self._job.network_round_trips += 1
            try:
                return await request()
            except CentreUnreachableError as exc:
                LOG.info("job %s: %s", self._job.id, exc)
                if time.monotonic() + pause_s > deadline:
                    raise
                texts = "网络断了，正在重新连接，请勿取卡", "Network down, reconnecting; leave the card in"
                self._say(*texts, wants=FailureCode.SERVICE_UNREACHABLE)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _await_card(self, gone: _CardGoneError) -> None:
        """Until the same card (same ATR) is back. Another card is named as such and never touched."""
        job, reader = self._job, self._reader
        job.state = JobState.AWAITING_CARD
        text = _text_of(gone.cause)
        self._say(*text)
        deadline = time.monotonic() + self._settings.wait_for_card_s
        probe_at = time.monotonic() + PROBE_S
        while True:
            now = time.monotonic()
            if now >= deadline:
                raise _JobFailedError(failure_of(gone.cause), "the card was not put back in time")
            is_new = reader.insertions > gone.seen
            if reader.has_card and reader.atr == self._atr and (is_new or now >= probe_at):
                break
            is_other = reader.has_card and is_new and reader.atr not in (self._atr, b"")
            wanted = _OTHER_CARD if is_other else text
            if (job.text_zh, job.text_en) != wanted:
                self._say(*wanted)
            next_look = probe_at if now < probe_at else deadline
            await self._registry.wait_change(reader, min(next_look, deadline) - now)
        job.state, job.step = JobState.RUNNING, 0
        self._say("卡回来了，接着办", "The card is back, going on")

    def _fail(self, code: FailureCode, detail: str) -> None:
        job = self._job
        job.state, job.failure, job.detail = JobState.FAILED, code, detail
        failure = describe(code)
        self._say(failure.text_zh, failure.text_en)

    def _say(self, text_zh: str, text_en: str, wants: FailureCode | None = None) -> None:
        self._job.text_zh, self._job.text_en, self._job.wants = text_zh, text_en, wants
        self._report(self._job)


def _text_of(cause: TransportError) -> tuple[str, str]:
    if isinstance(cause, CardRemovedError | CardAbsentError | ReaderLostError):
        return "卡离开了读写器，请放回同一张卡", "The card left the reader; put the same card back"
    failure = describe(failure_of(cause))
    return failure.text_zh, failure.text_en


def execute_batch(batch: CommandBatch, counter: Channel, protocol: str, given_up: threading.Event) -> tuple[str, ...]:
    """Send the batch in order on the reader's thread; stop after the first status word the centre did not expect.

    `given_up` stops it before the next command: a card that froze and thaws must not be written for a job that is over.
    A command marked secret bypasses the trace altogether. Raises TransportError when the card leaves midway: the
    responses so far are of no use then, because the next session starts from what the card says itself.
    """
    open_channel = follow_up(TraceChannel(counter), protocol)
    secret_channel = follow_up(counter, protocol)
    responses: list[str] = []
    for command in batch.commands:
        if given_up.is_set():
            break
        channel = secret_channel if command.is_secret else open_channel
        response = channel.transmit(bytes.fromhex(command.apdu))
        responses.append(response.hex().upper())
        if not sw_matches(int.from_bytes(response[-2:], "big"), command.expect):
            break
    return tuple(responses)
