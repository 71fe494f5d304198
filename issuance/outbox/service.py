"""The outbox as clerks see it: what waits, what could not be sent, and sending it again."""

from __future__ import annotations

from issuance.outbox.models import OutboxRow
from issuance.outbox.repository import OutboxRepository
from issuance.outbox.schemas import OutboxMessage
from issuance.paging import Page, PageRequest
from issuance.problems import ProblemError
from issuance.unit import Unit


class OutboxService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._repository = OutboxRepository(unit.session)

    async def find(self, page: PageRequest, *, state: str | None, topic: str | None = None) -> Page[OutboxMessage]:
        """Newest first, of the regions this caller serves."""
        prefix = self._unit.caller.region_prefix
        rows, cursor = await self._repository.find(page, region_prefix=prefix, state=state, topic=topic)
        return Page(items=[_view(row) for row in rows], next_cursor=cursor)

    async def retry(self, message_id: str) -> OutboxMessage:
        """Have a dead message sent again, under the same key. Raises NOT_FOUND, CONFLICT for one that was delivered."""
        unit = self._unit
        row = await self._repository.get(message_id)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such message")
        if row.state == "delivered":
            raise ProblemError("CONFLICT", "this message was delivered", subject=f"message:{message_id}")
        if row.state == "dead":
            row.state, row.owner = "pending", unit.by
            row.next_try_at = row.updated_at = unit.now
            await unit.session.flush()
            await unit.audit("outbox.retry", f"message:{message_id}", region=row.region, detail={"topic": row.topic})
        return _view(row)


def _view(row: OutboxRow) -> OutboxMessage:
    return OutboxMessage.model_validate({name: getattr(row, name) for name in OutboxMessage.model_fields})
