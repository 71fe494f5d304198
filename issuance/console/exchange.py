"""What goes to others and comes back: comparisons with the bank, messages that wait or could not be sent."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import Response

from cardlib.wire import HexId
from issuance.bank.reconciliation import reconcile_now
from issuance.bank.schemas import ReconciliationOrder
from issuance.bank.service import BankService
from issuance.clerks.acts import Act
from issuance.console.acting import attempt
from issuance.console.forms import Form, parse
from issuance.console.holders import shown_card
from issuance.console.lists import following, rows_of, tabs
from issuance.console.page import Page, page_for
from issuance.console.refusals import Refusal
from issuance.console.words import words
from issuance.database import MAX_ID
from issuance.outbox.schemas import OutboxMessage, Retry
from issuance.outbox.service import OutboxService
from issuance.paging import PageQuery, PageRequest
from issuance.unit import Unit

router = APIRouter(prefix="/exchange")
BankReading = Annotated[Page, page_for(Act.BANK_READ)]
OutboxReading = Annotated[Page, page_for(Act.OUTBOX_READ)]
_STATES = ("dead", "pending", "delivered")


# -- the bank ---------------------------------------------------------------------------------------------------------


@router.get("/bank")
async def comparisons(page: BankReading, asked: PageQuery) -> Response:
    return await _comparisons(page, asked)


async def _comparisons(page: Page, asked: PageRequest, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        found = await BankService(unit).reconciliations(rows_of(asked))
    return page.show(
        "bank.html",
        rows=found.items,
        has_bank=page.desk.services.bank is not None,
        following=following("/exchange/bank", found.next_cursor),
        **context,
    )


@router.post("/bank")
async def compare(page: Annotated[Page, page_for(Act.BANK_RECONCILE)]) -> Response:
    """In transactions of its own, one for each difference; asked for twice it compares twice."""
    form = await Form.of(page.request)
    try:
        order = parse(ReconciliationOrder, form.nested("reason"))
        async with page.desk.ahead():
            run = await reconcile_now(page.desk, order.reason)
    except Exception as error:
        return await _comparisons(page, PageRequest(), form=form, refusal=page.refusal(error))
    return page.go(f"/exchange/bank/{run.id}", said="exchange.said_compared")


@router.get("/bank/{comparison_id}")
async def differences(
    comparison_id: Annotated[int, Path(ge=1, le=MAX_ID)], page: BankReading, asked: PageQuery
) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        found = await BankService(unit).differences(comparison_id, rows_of(asked, 50))
    path = f"/exchange/bank/{comparison_id}"
    return page.show(
        "bank_differences.html",
        rows=found.items,
        shown_card=shown_card,
        following=following(path, found.next_cursor),
    )


# -- messages ---------------------------------------------------------------------------------------------------------


@router.get("/messages")
async def messages(page: OutboxReading, asked: PageQuery, state: str = "dead") -> Response:
    return await _messages(page, asked, state)


async def _messages(page: Page, asked: PageRequest, state: str, **context: Any) -> Response:
    state = state if state in _STATES else "dead"
    async with page.desk.unit(is_reading=True) as unit:
        found = await OutboxService(unit).find(rows_of(asked), state=state)
    known = words(page.language)["exchange"]
    return page.show(
        "messages.html",
        rows=found.items,
        state=state,
        tabs=tabs("/exchange/messages", "state", state, [(code, known[f"state_{code}"]) for code in _STATES]),
        following=following("/exchange/messages", found.next_cursor, state=state),
        **context,
    )


@router.post("/messages/{message_id}/retry")
async def retry(message_id: HexId, page: Annotated[Page, page_for(Act.OUTBOX_RETRY)]) -> Response:
    form = await Form.of(page.request)

    async def run(unit: Unit, _order: Retry) -> OutboxMessage:
        return await OutboxService(unit).retry(message_id)

    done = await attempt(page, form, f"outbox:{message_id}", Retry, OutboxMessage, run)
    if isinstance(done, Refusal):
        return await _messages(page, PageRequest(), "dead", form=form, refusal=done)
    return page.go("/exchange/messages", said="exchange.said_retry")
