"""The gate as a part of the agent: readers, PSAM, scanner, journal and display, from start to stop.

On the event loop; taps run on the threads of their readers, codes on a thread of their own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from apdu.errors import ApduError
from cardlib.failures import FailureCode
from cardlib.transit_code_uses import FileUses, UsesUnavailableError
from cardlib.transit_gate import TransitGate
from cardlib.transit_gate_record import tap_record
from cardlib.transit_gate_result import Reason, TapRecord, TapResult
from cardlib.transit_journal import JournalError, TransitJournal
from cardlib.transit_rules import TransitRulesError
from terminal_agent.devices import QR_REFUSED, QR_SCANNED
from terminal_agent.heartbeat import MachineState
from terminal_agent.hub import Event
from terminal_agent.journal.store import JournalFullError
from terminal_agent.problems import AgentError
from terminal_agent.registry import Holder, Reader
from terminal_agent.transit.books import Books
from terminal_agent.transit.clock import AgreedClock
from terminal_agent.transit.codes import CodeGate
from terminal_agent.transit.decision import Decision, because, broken_off
from terminal_agent.transit.psam import OWNER, GatePsam
from terminal_agent.transit.published import Published
from terminal_agent.transit.rules import RuleBook
from terminal_agent.transit.screen import Picture, Screen, Sign
from terminal_agent.transit.tapping import Tapper
from terminal_agent.transit.words import both
from terminal_agent.waiting import until_set

if TYPE_CHECKING:
    from terminal_agent.agent import Agent

TAP_S: Final = 10.0
TRIES: Final = 3
AGAIN_S: Final = 0.3
WAS_THERE_S: Final = 1.0
"""A card seen so soon after its reader may have lain there before this program began."""
TICK_S: Final = 5.0
START_S: Final = 15.0
"""So long PSAM and readers may take to come before nobody waits for them."""
FOLDER: Final = "transit"
JOURNAL, USED = "taps.jsonl", "codes.sqlite"
_FAILURES: Final = {Reason.PSAM: FailureCode.PSAM_ABSENT, Reason.JOURNAL: FailureCode.JOURNAL_FULL}
LOG = logging.getLogger("terminal_agent.transit")


class GateDesk:
    """Raises TransitRulesError at once for rules that cannot be read or will never come: a gate without is none."""

    def __init__(self, agent: Agent, rules_file: Path, state_dir: Path) -> None:
        self._agent = agent
        self._folder = state_dir / FOLDER
        self.clock = AgreedClock(agent.heart)
        self.book = RuleBook(rules_file, self._folder, self.clock.for_gate())
        if self.book.are_missing and agent.settings.catalog_url is None:
            raise TransitRulesError(f"{rules_file.name}: the rules of {self.book.network} need catalog_url")
        self.rules, self._lacks_rules = self.book.rules, self.book.are_missing
        self.published = Published(agent.catalog)
        self.books = Books(agent.journal, time.time, self._folder)
        self.psam = GatePsam(agent.registry)
        self.screen = Screen(_STARTING)
        self._starts_until = time.monotonic() + START_S
        self._is_starting = True
        self.tapper: Tapper | None = None
        self._codes: CodeGate | None = None
        self._is_admitted = False
        self._stated_at = time.monotonic()
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        agent.heart.machine = self._machine
        self._begun: dict[str, int] = {}
        """By reader, the card that was given its turn, as the reader counts them."""
        self._is_retry = False
        self._trouble = ""
        self._is_news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        events = self._agent.hub.subscribe()
        await self.published.refresh()
        await self._open_journals()
        self._look_at_readers()
        for work in (self._follow(events), self.psam.keep(), self._follow_psam(), self._tick()):
            self._begin(work)
        if self._agent.settings.transit_display:
            from terminal_agent.transit.panel import show

            self._begin(show(self.screen, self.rules.place.name_zh))
        self._settle()

    async def stop(self) -> None:
        self.screen.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(JournalFullError):
            await asyncio.to_thread(self.state_takings)
        if self._codes is not None:
            self._codes.close()

    # -- cards ------------------------------------------------------------------------------------------------------

    async def _follow(self, events: AsyncIterator[Event]) -> None:
        """Readers and scanner tell of themselves by events; one that is cut off looks anew."""
        while True:
            async for event in events:
                self._apply(event)
            await asyncio.sleep(0.1)
            events = self._agent.hub.subscribe()
            self._look_at_readers()

    def _apply(self, event: Event) -> None:
        if event.name == QR_SCANNED:
            self._begin(self._ride(event.data["text"]))
        elif event.name == QR_REFUSED:
            self._show(Decision(Sign.AGAIN, Reason.CODE.name, both("unreadable_code")))
        elif event.name == "catalog_updated":
            self._begin(self.published.refresh())
            self._is_news.set()
        elif event.name in ("card_inserted", "reader_added"):
            self._look_at_readers()
        self._settle()

    def _look_at_readers(self) -> None:
        """The gate has every reader for itself; a card that is there and had no tap yet is served."""
        for reader in self._agent.registry.card_readers():
            reader.holder = reader.holder or Holder(OWNER, kind="session")
            if not self._is_starting and reader.has_card and self._begun.get(reader.name) != reader.insertions:
                self._begun[reader.name] = reader.insertions
                self._begin(self._serve(reader, reader.insertions))

    async def _serve(self, reader: Reader, insertion: int) -> None:
        """One card, once. It is tried again only while nothing came of it and it has not left: what was paid is
        decided, however long the card stays."""
        async with self._turn:
            for attempt in range(TRIES):
                if not reader.has_card or reader.insertions != insertion:
                    return
                self._is_retry = attempt > 0
                decision = await self._tap(reader)
                if decision.sign is not Sign.AGAIN:
                    return
                await asyncio.sleep(AGAIN_S)

    async def _tap(self, reader: Reader) -> Decision:
        sam, closed = self.psam.sam, self.closed
        if closed is not None or sam is None or self.tapper is None:
            self._begun.pop(reader.name, None)
            return self._refuse(because(closed or Reason.PSAM, Sign.STAFF))
        try:
            async with self._agent.registry.hold(reader, TAP_S) as held:
                # A card that came with its reader may have been served before program or reader were lost.
                was_there = not self._is_retry and reader.seen_at - reader.added_at < WAS_THERE_S
                call = partial(self.tapper.tap, held.connection, sam, reader.seen_at, was_there=was_there)
                result = await held.worker.call(call, TAP_S)
        except (ApduError, AgentError) as error:
            LOG.info("%s: no tap: %s", reader.name, error)
            return self._refuse(broken_off(error))
        if result.reason is Reason.PSAM:
            self.psam.lose()
        if self.tapper.is_stuck:
            self._is_admitted = False
        decision = Decision.of(result)
        if decision.sign is not Sign.PASS and result.reason is not Reason.RETAP:
            self._count(decision)
        return decision

    def _told(self, result: TapResult, ms: float) -> None:
        """On the thread of the tap."""
        LOG.info("tap: %s, %.0f ms", result.reason.name, ms)
        loop = self._loop
        if loop is not None and not loop.is_closed():
            show = self._show_again if result.reason is Reason.RETAP else self._show
            loop.call_soon_threadsafe(show, Decision.of(result))

    # -- codes ------------------------------------------------------------------------------------------------------

    async def _ride(self, text: str) -> None:
        if self._codes is None or self._closed_for_all() is not None:
            decision = because(self._closed_for_all() or Reason.JOURNAL, Sign.STAFF)
        else:
            try:
                decision = await asyncio.to_thread(self._codes.ride, text)
            except UsesUnavailableError:
                decision = because(Reason.JOURNAL, Sign.STAFF)
        LOG.info("code: %s", decision.reason)
        self._is_retry = False
        if decision.sign is Sign.PASS:
            self._show(decision)
        else:
            self._refuse(decision)

    # -- what is shown ------------------------------------------------------------------------------------------------

    def _show(self, decision: Decision) -> None:
        if self._is_in_vain(decision):
            return
        self.screen.show(decision.picture)

    def _show_again(self, decision: Decision) -> None:
        """Of a card that had its answer a moment ago, which may still stand there."""
        if self.screen.is_resting:
            self._show(decision)

    def _refuse(self, decision: Decision) -> Decision:
        self._count(decision)
        self._show(decision)
        return decision

    def _count(self, decision: Decision) -> None:
        if not self._is_in_vain(decision):
            self.books.refuse(decision.reason)

    def _is_in_vain(self, decision: Decision) -> bool:
        """Another try with the same card that came to nothing either is no news."""
        return self._is_retry and decision.sign is Sign.AGAIN

    @property
    def closed(self) -> Reason | None:
        """Why no card is taken now."""
        closed = self._closed_for_all()
        if closed is not None:
            return closed
        if self.psam.sam is None:
            return Reason.PSAM
        if not any(not reader.is_lost for reader in self._agent.registry.card_readers()):
            return Reason.CLOSED
        return None

    def _closed_for_all(self) -> Reason | None:
        if self._agent.lock.lock is not None:
            return Reason.CLOSED
        if self.tapper is None or not self._is_admitted or self.tapper.is_stuck:
            return Reason.JOURNAL
        return None if self.rules.holds(self.clock.now().date()) else Reason.RULES

    @property
    def takes_codes(self) -> bool:
        return self.rules.policy.code_fare_fen is not None and self._agent.settings.scanner is not None

    def _settle(self) -> None:
        """What is shown while nobody is served."""
        closed = self.closed
        if self._is_starting and (closed is None or time.monotonic() > self._starts_until):
            self._is_starting = False
            self._look_at_readers()
        if closed is None:
            self.screen.rest(_open_picture("idle_text" if self.takes_codes else "cards_text"))
        elif self.takes_codes and self._closed_for_all() is None:
            self.screen.rest(Picture(Sign.IDLE, both("codes_title"), both("codes_text")))
        elif self._is_starting and self._closed_for_all() is None:
            self.screen.rest(_STARTING)
        else:
            self.screen.rest(_closed_picture(closed))

    def _machine(self) -> MachineState:
        """For the heartbeat."""
        closed = self.closed
        failures = [_FAILURES[closed]] if closed in _FAILURES else []
        if self.book.are_refused or closed is Reason.RULES:
            failures.append(FailureCode.TRANSIT_RULES_INVALID)
        rules = None if self._lacks_rules else self.rules.version
        return MachineState(mode="open" if closed is None else "out", failures=tuple(failures), rules=rules)

    # -- now and then -------------------------------------------------------------------------------------------------

    async def _follow_psam(self) -> None:
        while True:
            await self.psam.changed.wait()
            self.psam.changed.clear()
            self._settle()
            if self.psam.sam is not None:
                self._look_at_readers()

    async def _tick(self) -> None:
        while True:
            try:
                if self.tapper is None:
                    await self._open_journals()
                else:
                    await asyncio.to_thread(self.tapper.look_after)
                    await self._admit()
                    await self._state_when_due()
                await self._renew_rules()
            except Exception as error:
                LOG.error("looking after the gate failed: %s", error, exc_info=error)
            self._settle()
            await until_set(self._is_news, self.book.wait_s(TICK_S))
            self._is_news.clear()

    async def _open_journals(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await asyncio.to_thread(self._open)
        except (JournalError, JournalFullError, UsesUnavailableError, OSError) as error:
            if str(error) != self._trouble:
                LOG.error("the gate's journal cannot be used: %s", error)
            self._trouble = str(error)

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.books.open()
        journal = TransitJournal(self._folder / JOURNAL)
        self.books.recover(_handed_on(self._folder / JOURNAL))
        gate = TransitGate(
            self.rules,
            journal,
            is_blocked=self.published.is_blocked,
            in_force=self.published.in_force,
            clock=self.clock.for_gate(),
            names_purses=self.published.names_purses,
        )
        used = FileUses(self._folder / USED)
        self._codes = CodeGate(self.rules, self.published, used, self.books, time.time)
        tapper = Tapper(gate, self.books, self._told)
        tapper.deliver_again()
        self._agent.journal.admit(is_money=True)
        self.tapper, self._is_admitted = tapper, True

    async def _admit(self) -> None:
        try:
            await asyncio.to_thread(self._agent.journal.admit, is_money=True)
            self._is_admitted = True
        except JournalFullError as error:
            if self._is_admitted:
                LOG.error("no taps: %s", error)
            self._is_admitted = False

    async def _state_when_due(self) -> None:
        if time.monotonic() - self._stated_at >= self._agent.settings.transit_statement_s:
            await asyncio.to_thread(self.state_takings)

    def state_takings(self) -> None:
        """Write down the sums of the day for the centre. Raises JournalFullError."""
        self._stated_at = time.monotonic()
        if self.psam.number:
            self.books.state(self.psam.number)

    async def _renew_rules(self) -> None:
        if not await asyncio.to_thread(self.book.renew, self._agent.catalog.contents.transit_rules):
            return
        rules = self.book.rules
        if self.tapper is not None:
            await asyncio.to_thread(self.tapper.replace, rules)
        if self._codes is not None:
            self._codes.rules = rules
        self.rules, self._lacks_rules = rules, self.book.are_missing
        LOG.info("rules %s are in force", rules.version)

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOG.error("unforeseen %s", type(error).__name__, exc_info=error)


_STARTING: Final = Picture(Sign.OUT, both("starting_title"), both("starting_text"))


def _handed_on(file: Path) -> list[TapRecord]:
    """Raises JournalError. What another version of this program noted stops nobody: it was handed on once."""
    found = []
    for settled in TransitJournal.delivered_in(file):
        with suppress(KeyError, ValueError, TypeError, AttributeError):
            found.append(tap_record(settled))
    return found


def _open_picture(text: str) -> Picture:
    return Picture(Sign.IDLE, both("idle_title"), both(text))


def _closed_picture(reason: Reason) -> Picture:
    return Picture(Sign.OUT, both("out_title"), both("out_text"), note=both("code_note", code=reason.name))
