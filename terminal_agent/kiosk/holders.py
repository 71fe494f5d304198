"""Who stands at the kiosk, as the centre knows them; and what every flow does with a refusal."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from cardlib.failures import FailureCode, Retry, describe, failure_of
from cardlib.session import BasicInformation
from terminal_agent.centre import CentreRefusedError
from terminal_agent.kiosk.card import citizen_card
from terminal_agent.kiosk.screens import LEAVE, Screen
from terminal_agent.kiosk.views import CardView, HolderView
from terminal_agent.kiosk.visit import GoTo, VisitOver

if TYPE_CHECKING:
    from terminal_agent.kiosk.identify import Person
    from terminal_agent.kiosk.visit import Visit

HOLDERS: Final = "/v1/self-service/holders"
ACTS: Final = "/v1/self-service/acts"
LOOKING_UP: Final = Screen(name="looking_up", layout="wait", acts=())
LOG = logging.getLogger("terminal_agent.kiosk")
Run = Callable[["Visit"], Awaitable[None]]


class ToldError(Exception):
    """The person has been told already why this cannot be; the flow ends."""


def told(run: Run) -> Run:
    """A flow that tells what it cannot do, and begins anew where that can help and the person wants it."""

    @wraps(run)
    async def with_words(visit: Visit) -> None:
        while True:
            try:
                await run(visit)
                return
            except (VisitOver, GoTo):
                raise
            except ToldError:
                return
            except Exception as error:
                code = failure_of(error)
                if code is FailureCode.INTERNAL:
                    LOG.error("unforeseen %s", type(error).__name__, exc_info=error)
                acts = (LEAVE,) if describe(code).retry is Retry.NEVER else ("again", LEAVE)
                await visit.refuse(code, acts)

    return with_words


async def look_up(visit: Visit, person: Person, *more: Mapping[str, str]) -> HolderView:
    """With `more` evidence besides what the person showed already. Raises VisitOver, CentreRefusedError,
    CentreUnreachableError."""
    if person.holder is not None:
        return person.holder
    body = person.body()
    return await _asked(visit, {**body, "evidence": [*body["evidence"], *more]})


async def known_card(visit: Visit, screen: str) -> tuple[HolderView, CardView, BasicInformation]:
    """The card in the slot, by its own evidence alone, which opens nothing else of its holder.

    Raises ToldError where chip and centre do not agree, and as `look_up` and `citizen_card`.
    """
    async with citizen_card(visit, screen, takes_listed=True) as card:
        basic = card.basic
    shown = {"name": basic.name, "social_security_number": basic.social_security_number}
    try:
        holder = await _asked(visit, {**shown, "evidence": [card_shown(basic)]})
    except CentreRefusedError as error:
        if error.failure != FailureCode.IDENTITY_MISMATCH:
            raise
        await visit.tell(Screen(name="card_unlike", tone="warn"))
        raise ToldError from None
    return holder, await presented(visit, holder), basic


async def presented(visit: Visit, holder: HolderView) -> CardView:
    """The card that was shown. Raises ToldError where the centre does not know it."""
    found = holder.presented()
    if found is None:
        await visit.tell(Screen(name="card_unknown", tone="warn"))
        raise ToldError
    return found


def card_shown(basic: BasicInformation) -> dict[str, str]:
    return {"kind": "card", "card_number": basic.card_number}


async def act(visit: Visit, holder: HolderView, card: CardView, name: str, screen: str) -> CardView:
    """The card after it, whether this or an earlier request did it. Raises as `look_up`."""
    body = {"visit": holder.visit, "card": card.card, "act": name}
    answer = await visit.wait(Screen(name=screen, layout="wait", acts=()), visit.desk.centre.post(ACTS, body))
    return CardView.model_validate(answer["card"])


async def _asked(visit: Visit, body: Mapping[str, Any]) -> HolderView:
    answer = await visit.wait(LOOKING_UP, visit.desk.centre.post(HOLDERS, body), may_leave=True)
    return HolderView.model_validate(answer)
