"""Sending what the outbox holds: claim, send without a transaction, settle in one.

A receiver is idempotent by `message_id`, so a message whose answer was lost is sent again. What was sent is settled
only by who still holds the lease; a replica that was too slow changes nothing any more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from issuance.logs import get_logger
from issuance.outbox.models import OutboxRow
from issuance.outbox.repository import OutboxRepository, body_of
from issuance.scope import EVERYWHERE
from issuance.unit import Unit, system_unit

if TYPE_CHECKING:
    from issuance.services import Services

BATCH = 32
LEASE = timedelta(seconds=120)
"""Longer than any sending may take: nobody else sends meanwhile."""
SEND_TIMEOUT_S = 60.0
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=15)
MAX_ATTEMPTS = 60
"""About half a day of tries; then the message is dead and waits for its owner, who may have it tried as often again."""
log = get_logger("issuance.outbox")


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message as its receiver gets it. `attempt` counts from 1: a later one may have been received before."""

    message_id: str
    topic: str
    key: str
    region: str | None
    body: dict[str, Any]
    attempt: int
    owner: str


class NotDeliveredError(Exception):
    """Try again later, not before `not_before` when that is known. `reason` is a short code, nothing personal."""

    def __init__(self, reason: str, *, not_before: datetime | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.not_before = not_before


class Receiver(Protocol):
    """Where the messages of one first topic part go."""

    async def deliver(self, envelope: Envelope) -> Any:
        """Send; what comes back is handed to `settle`. Raises NotDeliveredError; any other exception counts as one."""

    async def settle(self, unit: Unit, envelope: Envelope, answer: Any) -> str | None:
        """Take in the answer, in the transaction that ends the message; a reason makes it a dead one.

        Runs before the message's row is locked, so that the rows of its subject come first in the order of locks.
        """


class NoticeLog:
    """Receiver of `notice.*` where no message gateway is connected: the log tells that there was one, not to whom."""

    async def deliver(self, envelope: Envelope) -> None:
        log.info("notice", topic=envelope.topic, key=envelope.key, message=envelope.message_id)

    async def settle(self, unit: Unit, envelope: Envelope, answer: Any) -> str | None:
        return None


async def deliver_due(services: Services) -> int:
    """Send what is due, batch after batch; returns how many messages ended. Several replicas may do so at once."""
    ended = 0
    topics = sorted(services.receivers)
    while topics:
        async with services.database.transaction(scope=EVERYWHERE) as session:
            rows = await OutboxRepository(session).claim(topics, services.clock(), LEASE, BATCH)
        outcomes = await asyncio.gather(*(_send(services, row) for row in rows))
        ended += sum(outcomes)
        if not any(outcomes):
            break
    return ended


async def _send(services: Services, row: OutboxRow) -> bool:
    """True when the message ended, delivered or dead."""
    receiver = services.receivers[row.topic.partition(".")[0]]
    try:
        envelope = _envelope(services, row)
        async with asyncio.timeout(SEND_TIMEOUT_S):
            answer = await receiver.deliver(envelope)
        async with system_unit(services) as unit:
            reason = await receiver.settle(unit, envelope, answer)
            return await _end(unit, row, reason)
    except NotDeliveredError as error:
        return await _postpone(services, row, error.reason, error.not_before)
    except Exception as error:  # its words may quote the message
        log.warning("not_delivered", topic=row.topic, message=row.message_id, error=type(error).__name__)
        return await _postpone(services, row, type(error).__name__, None)


def _envelope(services: Services, row: OutboxRow) -> Envelope:
    body = body_of(row, services.sealer)
    return Envelope(row.message_id, row.topic, row.key, row.region, body, row.attempts, row.owner)


async def _end(unit: Unit, claimed: OutboxRow, reason: str | None) -> bool:
    """Raises NotDeliveredError when the lease has passed to another: then what was settled is rolled back."""
    row = await OutboxRepository(unit.session).held(claimed)
    if row is None:
        raise NotDeliveredError("lease_lost")
    row.lease_token = row.lease_until = None
    row.updated_at, row.reason = unit.now, None if reason is None else reason[:64]
    row.state = "delivered" if reason is None else "dead"
    if reason is None:
        row.body = row.sealed_body = None
    await unit.session.flush()
    return True


async def _postpone(services: Services, claimed: OutboxRow, reason: str, not_before: datetime | None) -> bool:
    """Free the message until its next try, or give it up; True when it was given up."""
    now = services.clock()
    async with services.database.transaction(scope=EVERYWHERE) as session:
        row = await OutboxRepository(session).held(claimed)
        if row is None:
            return False
        row.lease_token = row.lease_until = None
        row.reason, row.updated_at = reason[:64], now
        if row.attempts % MAX_ATTEMPTS == 0:
            row.state = "dead"
            log.error("dead_letter", topic=row.topic, message=row.message_id, reason=row.reason, owner=row.owner)
            return True
        pause = min(FIRST_PAUSE * 2 ** min(row.attempts - 1, 16), LONGEST_PAUSE)
        row.next_try_at = max(now + pause, not_before or now)
    return False
