"""Queries over the outbox. A claim and its end are conditional UPDATEs, so two replicas never hold one message."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from issuance.database import ROW_LOCK
from issuance.outbox.models import OutboxRow
from issuance.paging import PageRequest, fetch_page
from issuance.sealing import Sealer


class OutboxRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(
        self,
        topic: str,
        key: str,
        body: dict[str, Any],
        *,
        now: datetime,
        owner: str,
        region: str | None,
        sealer: Sealer | None,
    ) -> str:
        """Store a message; with a sealer its body rests sealed. Returns the message id."""
        message_id = uuid.uuid4().hex
        row = OutboxRow(
            message_id=message_id,
            topic=topic,
            key=key,
            region=region,
            body=body if sealer is None else None,
            sealed_body=None if sealer is None else sealer.seal(body, body_context(message_id)),
            state="pending",
            attempts=0,
            next_try_at=now,
            owner=owner,
            created_at=now,
            updated_at=now,
        )
        self._session.add(row)
        await self._session.flush()
        return message_id

    async def claim(self, topics: Sequence[str], now: datetime, lease: timedelta, limit: int) -> list[OutboxRow]:
        """Lease the messages that are due, of each key only the oldest; topics by their first part."""
        earlier = aliased(OutboxRow)
        is_first = ~(
            select(earlier.id)
            .where(earlier.key == OutboxRow.key, earlier.state == "pending", earlier.id < OutboxRow.id)
            .exists()
        )
        due = (
            select(OutboxRow.id)
            .where(
                OutboxRow.state == "pending",
                OutboxRow.next_try_at <= now,
                or_(OutboxRow.lease_until.is_(None), OutboxRow.lease_until <= now),
                or_(*(OutboxRow.topic.startswith(f"{topic}.", autoescape=True) for topic in topics)),
                is_first,
            )
            .order_by(OutboxRow.id)
            .limit(limit)
            .with_for_update(skip_locked=True, of=OutboxRow)
        )
        rows = await self._session.scalars(
            update(OutboxRow)
            .where(OutboxRow.id.in_(list(await self._session.scalars(due))))
            .values(
                lease_token=uuid.uuid4().hex,
                lease_until=now + lease,
                attempts=OutboxRow.attempts + 1,
                updated_at=now,
            )
            .returning(OutboxRow)
        )
        return sorted(rows, key=lambda row: row.id)

    async def held(self, row: OutboxRow) -> OutboxRow | None:
        """The row again, locked, while the lease it was claimed under still holds it."""
        found = await self._session.get(OutboxRow, row.id, with_for_update=ROW_LOCK, populate_existing=True)
        is_ours = found is not None and found.state == "pending" and found.lease_token == row.lease_token
        return found if is_ours else None

    async def get(self, message_id: str) -> OutboxRow | None:
        """Locked for the rest of the transaction."""
        found: OutboxRow | None = await self._session.scalar(
            select(OutboxRow).where(OutboxRow.message_id == message_id).with_for_update(key_share=True)
        )
        return found

    async def pending_of(self, key: str) -> int:
        count: int | None = await self._session.scalar(
            select(func.count()).where(OutboxRow.key == key, OutboxRow.state == "pending")
        )
        return count or 0

    async def find(
        self, page: PageRequest, *, region_prefix: str, state: str | None, topic: str | None
    ) -> tuple[list[OutboxRow], str | None]:
        """Newest first. With a prefix, messages without region are left out too."""
        wanted: list[ColumnElement[bool]] = []
        if region_prefix:
            wanted.append(OutboxRow.region.startswith(region_prefix))
        if state is not None:
            wanted.append(OutboxRow.state == state)
        if topic is not None:
            wanted.append(OutboxRow.topic == topic)
        query = select(OutboxRow).where(*wanted)
        return await fetch_page(self._session, query, [OutboxRow.id], page, is_descending=True)


def body_of(row: OutboxRow, sealer: Sealer) -> dict[str, Any]:
    """What is to be sent; empty once it was delivered."""
    if row.sealed_body is None:
        return row.body or {}
    body: dict[str, Any] = sealer.unseal(row.sealed_body, body_context(row.message_id))
    return body


def body_context(message_id: str) -> str:
    return f"outbox_messages:{message_id}"
