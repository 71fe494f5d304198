"""Brings the journal's records to the centre, in their order, until it has them; and says how that stands."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from cardlib.failures import FailureCode
from cardlib.terminal_records import RecordBatch, RecordsTaken, SentRecord, head_text
from terminal_agent.centre import CentreRefusedError, CentreUnreachableError, RecordCentre
from terminal_agent.hub import EventHub
from terminal_agent.journal.store import JournalFullError, RecordJournal, boot_id, up_ms
from terminal_agent.waiting import until_set

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 300.0
LINGER_S: Final = 0.2
"""Records of the same moment travel together."""
TRIM_S: Final = 3600.0
JOURNAL_ALARM: Final = "journal_alarm"
FORKED: Final = "JOURNAL_FORKED"
LOG = logging.getLogger("terminal_agent.journal")


@dataclass(frozen=True, slots=True)
class Sending:
    """`attempts` without success since the last one; `failure` says why the last did not succeed."""

    told_at: datetime | None = None
    next_try_at: datetime | None = None
    attempts: int = 0
    failure: FailureCode | None = None
    detail: str = ""


class Forwarder:
    """Lives on the event loop; the journal is asked on other threads. `draw` gives 0 to 1 for the jitter."""

    def __init__(
        self,
        journal: RecordJournal,
        centre: RecordCentre,
        hub: EventHub,
        *,
        first_pause_s: float = FIRST_PAUSE_S,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._journal = journal
        self._centre = centre
        self._hub = hub
        self._first_pause_s = first_pause_s
        self._draw = draw
        self._news = asyncio.Event()
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.state = Sending()

    def start(self) -> None:
        loop = asyncio.get_running_loop()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop has ended; the record is on disk
                loop.call_soon_threadsafe(self._news.set)

        self._journal.on_append = tell
        self._task = asyncio.create_task(self._run(), name="journal")

    async def stop(self) -> None:
        """A batch that is on its way is broken off; it is sent again at the next start."""
        self._over.set()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while not self._over.is_set():
            self._news.clear()
            try:
                await self._send_all()
            except (CentreUnreachableError, CentreRefusedError) as error:
                await self._pause(error.failure, str(error))
            except (sqlite3.Error, JournalFullError) as error:
                await self._pause("JOURNAL_FULL", str(error))
            except Exception as error:
                LOG.error("records not sent: unforeseen %s", type(error).__name__, exc_info=error)
                await self._pause("INTERNAL", "")
            else:
                await until_set(self._news, TRIM_S)
                await until_set(self._over, LINGER_S)

    async def _send_all(self) -> None:
        await asyncio.to_thread(self._journal.trim)
        while records := await asyncio.to_thread(self._journal.batch):
            batch = await asyncio.to_thread(signed_batch, self._journal, records, self._centre.sign)
            try:
                taken = await self._centre.send_records(batch)
            except CentreRefusedError as error:
                if error.failure == FORKED:
                    await self._renew(error.failure)
                raise
            await self._note(batch, taken)

    async def _note(self, batch: RecordBatch, taken: RecordsTaken) -> None:
        if taken.journal_id != batch.journal_id:
            raise CentreRefusedError("INTERNAL", "the answer is about another journal")
        try:
            told = partial(self._journal.acknowledge, journal_id=taken.journal_id)
            await asyncio.to_thread(told, taken.acknowledged, taken.refused)
        except ValueError as error:
            LOG.error("the centre lost records that are kept here no longer: %s", error)
            await self._renew(FORKED)
            raise CentreRefusedError(FORKED, "the centre lost records") from error
        for refusal in {refusal.failure: refusal for refusal in reversed(taken.refused)}.values():
            LOG.error("the centre cannot use record %d: %s (%s)", refusal.sequence, refusal.failure, refusal.detail)
            self._alarm(refusal.failure, f"{len(taken.refused)}: {refusal.detail}")
        self.state = Sending(told_at=datetime.now(UTC))
        if taken.acknowledged < batch.records[-1].sequence:  # goes on from there, but not in a tight circle
            raise CentreRefusedError("CONFLICT", f"the centre has records up to {taken.acknowledged} only")

    async def _renew(self, reason: str) -> None:
        await asyncio.to_thread(self._journal.renew, reason)
        self._alarm(reason, "")

    async def _pause(self, failure: str, detail: str) -> None:
        """Twice as long each time, with full jitter; news does not shorten it."""
        attempts = self.state.attempts + 1
        longest = min(self._first_pause_s * 2 ** min(attempts - 1, 16), LONGEST_PAUSE_S)
        pause = self._first_pause_s / 2 + self._draw() * (longest - self._first_pause_s / 2)
        self.state = replace(
            self.state,
            attempts=attempts,
            next_try_at=datetime.now(UTC) + timedelta(seconds=pause),
            failure=FailureCode(failure),
            detail=detail[:200],
        )
        LOG.info("records not sent: %s (%s); again in %.1f s", failure, detail, pause)
        await until_set(self._over, pause)

    def _alarm(self, failure: str, detail: str) -> None:
        self._hub.publish(JOURNAL_ALARM, {"failure": failure, "detail": detail})


def signed_batch(journal: RecordJournal, records: list[SentRecord], sign: Callable[[bytes], bytes]) -> RecordBatch:
    standing, last = journal.standing(), records[-1]
    return RecordBatch(
        journal_id=standing.journal_id,
        follows=standing.follows,
        reason=standing.reason,
        carried=standing.carried,
        sent_at=datetime.now(UTC),
        boot=boot_id(),
        up_ms=up_ms(),
        told=standing.sequence,
        records=tuple(records),
        signature=sign(head_text(standing.journal_id, last.sequence, bytes.fromhex(last.hash))).hex(),
    )
