"""Heartbeat: the centre is told how this terminal is, and answers what it is to do.

Nothing waits for it: a terminal without a network goes on as it is, locked or not.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from cardlib.failures import FailureCode
from cardlib.terminal_state import DeviceState, DiagnosisUpload, Heartbeat, JournalState, Orders, Supplies
from terminal_agent.centre import CentreRefusedError, CentreUnreachableError, TerminalCentre
from terminal_agent.diagnosis import bundle
from terminal_agent.journal.views import JournalView, view_of
from terminal_agent.levels import API_LEVEL
from terminal_agent.registry import Reader

if TYPE_CHECKING:
    from terminal_agent.agent import Agent

FIRST_S: Final = 3.0
FAREWELL_S: Final = 1.0
_JITTER: Final = 0.2
_MOST_FAILURES: Final = 16
_MOST_DEVICES: Final = 32
LOG = logging.getLogger("terminal_agent.heartbeat")
_RANDOM = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Heard:
    """The centre's time, Unix seconds, at this second of the monotonic clock."""

    centre: float
    monotonic: float


@dataclass(frozen=True, slots=True)
class MachineState:
    """What a machine that serves people itself tells besides."""

    supplies: Supplies | None = None
    help_wanted_s: float | None = None
    mode: Literal["open", "busy", "staff", "out"] | None = None
    failures: tuple[FailureCode, ...] = ()
    rules: str | None = None


class Heart:
    """On the event loop. Beats where there is a centre that knows this terminal's key."""

    def __init__(self, agent: Agent, centre: object, version: str) -> None:
        self._agent = agent
        self._centre = centre if isinstance(centre, TerminalCentre) and agent.settings.client_key else None
        self._version = version
        self._begun = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._failures: dict[str, None] = {}
        self._epoch: int | None = None
        self._answered = ""
        self._is_well = True
        self.machine: Callable[[], MachineState] = MachineState
        """Asked at each heartbeat."""
        self.heard: Heard | None = None
        """With the last answer; any thread may look."""

    @property
    def is_well(self) -> bool:
        """Whether the centre took the last one; also where none was sent yet."""
        return self._is_well

    def start(self) -> None:
        if self._centre is not None:
            self._tasks = [asyncio.create_task(self._beat()), asyncio.create_task(self._listen())]

    async def stop(self) -> None:
        """Tells the centre that silence is meant, if it answers at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._centre is not None and self._tasks and self._is_well:
            with suppress(TimeoutError, CentreUnreachableError, CentreRefusedError):
                beat = (await self.facts()).model_copy(update={"is_stopping": True})
                await asyncio.wait_for(self._centre.send_heartbeat(beat), FAREWELL_S)

    # -- beating ----------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        await asyncio.sleep(_RANDOM.uniform(0, min(FIRST_S, self._agent.settings.heartbeat_s)))
        while True:
            try:
                await self.beat()
            except Exception as error:  # a heart that stops is a terminal nobody hears of again
                LOG.error("the heartbeat failed: %s", error, exc_info=error)
            pause = self._agent.settings.heartbeat_s
            await asyncio.sleep(pause * _RANDOM.uniform(1 - _JITTER, 1 + _JITTER))

    async def beat(self) -> None:
        """Once: tell, and do what is answered."""
        if self._centre is None:
            return
        told = dict(self._failures)
        try:
            orders = await self._centre.send_heartbeat(await self.facts())
        except (CentreUnreachableError, CentreRefusedError) as error:
            if self._is_well:
                LOG.warning("the centre takes no heartbeat: %s", error.failure)
            self._is_well = False
            return
        self._is_well = True
        self.heard = Heard(orders.now.timestamp(), time.monotonic())
        for failure in told:
            self._failures.pop(failure, None)
        await self._obey(orders)

    async def _obey(self, orders: Orders) -> None:
        self._agent.lock.set(orders.lock)
        if self._epoch is not None and orders.configuration_epoch != self._epoch:
            self._agent.catalog.wake()
        self._epoch = orders.configuration_epoch
        if orders.diagnosis is not None and orders.diagnosis != self._answered:
            await self._send_diagnosis(orders.diagnosis)

    async def _send_diagnosis(self, order: str) -> None:
        if self._centre is None:
            return
        content = base64.b64encode(await self.bundle()).decode()
        try:
            await self._centre.send_diagnosis(DiagnosisUpload(order=order, content=content))
        except (CentreUnreachableError, CentreRefusedError) as error:
            LOG.warning("the diagnosis was not taken: %s", error.failure)
        else:
            self._answered = order

    # -- facts ------------------------------------------------------------------------------------------------------

    async def bundle(self) -> bytes:
        beat = await self.facts()
        return await asyncio.to_thread(bundle, self._agent, beat)

    async def facts(self) -> Heartbeat:
        agent, now = self._agent, datetime.now(UTC)
        last, contents = agent.catalog.last, agent.catalog.contents
        held = None if last is None else last.held
        block_list, catalog = contents.block_list, contents.catalog
        journal = await asyncio.to_thread(view_of, agent.journal)
        machine = self.machine()
        return Heartbeat(
            sent_at=now,
            version=self._version,
            api_level=API_LEVEL,
            profile=agent.settings.profile.value,
            device_number=agent.settings.device_number,
            up_s=round(time.monotonic() - self._begun, 1),
            catalog_version=None if catalog is None else catalog.version,
            catalog_age_s=None if held is None else max(0.0, held.age_s(now)),
            block_list_edition=None if block_list is None else block_list.edition,
            block_list_age_s=None if block_list is None else max(0.0, now.timestamp() - block_list.as_of),
            journal=_journal(journal, now),
            devices=tuple(
                DeviceState(kind=device.kind, port=device.port, state=device.state, failure=device.failure)
                for device in agent.device_list()[:_MOST_DEVICES]
            ),
            readers=min(64, sum(_is_here(reader) for reader in agent.registry.all())),
            failures=tuple(self._now_wrong(journal, machine.failures))[:_MOST_FAILURES],
            is_locked=agent.lock.lock is not None,
            configuration_epoch=self._epoch or 0,
            supplies=machine.supplies,
            help_wanted_s=machine.help_wanted_s,
            mode=machine.mode,
            rules=machine.rules,
        )

    def _now_wrong(self, journal: JournalView, of_machine: Iterable[FailureCode]) -> dict[str, None]:
        """Newest first, each once."""
        wrong = dict.fromkeys(reversed(self._failures))
        wrong |= dict.fromkeys(alarm.failure.value for alarm in self._agent.catalog.alarms)
        wrong |= dict.fromkeys(code.value for code in of_machine)
        if self._agent.registry.is_service_lost:
            wrong[FailureCode.READER_SERVICE_UNAVAILABLE.value] = None
        if journal.failure:
            wrong[journal.failure] = None
        return wrong

    async def _listen(self) -> None:
        """What went wrong in card sessions and with devices since the last heartbeat."""
        while True:
            async for event in self._agent.hub.subscribe():
                failure = _failure_in(event.data)
                if failure is not None:
                    self._failures.pop(failure, None)
                    self._failures[failure] = None
            await asyncio.sleep(1)


def _failure_in(data: dict[str, Any]) -> str | None:
    """A code, from the events whose `failure` is one or has one."""
    found = data.get("failure")
    code = found.get("code") if isinstance(found, dict) else found
    return code if isinstance(code, str) and code in FailureCode.__members__ else None


def _is_here(reader: Reader) -> bool:
    return not reader.is_lost


def _journal(view: JournalView, now: datetime) -> JournalState:
    kept = view.journal
    if kept is None:
        return JournalState(state=view.state)
    oldest = None if kept.oldest_at is None else max(0.0, (now - kept.oldest_at).total_seconds())
    return JournalState(state=view.state, waiting=kept.sequence - kept.acknowledged, oldest_s=oldest)
