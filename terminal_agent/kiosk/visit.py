"""One person's visit to the machine: what a flow can ask, show and wait for, and how a visit ends.

A flow is a coroutine on the event loop that reads like what the person does. The pages call `take`; everything that
lasts is a wait for `_wake`, so each check of answer, end and time is made at one place (`_until`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cardlib.failures import FailureCode, failure_of
from terminal_agent.kiosk.forms import EntryError, entries
from terminal_agent.kiosk.screens import BACK, LEAVE, Answer, Receipt, Screen
from terminal_agent.problems import AgentError

if TYPE_CHECKING:
    from apdu.serial.idcard import IdCard
    from terminal_agent.kiosk.desk import KioskDesk
    from terminal_agent.kiosk.words import Lang
    from terminal_agent.registry import Reader

T = TypeVar("T")

IDLE_S: Final = 60.0
GRACE_S: Final = 20.0
DONE_S: Final = 30.0
LARGE_TYPE_FACTOR: Final = 2
CARD_KEPT_S: Final = 60.0


class Over(StrEnum):
    """Why a visit ended before its flow did."""

    LEFT = "left"
    EXPIRED = "expired"
    CARD_GONE = "card_gone"
    LOCKED = "locked"


class VisitOver(Exception):
    """Goes through the flow, which cleans up in `finally` and lets it pass."""

    def __init__(self, over: Over) -> None:
        super().__init__(over.value)
        self.over = over


class GoTo(Exception):
    """The visit goes on with another flow; who the person is stays known."""

    def __init__(self, flow: str) -> None:
        super().__init__(flow)
        self.flow = flow


class Visit:
    """Use from the event loop. `memory` and `id_card` are wiped when the visit ends."""

    def __init__(self, desk: KioskDesk, flow: str) -> None:
        self.desk = desk
        self.flow = flow
        self.memory: dict[str, Any] = {}
        self.id_card: IdCard | None = None
        self.receipt: Receipt | None = None
        self.pictures: dict[str, tuple[bytes, str]] = {}
        """Content and media type by name, at `/kiosk/picture/<name>`."""
        self.screen = Screen(name="moment", layout="wait", acts=())
        self.number = desk.next_number()
        self.wrong_fields: tuple[str, ...] = ()
        self.entered: Mapping[str, str] = {}
        self.is_warned = False
        """The question whether somebody is there stands over the screen."""
        self.may_leave = False
        self.keeps_look = False
        """The next thing this person does is in the same language and size."""
        self._takes_acts = False
        self._answer: Answer | None = None
        self._over: Over | None = None
        self._wake = asyncio.Event()
        self._touched = desk.clock.now()
        self._slot: tuple[Reader, int] | None = None

    @property
    def lang(self) -> Lang:
        return self.desk.look.lang

    # -- what flows use ---------------------------------------------------------------------------------------------

    async def ask(self, screen: Screen) -> Answer:
        """The button pressed on `screen`, with its fields. Raises VisitOver."""
        answer = await self._until(screen, None, takes_acts=True, may_leave=True)
        assert answer is not None
        return answer

    async def tell(self, screen: Screen) -> Answer:
        """Something to read, with one button."""
        return await self.ask(replace(screen, acts=("understood",)))

    async def wait(self, screen: Screen, work: Awaitable[T], *, may_leave: bool = False) -> T:
        """What `work` gives, behind a screen that says what goes on. With `may_leave` the person may end it, and so
        may time, which cancels the work (VisitOver); otherwise it is let end whatever happens."""
        task = asyncio.ensure_future(work)
        await self._alongside(screen, task, takes_acts=False, may_leave=may_leave and not screen.is_making)
        return task.result()

    async def wait_or_act(self, screen: Screen, work: Awaitable[T]) -> T | Answer:
        """What `work` gives, or the button pressed before, which cancels the work. Raises VisitOver, but not while a
        card is being made: then only the work and its buttons end the wait."""
        task = asyncio.ensure_future(work)
        answer = await self._alongside(screen, task, takes_acts=True, may_leave=not screen.is_making)
        return task.result() if answer is None else answer

    def show(self, screen: Screen) -> None:
        """Another screen, while a wait goes on; there is all the time for it. Its buttons stay pressable while they are
        the same."""
        is_same = (screen.name, screen.acts) == (self.screen.name, self.screen.acts)
        if screen == self.screen:
            return
        self.screen = screen
        self.number = self.number if is_same else self.desk.next_number()
        self.touch()
        self.desk.changed()

    async def refuse(self, reason: BaseException | FailureCode, acts: tuple[str, ...] = (LEAVE,)) -> Answer:
        """Says what happened, what to do now and who helps."""
        code = reason if isinstance(reason, FailureCode) else failure_of(reason)
        return await self.ask(Screen(name="trouble", refusal=code, acts=acts, tone="bad"))

    async def done(self, screen: Screen, receipt: Receipt | None = None) -> None:
        """The end of a flow that went well: the card may be taken, a receipt printed."""
        self.receipt = receipt
        self.release_card()
        self._over = None  # a lock that came while the card was made leaves time for the receipt
        printed = ""
        while True:
            acts = ("finish", *(("print",) if self._can_print(printed) else ()), "more")
            shown = replace(screen, layout=screen.layout or "done", acts=acts, facts={**screen.facts, "print": printed})
            try:
                answer = await self._until(shown, None, takes_acts=True, may_leave=True, idle_s=DONE_S)
            except VisitOver:
                return
            if answer is None or answer.act != "print":
                self.keeps_look = answer is not None and answer.act == "more"
                return
            try:
                await self.wait(Screen(name="printing", layout="wait", acts=()), self.desk.print_receipt(self))
                printed = "printed"
            except AgentError as error:
                printed = failure_of(error).value

    async def card(self, screen: str = "insert_card") -> Reader:
        """The citizen's slot with a card in it, which is asked for. Until `release_card`, pulling it ends the visit.

        Raises VisitOver.
        """
        reader = self.desk.slot()
        while reader is None or not reader.has_card:
            await self.wait(
                Screen(name=screen, layout="insert_card", acts=()), self.desk.until_card(is_in=True), may_leave=True
            )
            reader = self.desk.slot()
        self._slot = reader, reader.insertions
        return reader

    def release_card(self) -> None:
        self._slot = None

    async def take_card(self) -> None:
        """Asks for the card in the slot to be taken, with a sound, until it is; a member of staff is called when
        nobody does."""
        self.release_card()
        reader = self.desk.slot()
        if reader is None or not reader.has_card:
            return
        out = asyncio.ensure_future(self.desk.until_card(is_in=False))
        reminder = asyncio.ensure_future(self.desk.call_after(CARD_KEPT_S))
        try:
            await self.wait(Screen(name="take_card", acts=(), tone="warn"), out)
        finally:
            reminder.cancel()

    # -- what pages and the desk use --------------------------------------------------------------------------------

    def take(self, act: str, fields: Mapping[str, str]) -> None:
        """A button of the present screen. One that it does not have is nothing."""
        self.touch()
        if act == LEAVE:
            if self.may_leave:
                self.end(Over.LEFT)
            return
        is_offered = act in self.screen.acts or (act == BACK and self.screen.back) or self._is_row_act(act)
        if not self._takes_acts or self._answer is not None or not is_offered:
            return
        try:
            found = {} if act == BACK or act != self.screen.acts[0] else entries(self.screen, fields)
        except EntryError as error:
            self.wrong_fields, self.entered = error.fields, dict(fields)
            self.desk.changed()
            return
        self._answer = Answer(act, found)
        self._wake.set()

    def touch(self) -> None:
        """Somebody is there."""
        self._touched = self.desk.clock.now()
        if self.is_warned:
            self.is_warned = False
            self.desk.changed()
        self._wake.set()

    def end(self, over: Over) -> None:
        """As soon as the flow can be left."""
        self._over = self._over or over
        self._wake.set()

    def stretched(self, seconds: float) -> float:
        """Who reads large type has more time."""
        return seconds * (LARGE_TYPE_FACTOR if self.desk.look.is_large else 1)

    def look_at_cards(self) -> None:
        """After a card has come or gone: the one this visit works with must be the same."""
        if self._slot is not None:
            reader, insertions = self._slot
            if not reader.has_card or reader.insertions != insertions:
                self.end(Over.CARD_GONE)

    def forget(self) -> None:
        self.memory.clear()
        self.pictures.clear()
        self.id_card = self.receipt = None
        self.entered, self.wrong_fields, self._answer, self._over = {}, (), None, None
        self.screen = Screen(name="moment", layout="wait", acts=())

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _alongside(
        self, screen: Screen, task: asyncio.Future[Any], *, takes_acts: bool, may_leave: bool
    ) -> Answer | None:
        """None when the task was first."""
        task.add_done_callback(lambda _: self._wake.set())
        try:
            return await self._until(screen, task, takes_acts=takes_acts, may_leave=may_leave)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _until(
        self,
        screen: Screen,
        task: asyncio.Future[Any] | None,
        *,
        takes_acts: bool,
        may_leave: bool,
        idle_s: float | None = None,
    ) -> Answer | None:
        """The answer, or None when `task` is done. `idle_s`: ends by itself so soon, without a question before."""
        self._begin(screen, takes_acts=takes_acts, may_leave=may_leave)
        try:
            while True:
                self._wake.clear()
                if self._answer is not None:
                    return self._answer
                if task is not None and task.done():
                    return None
                if may_leave and self._over is not None:
                    raise VisitOver(self._over)
                left_s = self._left_s(idle_s) if may_leave else None
                if left_s is not None and left_s <= 0:
                    self._time_over(is_asked=idle_s is None)
                    continue
                await self.desk.clock.wait(self._wake, left_s)
        finally:
            self._takes_acts = self.may_leave = self.is_warned = False
            self._answer = None

    def _begin(self, screen: Screen, *, takes_acts: bool, may_leave: bool) -> None:
        self.screen, self.number = screen, self.desk.next_number()
        self._takes_acts, self.may_leave = takes_acts, may_leave
        self.wrong_fields, self.entered, self._answer = (), {}, None
        self.touch()
        self.desk.changed()

    def _left_s(self, idle_s: float | None) -> float | None:
        """Until the next thing time does; None while a member of staff is at the machine."""
        if self.desk.staff.is_open:
            return None
        limit_s = (idle_s or IDLE_S * self.screen.patience) + (GRACE_S if self.is_warned else 0)
        return self._touched + self.stretched(limit_s) - self.desk.clock.now()

    def _time_over(self, *, is_asked: bool) -> None:
        if self.is_warned or not is_asked:
            self.end(Over.EXPIRED)
        else:
            self.is_warned = True
            self.desk.changed()

    def _is_row_act(self, act: str) -> bool:
        return any(row.act == act for row in self.screen.rows if row.act)

    def _can_print(self, printed: str) -> bool:
        return self.receipt is not None and printed != "printed" and self.desk.prints_receipts
