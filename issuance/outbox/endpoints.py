"""`/v1/outbox`: what waits to be sent, and what could not be."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from cardlib.wire import HexId
from issuance.idempotency import RequiredKey, once
from issuance.outbox.schemas import OutboxMessage, Retry
from issuance.outbox.service import OutboxService
from issuance.paging import Page, PageQuery
from issuance.unit import OperatorUnit

router = APIRouter(prefix="/v1/outbox", tags=["outbox"])


@router.get("", summary="Messages to bank, factory and holders, newest first; what they say is not shown")
async def find(
    unit: OperatorUnit,
    page: PageQuery,
    state: Literal["pending", "delivered", "dead"] | None = None,
    topic: Annotated[str | None, Query(pattern=r"^[a-z_]{1,16}\.[a-z_]{1,24}$")] = None,
) -> Page[OutboxMessage]:
    return await OutboxService(unit).find(page, state=state, topic=topic)


@router.post("/{message_id}/retry", summary="Send a dead message again, under the same key")
async def retry(
    message_id: Annotated[HexId, Path()], order: Retry, key: RequiredKey, unit: OperatorUnit, response: Response
) -> OutboxMessage:
    async def make() -> OutboxMessage:
        return await OutboxService(unit).retry(message_id)

    return await once(unit, response, f"outbox:{message_id}", key, order, OutboxMessage, make)
