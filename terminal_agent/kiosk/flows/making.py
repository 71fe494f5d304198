"""What every flow does that ends with a new card: the fee, making it before the person's eyes, and giving it out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cardlib.failures import FailureCode, failure_of
from cardlib.money import yuan
from terminal_agent.kiosk.holders import ToldError
from terminal_agent.kiosk.progress import STAGES, Progress
from terminal_agent.kiosk.screens import Answer, Receipt, Screen, Stage
from terminal_agent.problems import AgentError

if TYPE_CHECKING:
    from terminal_agent.kiosk.visit import Visit

TAKE_S: Final = 90.0
"""A new card lies so long in the tray before it is drawn in again."""
TROUBLE_S: Final = 600.0
"""So long the screen waits for somebody to mend the machine; the card is gone on with afterwards too."""
FEE_LOOK_S: Final = 2.0
BLINK_S: Final = 5.0
"""A want that is over so soon, such as a short break of the line, is only said beside the stage."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A card that is to be made: what is shown of it is masked. `done` names the last screen and the receipt."""

    application_id: str
    receipt_number: str
    done: str
    steps: tuple[str, ...]
    name: str = ""
    number: str = ""
    rows: tuple[tuple[str, str], ...] = field(default=())

    def receipt(self, title: str, next_step: str) -> Receipt:
        named = (("name", self.name), ("number", self.number)) if self.name else ()
        return Receipt(title, (*named, *self.rows), grouped(self.receipt_number), next_step)


def grouped(receipt_number: str) -> str:
    """As it is printed: four digits apart."""
    return " ".join(receipt_number[start : start + 4] for start in range(0, len(receipt_number), 4))


async def agree_to_fee(visit: Visit, fee_fen: int, steps: tuple[str, ...], step: int) -> None:
    """Says what it costs before anything is asked for. Raises VisitOver, and ToldError where that is too much."""
    if not fee_fen:
        return
    screen = Screen(
        name="fee",
        acts=("agree", "refuse"),
        values={"yuan": yuan(fee_fen)},
        icons={"agree": "check"},
        steps=steps,
        step=step,
    )
    if (await visit.ask(screen)).act == "refuse":
        raise ToldError


async def until_paid(visit: Visit, wanted: Wanted, fee_fen: int) -> None:
    """Returns when the centre has heard of the payment. Raises VisitOver, CentreRefusedError."""

    async def paid() -> None:
        path = f"/v1/applications/{wanted.application_id}"
        while not _is_paid(await visit.desk.centre.get(path)):  # noqa: ASYNC110 - the centre tells only when asked
            await asyncio.sleep(FEE_LOOK_S)

    if fee_fen:
        values = {"yuan": yuan(fee_fen), "receipt_number": grouped(wanted.receipt_number)}
        await visit.wait(
            Screen(name="fee_wait", layout="wait", acts=(), values=values, patience=3), paid(), may_leave=True
        )


def _is_paid(application: dict[str, Any]) -> bool:
    last = [step for step in application["steps"] if step["step"] == "payment"][-1:]
    return not last or last[0]["status"] in ("done", "skipped")


async def make(visit: Visit, wanted: Wanted) -> None:
    """Makes the card, gives it out and ends the visit with a receipt; says so where it has to be fetched later."""
    maker = visit.desk.maker
    maker.begin(wanted.application_id)
    progress = await _watched(visit, wanted)
    if not progress.is_over:
        await visit.done(Screen(name="making_later", tone="warn"), wanted.receipt("making_later", "making_later_next"))
    elif not progress.is_made:
        await _failed(visit, wanted, progress.trouble or FailureCode.INTERNAL)
    else:
        await give(visit, wanted)


async def _watched(visit: Visit, wanted: Wanted) -> Progress:
    """How the making ended; not over where it goes on without the person."""
    maker = visit.desk.maker
    while True:
        screen = stages_screen(maker.progress, wanted)
        watching = _until_troubled(visit, wanted)
        progress = await visit.wait(screen, watching)
        if progress.is_over:
            return progress
        answer = await visit.wait_or_act(trouble_screen(progress), _until_mended(visit))
        if answer is None or isinstance(answer, Answer):
            return maker.progress


async def _until_troubled(visit: Visit, wanted: Wanted) -> Progress:
    """Shows every stage; returns at the end, or when a want lasts."""
    maker = visit.desk.maker
    while True:
        watching = asyncio.ensure_future(maker.watch(lambda found: visit.show(stages_screen(found, wanted))))
        try:
            async with asyncio.timeout(BLINK_S):
                return await watching
        except TimeoutError:
            if maker.progress.trouble is not None:
                return maker.progress


async def _until_mended(visit: Visit) -> bool | None:
    """True once it goes on, None when nobody has come in time."""
    maker, loop = visit.desk.maker, asyncio.get_running_loop()
    until = loop.time() + TROUBLE_S
    shown = maker.progress.trouble
    while maker.progress.trouble is not None and not maker.progress.is_over:
        if loop.time() > until:
            return None
        if maker.progress.trouble is not shown:
            shown = maker.progress.trouble
            visit.show(trouble_screen(maker.progress))
        await asyncio.sleep(0.2)
    return True


async def _failed(visit: Visit, wanted: Wanted, failure: FailureCode) -> None:
    """No card: what happened, what was done with it, and that the application stays open."""
    screen = Screen(name="making_failed", refusal=failure, tone="bad")
    await visit.done(screen, wanted.receipt("making_failed", "making_failed_next"))


async def give(visit: Visit, wanted: Wanted) -> None:
    """The finished card into the person's hand; one that is left in the tray is drawn in and waits."""
    maker = visit.desk.maker
    try:
        await visit.wait(stages_screen(maker.progress, wanted), maker.give())
    except Exception as error:
        screen = Screen(name="making_later", tone="warn", refusal=failure_of(error))
        await visit.done(screen, wanted.receipt("making_later", "making_later_next"))
        return
    try:
        async with asyncio.timeout(TAKE_S):
            await visit.wait(Screen(name="take_new_card", acts=(), tone="warn", is_making=True), maker.until_taken())
    except (TimeoutError, AgentError):
        await maker.take_back()
    if maker.case is not None:
        await visit.done(Screen(name="making_kept", tone="warn"), wanted.receipt("making_later", "making_later_next"))
        return
    await visit.done(
        Screen(name=wanted.done, tone="ok", steps=wanted.steps, step=len(wanted.steps) + 1),
        wanted.receipt(wanted.done, f"{wanted.done}_next"),
    )


def stages_screen(progress: Progress, wanted: Wanted) -> Screen:
    """The stages as they stand, with what is waited for beside the present one."""
    at = STAGES.index(progress.stage)
    note = progress.trouble
    return Screen(
        name="making",
        acts=(),
        is_making=True,
        stages=tuple(
            Stage(stage, "done" if place < at else "now" if place == at else "next")
            for place, stage in enumerate(STAGES)
        ),
        facts={
            "stage": progress.stage,
            "share": round(100 * (at + progress.share) / len(STAGES)),
            "wants": note,
            "is_second": progress.is_second,
            "name": wanted.name,
            "number": wanted.number,
        },
        values={"receipt_number": grouped(wanted.receipt_number)},
        steps=wanted.steps,
        step=len(wanted.steps) - 1,
        tone="info",
    )


def trouble_screen(progress: Progress) -> Screen:
    """What happened, what the machine does, and what the person can do meanwhile."""
    is_line = progress.trouble in (FailureCode.SERVICE_UNREACHABLE, FailureCode.TIMEOUT)
    return Screen(
        name="making_trouble_line" if is_line else "making_trouble",
        layout="making_trouble",
        acts=("later",),
        icons={"later": "file"},
        refusal=progress.trouble,
        is_making=True,
        tone="warn",
    )
