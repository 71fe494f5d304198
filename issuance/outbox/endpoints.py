"""`/v1/outbox`: what waits to be sent, and what could not be."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from cardlib.wire import HexId
from issuance.idempotency import RequiredKey, once
from issuance.outbox.models import OutboxRow
from issuance.outbox.repository import OutboxRepository
from issuance.outbox.schemas import OutboxMessage, Retry
from issuance.paging import Page, PageQuery
from issuance.problems import ProblemError
from issuance.unit import OperatorUnit

router = APIRouter(prefix="/v1/outbox", tags=["outbox"])


@router.get("", summary="Messages to bank, factory and holders, newest first; what they say is not shown")
async def find(
    unit: OperatorUnit,
    page: PageQuery,
    state: Literal["pending", "delivered", "dead"] | None = None,
    topic: Annotated[str | None, Query(pattern=r"^[a-z_]{1,16}\.[a-z_]{1,24}$")] = None,
) -> Page[OutboxMessage]:
    repository = OutboxRepository(unit.session)
    rows, cursor = await repository.find(page, region_prefix=unit.caller.region_prefix, state=state, topic=topic)
    return Page(items=[_view(row) for row in rows], next_cursor=cursor)


@router.post("/{message_id}/retry", summary="Send a dead message again, under the same key")
async def retry(
    message_id: Annotated[HexId, Path()], order: Retry, key: RequiredKey, unit: OperatorUnit, response: Response
) -> OutboxMessage:
    async def make() -> OutboxMessage:
        row = await OutboxRepository(unit.session).get(message_id)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such message")
        unit.caller.demand_region(row.region or "", subject=f"message:{message_id}")
        if row.state == "delivered":
            raise ProblemError("CONFLICT", "this message was delivered", subject=f"message:{message_id}")
        if row.state == "dead":
            row.state, row.owner = "pending", unit.by
            row.next_try_at = row.updated_at = unit.now
            await unit.session.flush()
            await unit.audit("outbox.retry", f"message:{message_id}", region=row.region, detail={"topic": row.topic})
        return _view(row)

    return await once(unit, response, f"outbox:{message_id}", key, order, OutboxMessage, make)


def _view(row: OutboxRow) -> OutboxMessage:
    return OutboxMessage(
        message_id=row.message_id,
        topic=row.topic,
        key=row.key,
        region=row.region,
        state=row.state,  # type: ignore[arg-type]  # the table's constraint names the same words
        attempts=row.attempts,
        next_try_at=row.next_try_at,
        reason=row.reason,
        owner=row.owner,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
