"""Rows of messages that leave the process."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Index, Integer, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import RegionScoped

_PENDING = text("state = 'pending'")


class OutboxRow(RegionScoped, Base):
    """`message_id` is the idempotency key that the receiver sees; messages of one `key` are sent in order of `id`.

    A message in work is leased: `lease_token` proves whose it is until `lease_until`. The body of a delivered message
    is dropped. `reason` and `owner` tell of a dead one why, and who has to see to it.
    """

    __tablename__ = "outbox_messages"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="state"),
        Index("ix_outbox_messages_due", "next_try_at", "id", sqlite_where=_PENDING, postgresql_where=_PENDING),
        Index("ix_outbox_messages_order", "key", "id", sqlite_where=_PENDING, postgresql_where=_PENDING),
        Index("ix_outbox_messages_state", "state", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    message_id: Mapped[str] = mapped_column(String(32), unique=True)
    topic: Mapped[str] = mapped_column(String(32))
    key: Mapped[str] = mapped_column(String(96))
    region: Mapped[str | None] = mapped_column(String(6))
    body: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    sealed_body: Mapped[bytes | None] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    next_try_at: Mapped[datetime] = mapped_column(UtcDateTime)
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason: Mapped[str | None] = mapped_column(String(64))
    owner: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
