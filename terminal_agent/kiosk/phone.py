"""Logging in at the kiosk with the phone: a code on the screen, a number to match, the word of the centre."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cardlib.failures import FailureCode
from terminal_agent.kiosk.screens import Screen
from terminal_agent.kiosk.views import HolderView, LogInStage, LogInView

if TYPE_CHECKING:
    from terminal_agent.kiosk.visit import Visit

BEGIN: Final = "/v1/self-service/log-ins"
LOOK: Final = "/v1/self-service/log-ins/look"
LOOK_S: Final = 1.0
CODES: Final = 5
"""So many codes are shown one after the other before the person is asked whether to go on."""
_FAILURES: Final = {
    "refused": FailureCode.LOGIN_DENIED,
    "cancelled": FailureCode.LOGIN_DENIED,
    "wrong_number": FailureCode.LOGIN_NUMBER_WRONG,
}


class PhoneRefusedError(Exception):
    """No log-in came of it; `failure` is why."""

    def __init__(self, failure: FailureCode) -> None:
        super().__init__(failure.value)
        self.failure = failure


async def phone_log_in(visit: Visit, *, step: int = 0, steps: tuple[str, ...] = ()) -> HolderView:
    """Whom the phone says it is. A code whose time is over is replaced by itself.

    Raises PhoneRefusedError, VisitOver, CentreRefusedError, CentreUnreachableError.
    """
    for _ in range(CODES):
        begun = LogInView.model_validate(await visit.desk.centre.post(BEGIN, {}))
        screen = Screen(
            name="phone_code",
            acts=(),
            qr=begun.text,
            ring_s=begun.ttl_s,
            values={"number": f"{begun.number:02d}"},
            step=step,
            steps=steps,
            patience=2,
        )
        found = await visit.wait(screen, _followed(visit, begun, screen), may_leave=True)
        if found is not None:
            return found
    raise PhoneRefusedError(FailureCode.LOGIN_CLOSED)


async def _followed(visit: Visit, begun: LogInView, screen: Screen) -> HolderView | None:
    """None when the code's time is over."""
    while True:
        answer = await visit.desk.centre.post(LOOK, {"log_in": begun.log_in})
        now = LogInStage.model_validate(answer)
        if now.holder is not None:
            return now.holder
        if now.stage in _FAILURES:
            raise PhoneRefusedError(_FAILURES[now.stage])
        if now.stage not in ("open", "claimed"):
            return None
        if now.stage == "claimed":
            visit.show(replace(screen, name="phone_claimed", layout="wait", qr="", ring_s=0))
        await visit.desk.clock.wait(asyncio.Event(), LOOK_S)
