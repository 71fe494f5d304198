"""The journal as the rest of the agent sees it: what must be written down before and after, and how it stands.

Without a state folder or without a centre nothing is written: there is nobody to tell.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
import threading
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, Literal

from pydantic import ValidationError

from cardlib.terminal_records import CardUse, DeviceAlarm, IssueResult, Payload
from terminal_agent.centre import RecordCentre
from terminal_agent.hub import RESYNC, Event, EventHub
from terminal_agent.journal.forwarder import FIRST_PAUSE_S, Forwarder
from terminal_agent.journal.store import JournalFullError, Limits, RecordJournal
from terminal_agent.settings import AgentSettings

Act = Literal["read", "write", "pin", "sign", "log_in"]
_DEVICES: Final[dict[str, Literal["lost", "attention", "ready"]]] = {
    "device_lost": "lost",
    "device_attention": "attention",
    "device_ready": "ready",
}
_ISSUE: Final = "session_done"
REOPEN_S: Final = 60.0
"""At most between two tries to open the journal; a card that is read tries by itself."""
ALARM_SHARE: Final = 0.5
"""Of the limit: above it a device that comes and goes takes no room from cards and money."""
_CODE: Final = re.compile(r"[0-9A-F]{32}")
_NUMBER: Final = re.compile(r"[0-9A-Z]{1,16}")
LOG = logging.getLogger("terminal_agent.journal")


class JournalDesk:
    """`admit`, `write` and `used` may be called on any thread; the rest belongs to the event loop."""

    def __init__(self, settings: AgentSettings, hub: EventHub, centre: object = None) -> None:
        self._folder = settings.state_dir
        self._centre = centre if isinstance(centre, RecordCentre) else None
        self._limits = Limits(
            rows=settings.journal_rows,
            bytes=settings.journal_rows * 640,
            age=timedelta(hours=settings.journal_age_h),
            keep=timedelta(days=settings.journal_keep_days),
        )
        self._hub = hub
        self._lock = threading.Lock()
        self._opened: RecordJournal | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.forwarder: Forwarder | None = None

    @property
    def is_kept(self) -> bool:
        return self._folder is not None and self._centre is not None

    @property
    def client_id(self) -> str | None:
        """What the centre knows this terminal as."""
        return None if self._centre is None else self._centre.client_id

    def journal(self) -> RecordJournal | None:
        """None where nothing is kept. Raises JournalFullError while it cannot be opened."""
        if self._folder is None or self._centre is None:
            return None
        with self._lock:
            if self._opened is None:
                try:
                    self._opened = RecordJournal(self._folder, self._limits, client=self._centre.client_id)
                except (OSError, sqlite3.Error) as error:
                    raise JournalFullError(f"the journal cannot be opened: {error}") from error
            return self._opened

    def admit(self, *, is_money: bool = False) -> None:
        """Before what has to be written down afterwards. Raises JournalFullError."""
        if (journal := self.journal()) is not None:
            journal.admit(is_money=is_money)

    def write(self, payload: Payload, *, key: str | None = None) -> None:
        """On disk when it returns. Raises JournalFullError."""
        if (journal := self.journal()) is not None:
            journal.append(payload, key=key)

    def used(self, act: Act, identification_code: str, card_number: str) -> None:
        """A card was used; a number that no card of the field has is left out. Raises JournalFullError."""
        if self.is_kept:
            self.write(
                CardUse(
                    act=act,
                    identification_code=identification_code if _CODE.fullmatch(identification_code) else "",
                    card_number=card_number if _NUMBER.fullmatch(card_number) else "",
                )
            )

    # -- on the event loop --------------------------------------------------------------------------------------

    def start(self) -> None:
        if self.is_kept:
            self._tasks = [
                asyncio.create_task(self._follow(), name="journal of events"),
                asyncio.create_task(self._forward(), name="journal"),
            ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.forwarder is not None:
            await self.forwarder.stop()
        if self._opened is not None:
            await asyncio.to_thread(self._opened.close)

    async def _forward(self) -> None:
        pause = FIRST_PAUSE_S
        while self._centre is not None and self.forwarder is None:
            try:
                journal = await asyncio.to_thread(self.journal)
            except JournalFullError as error:
                LOG.error("%s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, REOPEN_S)
                continue
            if journal is None:
                return
            self.forwarder = Forwarder(journal, self._centre, self._hub)
            self.forwarder.start()

    async def _follow(self) -> None:
        """Devices and card sessions tell of themselves by events; one that is cut off goes on where it was."""
        last_id: str | None = None
        while True:
            async for event in self._hub.subscribe(last_id):
                last_id = event.id
                if event.name == RESYNC:
                    LOG.error("events were missed: device alarms and issue results may be missing in the journal")
                with suppress(JournalFullError):
                    await asyncio.to_thread(self._note, event)
            await asyncio.sleep(1)

    def _note(self, event: Event) -> None:
        try:
            payload = _payload_of(event.name, event.data)
        except ValidationError as error:
            LOG.error("%s is not journalled: %d fields are not as they should be", event.name, error.error_count())
            return
        journal = self.journal()
        if payload is None or journal is None:
            return
        if isinstance(payload, DeviceAlarm) and journal.standing().waiting > self._limits.rows * ALARM_SHARE:
            LOG.warning("%s %s is not journalled: too many records wait", payload.device, payload.state)
            return
        self.write(payload)


def _payload_of(name: str, data: dict[str, Any]) -> Payload | None:
    if name in _DEVICES:
        return DeviceAlarm(device=data["kind"], port=data["port"], state=_DEVICES[name], failure=data["failure"])
    if name == _ISSUE:
        failure = data["failure"]
        return IssueResult(
            job=data["job_id"],
            session_kind=data["kind"],
            state=data["state"],
            sessions=data["sessions"],
            failure=failure["code"] if failure else None,
        )
    return None
