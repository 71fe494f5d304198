"""What pages of acts share: the form is read, the act is done once, a refusal leaves what was typed; and confirming."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.responses import Response

from issuance.clerks.approvals import ApprovalService
from issuance.clerks.schemas import AskedAct
from issuance.console.forms import Form
from issuance.console.page import Page
from issuance.console.refusals import Refusal
from issuance.idempotency import once
from issuance.unit import Unit

Order = TypeVar("Order", bound=BaseModel)
Answer = TypeVar("Answer", bound=BaseModel)


class Done(BaseModel):
    """An act whose answer no page shows; `is_asked`: it waits for a second clerk."""

    is_asked: bool = False


async def attempt(
    page: Page,
    form: Form,
    scope: str,
    read: Callable[[], Order],
    answer_type: type[Answer],
    run: Callable[[Unit, Order], Awaitable[Answer]],
    keep: Callable[[Answer], Answer] | None = None,
) -> Answer | Refusal:
    """Do what the form orders, once for one page that was shown; raises only what is a fault of ours. `keep` leaves
    out of the answer what a form sent twice is not shown again."""
    try:
        order = read()
        async with page.desk.unit() as unit:

            async def make() -> Answer:
                return await run(unit, order)

            return await once(unit, Response(), f"console.{scope}", form.key, order, answer_type, make, keep=keep)
    except Exception as error:
        return page.refusal(error)


async def ask_second(page: Page, form: Form, scope: str, read: Callable[[], AskedAct]) -> Done | Refusal:
    """An act that two clerks do whatever the region's rules say: this one asks for it."""

    async def run(unit: Unit, order: AskedAct) -> Done:
        await ApprovalService(unit).perform(order.act, order.body, order.reason)
        return Done(is_asked=True)

    return await attempt(page, form, scope, read, Done, run)


@dataclass(frozen=True, slots=True)
class Confirm:
    """A page that names the thing and the effects before an act is done. `reason`: label of what is to be typed,
    empty where nothing is, `hint` says more about it; `kept` goes along as it is."""

    title: str
    thing: str
    effects: Sequence[str]
    action: str
    button: str
    back: str
    facts: Sequence[tuple[str, str]] = ()
    icon: str = "warn"
    is_grave: bool = True
    reason: str = ""
    hint: str = ""
    kept: dict[str, str] = field(default_factory=dict)


def confirm(page: Page, ask: Confirm, here: str, **context: Any) -> Response:
    return page.show("confirm.html", ask=ask, here=here, **context)
