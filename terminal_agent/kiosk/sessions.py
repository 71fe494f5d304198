"""A card session with the centre on the citizen's card, as a screen that tells its steps."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cardlib.driver_session import EnteredPin
from cardlib.failures import FailureCode
from terminal_agent.kiosk.screens import Screen
from terminal_agent.relay import Job, JobState
from terminal_agent.schemas import CardSessionRequest

if TYPE_CHECKING:
    from cardlib.wire import SessionKind
    from terminal_agent.kiosk.visit import Visit
    from terminal_agent.registry import Reader

LOOK_S: Final = 0.1


class SessionFailedError(Exception):
    """A session that did not end well; `failure` is why."""

    def __init__(self, failure: FailureCode) -> None:
        super().__init__(failure.value)
        self.failure = failure


async def card_session(
    visit: Visit, reader: Reader, kind: SessionKind, centre_visit: str, screen: str, pin: EnteredPin | None = None
) -> None:
    """Nobody may leave before its end; a card that is pulled is asked for again. `pin` is the new one of a reset.

    Raises SessionFailedError, ReaderBusyError, CardAbsentError, NoCentreError.
    """
    visit.release_card()
    request = CardSessionRequest(reader=reader.name, kind=kind, with_print=False)
    ask_pin = None if pin is None else lambda _: pin
    job = visit.desk.agent.jobs.start(request, visit=centre_visit, ask_pin=ask_pin)
    at_work = Screen(name=screen, layout="wait", acts=(), is_making=True)
    await visit.wait(at_work, _ended(visit, job, at_work))
    if job.state is not JobState.DONE:
        raise SessionFailedError(job.failure or FailureCode.INTERNAL)


async def _ended(visit: Visit, job: Job, at_work: Screen) -> None:
    pulled = replace(at_work, name="put_back", layout="insert_card", tone="warn")
    while job.finished_at is None:
        visit.show(pulled if job.state is JobState.AWAITING_CARD else at_work)
        await asyncio.sleep(LOOK_S)
