"""Acts that wait for a second clerk: who asks for what and why, and the word on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from starlette.responses import Response

from cardlib.wire import HexId
from issuance.cards.life_cycle import LifeCycle
from issuance.clerks.acts import Act, may_approve
from issuance.clerks.approvals import ApprovalService
from issuance.clerks.schemas import ApprovalDetail, ApprovalView, Decision
from issuance.console.acting import Done, attempt
from issuance.console.forms import Form, parse
from issuance.console.holders import Holder, holder_of, shown_card
from issuance.console.lists import following, rows_of, tabs
from issuance.console.page import Page, page_for
from issuance.console.refusals import Refusal
from issuance.console.subjects import masked_subject
from issuance.console.words import words
from issuance.paging import PageQuery
from issuance.unit import Unit

router = APIRouter(prefix="/approvals")
Reading = Annotated[Page, page_for(Act.APPROVAL_READ)]
Word = Literal["approve", "refuse", "withdraw"]
_STATES = ("waiting", "approved", "refused", "withdrawn")
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Asked:
    view: ApprovalDetail
    holder: Holder | None
    card_state: str
    application_id: str
    facts: list[tuple[str, str]]


@router.get("")
async def find(page: Reading, asked: PageQuery, state: str = "waiting") -> Response:
    state = state if state in _STATES else "waiting"
    async with page.desk.unit(is_reading=True) as unit:
        found = await ApprovalService(unit).find(state, rows_of(asked))
    known = words(page.language)["approval"]
    return page.show(
        "approvals.html",
        rows=found.items,
        state=state,
        tabs=tabs("/approvals", "state", state, [(code, known[f"state_{code}"]) for code in _STATES]),
        following=following("/approvals", found.next_cursor, state=state),
        may_decide=lambda view: _may_decide(page, view),
        subject=masked_subject,
    )


def _may_decide(page: Page, view: ApprovalView) -> bool:
    who = page.desk.who
    return (
        view.state == "waiting" and not view.is_over and view.asked_by != who.login and may_approve(who.roles, view.act)
    )


@router.get("/{approval_id}")
async def show(approval_id: HexId, page: Reading) -> Response:
    return await _show(page, approval_id)


async def _show(page: Page, approval_id: str, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        asked = await _asked(unit, page, await ApprovalService(unit).get(approval_id))
    view = asked.view
    return page.show(
        "approval.html",
        asked=asked,
        view=view,
        may_decide=_may_decide(page, view),
        may_withdraw=view.state == "waiting" and not view.is_over and view.asked_by == page.viewer.login,
        subject=masked_subject,
        **context,
    )


async def _asked(unit: Unit, page: Page, view: ApprovalDetail) -> Asked:
    holder, card_state, application_id = None, "", ""
    number = view.body.get("card_number")
    if number is not None and page.viewer.may(Act.CARD_READ):
        row = await LifeCycle(unit).card(number, is_locking=False)
        holder, card_state, application_id = await holder_of(unit, row.person_id), row.state, row.application_id
    return Asked(view, holder, card_state, application_id, _facts(page, view.body))


def _facts(page: Page, body: dict[str, Any]) -> list[tuple[str, str]]:
    """The order in words: card numbers masked, of long lists the first."""
    known = words(page.language)["approval"]
    facts = []
    for name, value in body.items():
        if name in ("version", "ticket") or value in (None, "", []):
            continue
        if name == "card_number":
            value = shown_card(value)
        elif isinstance(value, list):
            more = f" … ({len(value)})" if len(value) > _NAMED else ""
            value = ", ".join(map(str, value[:_NAMED])) + more
        facts.append((known.get(f"field_{name}", name), known.get(f"value_{value}", str(value))))
    return facts


@router.post("/{approval_id}/{word}")
async def decide(approval_id: HexId, word: Word, page: Reading) -> Response:
    form = await Form.of(page.request)

    def read() -> Decision:
        return parse(Decision, form.nested("reason"))

    async def run(unit: Unit, order: Decision) -> Done:
        service, who = ApprovalService(unit), page.desk.who
        await {"approve": service.approve, "refuse": service.refuse, "withdraw": service.withdraw}[word](
            approval_id, who, order.reason
        )
        return Done()

    done = await attempt(page, form, f"approval.{word}:{approval_id}", read, Done, run)
    if isinstance(done, Refusal):
        return await _show(page, approval_id, form=form, refusal=done)
    return page.go(f"/approvals/{approval_id}", said=f"approval.said_{word}")
