"""Printing cards: whether the printer is ready, one job at a time, and waiting for people where they are needed.

A fault never ends a job by itself: whoever works here clears it, and the work goes on. What the printer wants is an
event, a device state and the words of the job that waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from cardlib.failures import FailureCode
from cardlib.wire import PrintOrder, PrintReport
from terminal_agent.devices import Device, DeviceKind, DeviceState
from terminal_agent.hub import EventHub
from terminal_agent.printer_link import FAILURES, PrinterAnswer, PrinterLink, PrinterLostError, PrintJob
from terminal_agent.problems import AgentError, DeviceNotConfiguredError

LOOK_S: Final = 2.0
POLL_S: Final = 0.25
EVENTS: Final = {
    DeviceState.READY: "device_ready",
    DeviceState.ATTENTION: "device_attention",
    DeviceState.LOST: "device_lost",
}
LOG = logging.getLogger("terminal_agent.printer")

Wanted = Callable[[FailureCode | None], None]
"""Told what the printer waits for, and None when it goes on."""


class PrinterNotReadyError(AgentError):
    """Nobody made the printer ready in time; `failure` says what it wants."""

    def __init__(self, failure: FailureCode) -> None:
        super().__init__("the printer was not made ready in time")
        self.failure = failure  # type: ignore[misc]


class PrinterDesk:
    """Use from the event loop between `start` and `stop`; `link` is None at a terminal without printer."""

    def __init__(self, link: PrinterLink | None, address: str, hub: EventHub, wait_s: float) -> None:
        self._link = link
        self._hub = hub
        self._wait_s = wait_s
        self._device = Device(DeviceKind.CARD_PRINTER, address)
        self._look: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self.last: PrinterAnswer | None = None
        """What the printer said last, None when it is not heard."""

    @property
    def is_configured(self) -> bool:
        return self._link is not None

    def devices(self) -> list[Device]:
        return [] if self._link is None else [self._device]

    def start(self) -> None:
        if self._link is not None:
            self._look = asyncio.create_task(self._follow(self._link))

    async def stop(self) -> None:
        if self._look is not None:
            self._look.cancel()
            with suppress(asyncio.CancelledError):
                await self._look

    async def ready(self, wanted: Wanted) -> None:
        """Return when a card can be printed. Raises DeviceNotConfiguredError, PrinterNotReadyError."""
        link = self.link
        failure = await self.until(link.status, lambda answer: answer.state.can_print, wanted)
        if failure is not None:
            raise PrinterNotReadyError(failure)

    async def print(self, order: PrintOrder, wanted: Wanted) -> PrintReport:
        """One card for one job id; the report of a failure names what the printer wanted last."""
        link, seen = self.link, list[PrintJob]()

        async def look() -> PrinterAnswer:
            answer = await link.job(order.job_id)
            seen.append(answer.job)
            if answer.job is PrintJob.UNKNOWN and answer.state.can_print:
                answer = await link.submit(order.job_id, order.face)
            return answer

        async with self._turn:
            failure = await self.until(look, lambda a: a.job in (PrintJob.PRINTED, PrintJob.FAILED), wanted)
        if failure is None and seen[-1] is PrintJob.FAILED:
            failure = FailureCode.PRINT_FAILED
        done = "already_printed" if seen[:1] == [PrintJob.PRINTED] else "printed"
        LOG.info("print job %s: %s", order.job_id, failure or done)
        return PrintReport.model_validate(
            {
                "session_id": order.session_id,
                "sequence": order.sequence,
                "job_id": order.job_id,
                "status": "failed" if failure else done,
                "failure": failure,
            }
        )

    async def until(
        self,
        ask: Callable[[], Awaitable[PrinterAnswer]],
        is_over: Callable[[PrinterAnswer], bool],
        wanted: Wanted,
    ) -> FailureCode | None:
        """Ask until it is over; what the printer wants when the time is over, None before."""
        deadline = time.monotonic() + self._wait_s
        told: FailureCode | None = None
        while True:
            try:
                answer = await ask()
                self._note(answer)
                if is_over(answer):
                    if told is not None:
                        wanted(None)
                    return None
                failure = None if answer.state.can_print else FAILURES[answer.state]
            except PrinterLostError:
                self._note(None)
                failure = FailureCode.PRINTER_UNAVAILABLE
            if failure != told:
                told = failure
                wanted(failure)
            if time.monotonic() + POLL_S > deadline:
                return failure or FailureCode.TIMEOUT
            await asyncio.sleep(POLL_S)

    async def _follow(self, link: PrinterLink) -> None:
        while True:
            try:
                self._note(await link.status())
            except PrinterLostError:
                self._note(None)
            await asyncio.sleep(LOOK_S)

    def _note(self, answer: PrinterAnswer | None) -> None:
        """An event for each change; the first good word of the printer is none."""
        self.last = answer
        if answer is None:
            state, failure = DeviceState.LOST, FailureCode.PRINTER_UNAVAILABLE
        elif answer.state in FAILURES:
            state, failure = DeviceState.ATTENTION, FAILURES[answer.state]
        else:
            state, failure = DeviceState.READY, None
        device = self._device
        device.health.note(failure)
        before = (device.state, device.failure)
        device.state, device.failure = state, failure
        if before == (state, failure) or (before[0] is DeviceState.UNKNOWN and state is DeviceState.READY):
            return
        LOG.log(logging.WARNING if failure else logging.INFO, "card printer: %s", failure or "ready")
        self._hub.publish(
            EVENTS[state],
            {"kind": device.kind.value, "port": device.port, "failure": failure.value if failure else None},
        )

    @property
    def link(self) -> PrinterLink:
        """Raises DeviceNotConfiguredError."""
        if self._link is None:
            raise DeviceNotConfiguredError("no card printer is configured")
        return self._link
