"""Making the card of one application, and finding out after a loss of power what became of it.

There is one way for both. A round asks the centre how far the application is and the machine where the card is, and
does what is left; whatever stands in the way, the round is gone again a little later. So a card whose person has left,
or whose kiosk was killed, is finished, or thrown away and written off, by the same steps.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cardlib import crash_points
from cardlib.failures import FailureCode, failure_of
from cardlib.identity import reset_information
from terminal_agent.centre import CentreRefusedError
from terminal_agent.kiosk.case import Case, CaseFile, CaseStep
from terminal_agent.kiosk.machine import CardElsewhereError, CardMachine
from terminal_agent.kiosk.progress import (
    BAD_CARD,
    PASSING,
    BadCardError,
    CardInsideError,
    KeptCards,
    NotYetError,
    Progress,
    Stage,
    StoppedError,
)
from terminal_agent.printer import PrinterNotReadyError
from terminal_agent.printer_link import CardPlace, PrinterLostError, PrinterState
from terminal_agent.problems import AgentError
from terminal_agent.relay import Job, JobState
from terminal_agent.schemas import CardSessionRequest

if TYPE_CHECKING:
    from terminal_agent.kiosk.desk import KioskDesk
    from terminal_agent.registry import Reader

LOG = logging.getLogger("terminal_agent.kiosk")

RETRY_S: Final = 3.0
LOOK_S: Final = 0.2
CONTACT_S: Final = 5.0
"""How long a card at the encoder may be without contact, or a chip silent, before it counts as dead."""
THROW_S: Final = 20.0
"""How long staff wait for it."""
MOST_SESSIONS: Final = 4
MOST_TRIES: Final = 2
WRITTEN_OFF: Final = "kiosk: the card is in the reject bin"
_DONE: Final = frozenset({"enabled", "rejected", "written_off"})


class Maker:
    """Use from the event loop. One card at a time; `progress` is of the one in work or the last one."""

    def __init__(self, desk: KioskDesk) -> None:
        self._desk = desk
        self._agent = desk.agent
        self.machine = CardMachine(desk.agent.printer)
        self._file = CaseFile(desk.folder / "case.json" if desk.folder else None)
        self._task: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._cleaner: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.progress = Progress()
        self._kept = KeptCards()

    @property
    def case(self) -> Case | None:
        return self._file.case

    @property
    def has_waiting_card(self) -> bool:
        """A finished card is inside, for whoever it belongs to."""
        return self.case is not None and self.case.step is CaseStep.MADE

    @property
    def is_working(self) -> bool:
        return self._task is not None and not self._task.done()

    def trouble(self) -> FailureCode | None:
        """Why no card can be begun now, None where one can."""
        if self.machine.failure is not None:
            return self.machine.failure
        if self._desk.encoder() is None:
            return FailureCode.READER_NOT_FOUND
        return FailureCode.KIOSK_CARD_INSIDE if self.case is not None else None

    def alerts(self) -> tuple[FailureCode, ...]:
        """What staff are to look after, though work may go on."""
        stock = self.machine.stock
        if stock is None:
            return ()
        self._kept.look(stock.bin)
        low = (FailureCode.PRINTER_RIBBON_LOW,) if stock.state is PrinterState.RIBBON_LOW else ()
        return (*low, *((FailureCode.KIOSK_CARD_KEPT,) if self._kept.count else ()))

    # -- what flows use ---------------------------------------------------------------------------------------------

    def begin(self, application_id: str) -> None:
        """The card of this application; of one that is in work already nothing is begun anew. Raises CardInsideError,
        OSError."""
        if self.case is None:
            self._file.write(Case.begin(application_id))
            crash_points.reach("kiosk.case")
        elif self.case.application_id != application_id:
            raise CardInsideError("a card of another application is inside")
        if not self.is_working and not self.has_waiting_card:
            self._start(is_alone=False)

    async def watch(self, show: Callable[[Progress], None]) -> Progress:
        """Until the card is made or will not be; `show` is told of every change."""
        while True:
            self._changed.clear()
            show(self.progress)
            if self.progress.is_over:
                return self.progress
            await self._changed.wait()

    async def give(self) -> None:
        """The finished card goes into the tray. Raises CardElsewhereError, PrinterNotReadyError, PrinterLostError."""
        case = self._expected(CaseStep.MADE, CaseStep.GIVEN)
        self._say(stage="eject")
        self._file.write(case.at(CaseStep.GIVEN))
        crash_points.reach("kiosk.given")
        await self.machine.eject(case.card_id, self._wanted)
        crash_points.reach("kiosk.ejected")

    async def until_taken(self) -> None:
        """The card has left the tray; the case is closed with it."""
        case = self._expected(CaseStep.GIVEN)
        while await self._place(case) is CardPlace.TRAY:  # noqa: ASYNC110 - the machine tells only when asked
            await asyncio.sleep(LOOK_S)
        self._file.clear()

    async def take_back(self) -> None:
        """A card forgotten in the tray is drawn in again and waits. One taken meanwhile is taken; of a machine that
        does not answer it is found out later."""
        self._expected(CaseStep.GIVEN)
        self._start(is_alone=True)
        assert self._task is not None
        await asyncio.wait({self._task}, timeout=CONTACT_S)

    async def throw_away(self) -> None:
        """Staff: whatever is inside goes into the reject bin, and is written off where it was no card yet.

        Raises NotYetError, PrinterLostError, PrinterNotReadyError, CardElsewhereError, CentreUnreachableError,
        CentreRefusedError; the case is then gone on with as after a loss of power.
        """
        await self.stop()
        case, is_over = self.case, False
        try:
            async with asyncio.timeout(THROW_S):
                await self._thrown(case)
            is_over = True
        except TimeoutError:
            raise NotYetError(self.machine.failure or FailureCode.TIMEOUT) from None
        finally:
            if self.case is not None and not is_over:
                self._start(is_alone=True)
        if case is not None:
            self._say(is_over=True, trouble=FailureCode.PRINT_FAILED)

    async def _thrown(self, case: Case | None) -> None:
        """Another's card that is in the way as well."""
        if case is not None:
            await (self._into_bin(case) if case.step is CaseStep.MADE else self._give_up(case))
        inside = (await self.machine.look()).inside
        if inside:
            await self.machine.reject(inside)

    async def resume(self) -> None:
        """At the agent's start: what was in hand is gone on with. Returns at once; it may take its time."""
        if self.case is None:
            self._cleaner = asyncio.create_task(self._clean(), name="kiosk machine")
        else:
            LOG.info("a card was in work: %s, try %d", self.case.step, self.case.tries)
            self._start(is_alone=True)

    async def stop(self) -> None:
        for task in (self._task, self._keeper, self._cleaner):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self._task = self._keeper = self._cleaner = None

    # -- rounds -----------------------------------------------------------------------------------------------------

    def _start(self, *, is_alone: bool) -> None:
        case = self.case
        self.progress = Progress(is_second=case is not None and case.tries > 1)
        self._task = asyncio.create_task(self._rounds(is_alone=is_alone), name="kiosk card")

    async def _rounds(self, *, is_alone: bool) -> None:
        while (case := self.case) is not None and not self.progress.is_over:
            try:
                await self._round(case, is_alone=is_alone)
            except BadCardError as bad:
                LOG.warning("try %d: %s", case.tries, bad.failure)
                await self._after_bad_card(case, bad.failure, is_alone=is_alone)
            except StoppedError as stopped:
                LOG.error("no card: %s", stopped.failure)
                if await self._until_done(self._clear_away, case):
                    self._over(stopped.failure)
            except Exception as error:
                await self._wait_out(error)

    async def _round(self, case: Case, *, is_alone: bool) -> None:
        if case.step is not CaseStep.MAKING:
            await self._find(case)
            return
        application = await self._application(case)
        place = await self._place(case)
        self._wanted(None)
        if application["state"] == "enabled" and application["reset_information"] == case.reset_information:
            self._made(case)
        elif application["state"] in _DONE or application["reset_information"] not in (None, case.reset_information):
            raise StoppedError(FailureCode.CARD_MISMATCH)
        elif place in (CardPlace.BIN, CardPlace.TAKEN):
            raise BadCardError(FailureCode.CARD_MUTE)
        elif place is CardPlace.NONE and is_alone:
            self._file.clear()  # nothing was begun, and nobody waits
            self._say(is_over=True)
        else:
            await self._make(case, place)
            self._made(self._expected(CaseStep.MAKING))

    async def _after_bad_card(self, case: Case, failure: FailureCode, *, is_alone: bool) -> None:
        """Another one by itself while somebody waits for it, once."""
        self._wanted(failure)
        if not await self._until_done(self._give_up, case):
            return
        if is_alone or case.tries == MOST_TRIES:
            self._over(failure)
            return
        try:
            self._file.write(Case.begin(case.application_id, case.tries + 1))
        except OSError as error:
            LOG.error("no second blank: %s", error.strerror)
            self._over(failure)
            return
        self.progress = Progress(is_second=True)
        self._changed.set()

    async def _until_done(self, step: Callable[[Case], Awaitable[None]], case: Case) -> bool:
        """False where it is over without."""
        while True:
            try:
                await step(case)
                return True
            except Exception as error:
                await self._wait_out(error)
                if self.progress.is_over:
                    return False

    async def _wait_out(self, error: Exception) -> None:
        """A while. What the centre refuses for good ends it: staff look after the case."""
        failure = failure_of(error)
        if failure is FailureCode.INTERNAL:
            LOG.error("unforeseen %s", type(error).__name__, exc_info=error)
        if isinstance(error, CentreRefusedError) and failure not in PASSING:
            self._over(failure)
            return
        self._wanted(failure)
        await asyncio.sleep(RETRY_S)

    async def _make(self, case: Case, place: CardPlace) -> None:
        empty = self._desk.encoder() if place is CardPlace.NONE else None
        before = 0 if empty is None else empty.insertions
        await self.machine.load(case.card_id, self._wanted)
        crash_points.reach("kiosk.loaded")
        reader = await self._encoder(empty, before)
        assert reader.atr is not None
        chip = reset_information(reader.atr).hex().upper()
        if case.reset_information not in (None, chip):
            raise StoppedError(FailureCode.CARD_MISMATCH)
        self._file.write(case.of_chip(chip))
        job = self._agent.jobs.start(
            CardSessionRequest(
                reader=reader.name, kind="personalization", application_id=case.application_id, with_print=True
            )
        )
        try:
            await self._follow(job)
        except asyncio.CancelledError:
            await self._agent.jobs.cancel(job.id)
            raise
        if job.state is JobState.DONE:
            crash_points.reach("kiosk.made")
            return
        failure = job.failure or FailureCode.CARD_MUTE
        if failure in BAD_CARD:
            raise BadCardError(failure)
        if failure in PASSING:
            raise NotYetError(failure)
        raise StoppedError(failure)

    async def _encoder(self, empty: Reader | None, before: int) -> Reader:
        """With a card in contact. What was `empty` had seen so many cards `before`: that the last one left may be heard
        late. Raises BadCardError.
        """
        for _ in range(round(CONTACT_S / LOOK_S)):
            reader = self._desk.encoder()
            if reader is not None and reader.atr and (reader is not empty or reader.insertions > before):
                return reader
            await asyncio.sleep(LOOK_S)
        raise BadCardError(FailureCode.CARD_MUTE)

    async def _follow(self, job: Job) -> None:
        """Until the job is over and its reader free; a chip that has gone silent is not waited for like a person."""
        silent = 0
        while any(running is job for running in self._agent.jobs.running()):
            silent = silent + 1 if job.state is JobState.AWAITING_CARD else 0
            if silent * LOOK_S > CONTACT_S or job.sessions > MOST_SESSIONS:
                await self._agent.jobs.cancel(job.id)
                return
            self._say_of(job)
            await asyncio.sleep(LOOK_S)

    def _say_of(self, job: Job) -> None:
        stage: Stage = "enable" if job.phase == "end" else job.phase
        share = min(1.0, job.step / job.steps) if job.steps and stage == "write" else 0.0
        self._say(stage=stage, share=share, text_zh=job.text_zh, text_en=job.text_en, trouble=job.wants)

    def _made(self, case: Case) -> None:
        self._file.write(case.at(CaseStep.MADE))
        self._say(is_made=True, is_over=True, trouble=None, stage="eject", share=0.0)
        self._keep()

    async def _find(self, case: Case) -> None:
        """A finished card: still inside or in the tray, and then it waits; taken; or thrown away."""
        place = await self._place(case)
        if place is CardPlace.TRAY:
            await self.machine.load(case.card_id, self._wanted)
        if place is CardPlace.TRAY or place.is_inside:
            self._made(case)
            return
        if place is CardPlace.BIN:
            self._kept.add()
        self._file.clear()
        self._say(is_over=True)

    async def _give_up(self, case: Case) -> None:
        """Into the reject bin, and written off at the centre: blank spoiled, number void, once. Of an application that
        is not this kiosk's any more a counter does the rest."""
        case = self.case or case  # with what its chip said
        await self._empty(case, await self._place(case))
        crash_points.reach("kiosk.rejected")
        try:
            await self._write_off(case)
        except CentreRefusedError as error:
            if error.failure != FailureCode.NOT_FOUND:
                raise
            LOG.error("the card of application %s is not this kiosk's any more", case.application_id)
        crash_points.reach("kiosk.written_off")
        self._file.clear()

    async def _write_off(self, case: Case) -> None:
        application = await self._application(case)
        reset = application["reset_information"]
        if reset is not None and reset == case.reset_information and application["state"] not in _DONE:
            body = {"reset_information": reset, "reason": WRITTEN_OFF}
            path = f"/v1/applications/{case.application_id}/write-off"
            await self._desk.centre.post(path, body, key=f"kiosk-{case.card_id}")

    async def _clear_away(self, case: Case) -> None:
        """Into the reject bin; there is nothing to write off, or somebody else does."""
        await self._empty(case, await self._place(case))
        self._file.clear()

    async def _empty(self, case: Case, place: CardPlace) -> None:
        if place.is_inside or place is CardPlace.TRAY:
            await self.machine.reject(case.card_id, self._wanted)

    async def _clean(self) -> None:
        """A card inside that nobody knows of is no one's to have."""
        while True:
            try:
                inside = (await self.machine.look()).inside
                if inside and self.case is None:
                    LOG.error("an unknown card is inside; it goes into the reject bin")
                    await self.machine.reject(inside)
                    self._kept.add()
            except (PrinterLostError, PrinterNotReadyError):
                await asyncio.sleep(RETRY_S)
            except AgentError as error:
                LOG.info("no card machine: %s", error)
                return
            else:
                return

    # -- a card that waits --------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep_for(), name="kiosk card kept")

    async def _keep_for(self) -> None:
        """Until it was given, or too long nobody came; then the machine is needed for others."""
        limit = timedelta(minutes=self._agent.settings.kiosk_keep_card_min)
        while (case := self.case) is not None:
            left = case.since + limit - datetime.now(UTC)
            if left <= timedelta() and self.has_waiting_card and self._desk.visit is None:
                with suppress(CardElsewhereError, PrinterNotReadyError, PrinterLostError):
                    await self._into_bin(case)
                    return
            await asyncio.sleep(max(RETRY_S, min(60.0, left.total_seconds())))

    async def _into_bin(self, case: Case) -> None:
        await self.machine.reject(case.card_id)
        LOG.warning("nobody came for the card of application %s; it is in the reject bin", case.application_id)
        self._kept.add()
        self._file.clear()

    # -- small things -------------------------------------------------------------------------------------------------

    async def _application(self, case: Case) -> dict[str, Any]:
        return await self._desk.centre.get(f"/v1/applications/{case.application_id}")

    async def _place(self, case: Case) -> CardPlace:
        return await self.machine.place(case.card_id)

    def _expected(self, *steps: CaseStep) -> Case:
        if self.case is None or self.case.step not in steps:
            raise CardElsewhereError(CardPlace.NONE)
        return self.case

    def _wanted(self, failure: FailureCode | None) -> None:
        self._say(trouble=failure)

    def _over(self, failure: FailureCode) -> None:
        self._say(is_over=True, trouble=failure)

    def _say(self, **changes: Any) -> None:
        found = replace(self.progress, **changes)
        if found != self.progress:
            self.progress = found
            self._changed.set()
