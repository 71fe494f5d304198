"""The card sessions of this terminal: at most one per reader, the finished ones kept for a while."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any

from apdu.errors import CardAbsentError
from cardlib.driver_session import EnteredPin
from cardlib.wire import SessionStart
from terminal_agent.caller import PROGRAM
from terminal_agent.centre import IssuanceClient
from terminal_agent.hub import EventHub
from terminal_agent.printer import PrinterDesk
from terminal_agent.problems import DeviceNotConfiguredError, NoCentreError, UnknownJobError
from terminal_agent.registry import Reader, ReaderRegistry
from terminal_agent.relay import Job, JobState, Relay
from terminal_agent.schemas import CardSessionRequest, JobView
from terminal_agent.settings import AgentSettings

MAX_FINISHED = 200
OWNER = "发卡会话 / card session"
STOP_WAIT_S = 2.0  # less than the server waits for the whole agent


class JobService:
    """Starts, finds and cancels jobs; progress goes to the hub without personal data."""

    def __init__(
        self,
        registry: ReaderRegistry,
        hub: EventHub,
        settings: AgentSettings,
        centre: IssuanceClient | None,
        printer: PrinterDesk,
        ask_pin: Callable[[str], EnteredPin],
    ) -> None:
        self._ask_pin = ask_pin
        self._printer = printer
        self._registry = registry
        self._hub = hub
        self._settings = settings
        self._centre = centre
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def has_centre(self) -> bool:
        return self._centre is not None

    def start(
        self,
        request: CardSessionRequest,
        *,
        visit: str | None = None,
        ask_pin: Callable[[str], EnteredPin] | None = None,
    ) -> Job:
        """`visit`: a kiosk's at the centre. `ask_pin` gives a reset's new PIN in place of the terminal's own way.

        Raises NoCentreError, UnknownReaderError, CardAbsentError, ReaderBusyError, DeviceNotConfiguredError.
        """
        if self._centre is None:
            raise NoCentreError("no issuance service is configured")
        reader = self._registry.get(request.reader)
        if reader.atr is None:
            raise CardAbsentError(f"{reader.name} is empty")
        wire = SessionStart(
            kind=request.kind,
            atr=reader.atr.hex().upper(),
            generation=request.generation,
            application_id=request.application_id,
            region=request.region,
            can_print=self._prints(request),
            visit=visit,
        )
        self._registry.take(reader, OWNER, PROGRAM.get())
        job = Job(id=secrets.token_urlsafe(12), reader=reader.name, request=wire)
        self._jobs[job.id] = job
        relay = Relay(
            job,
            reader,
            self._registry,
            self._centre,
            self._settings,
            self._report,
            self._printer,
            ask_pin or self._ask_pin,
        )
        task = asyncio.create_task(relay.run(), name=f"card session {job.id}")
        task.add_done_callback(lambda _: self._finished(job, reader))
        self._tasks[job.id] = task
        self._forget_old()
        return job

    def _prints(self, request: CardSessionRequest) -> bool:
        """As the request says; where it says nothing, every card is printed that can be."""
        if request.with_print and not self._printer.is_configured:
            raise DeviceNotConfiguredError("no card printer is configured")
        is_wanted = self._printer.is_configured if request.with_print is None else request.with_print
        return is_wanted and request.kind == "personalization"

    def get(self, job_id: str) -> Job:
        job = self._jobs.get(job_id)
        if job is None:
            raise UnknownJobError("no such card session")
        return job

    def running(self) -> list[Job]:
        return [self._jobs[job_id] for job_id in self._tasks]

    async def cancel(self, job_id: str) -> Job:
        """End a running job and return when nothing goes to its card any more; a finished one stays as it is.

        The batch on the card is let end, so this takes up to `batch_timeout_s`; a card that does not answer in that
        time makes the job a failed one.
        """
        job = self.get(job_id)
        task = self._tasks.get(job_id)
        if task is not None:
            _cancel_once(task)
            await asyncio.wait([task])
        return job

    async def stop(self) -> None:
        """End all jobs, each after its batch; one that takes too long stops before the next command on the card."""
        tasks = list(self._tasks.values())
        for task in tasks:
            _cancel_once(task)
        if tasks:
            _, waiting = await asyncio.wait(tasks, timeout=STOP_WAIT_S)
            for task in waiting:
                task.cancel()
            if waiting:
                await asyncio.wait(waiting)
        if self._centre is not None:
            await self._centre.aclose()

    def _finished(self, job: Job, reader: Reader) -> None:
        if job.finished_at is None:  # cancelled before its first step
            job.state, job.finished_at = JobState.CANCELLED, time.time()
        self._registry.give_back(reader)
        self._tasks.pop(job.id, None)
        self._hub.publish("session_done", _public(job))

    def _report(self, job: Job) -> None:
        self._hub.publish("session_progress", _public(job))

    def _forget_old(self) -> None:
        finished = [job_id for job_id in self._jobs if job_id not in self._tasks]
        for job_id in finished[: max(0, len(finished) - MAX_FINISHED)]:
            del self._jobs[job_id]


def _cancel_once(task: asyncio.Task[None]) -> None:
    """A second cancelling would break off the wait for the batch on the card."""
    if not task.cancelling():
        task.cancel()


def _public(job: Job) -> dict[str, Any]:
    """What every listener may know: no application, no outcome details."""
    return JobView.of(job).model_dump(mode="json", exclude={"application_id", "result", "detail"})
