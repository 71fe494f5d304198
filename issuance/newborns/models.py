"""Rows of joint applications for newborns."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import AcceptedElsewhere

_WAITING = text("state = 'waiting'")


class NewbornRow(AcceptedElsewhere, Base):
    """`sealed` is the request as it came; `certificate_index` finds it by the number of the birth certificate.

    Until `deadline` the name and number must be registered. The application that follows takes `receipt_number` over.
    """

    __tablename__ = "newborns"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'applied')", name="state"),
        Index("ix_newborns_queue", "deadline", "id", sqlite_where=_WAITING, postgresql_where=_WAITING),
        Index("uq_newborns_receipt_number", "receipt_number", unique=True),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    certificate_index: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    region: Mapped[str] = mapped_column(String(6))
    accepted_region: Mapped[str | None] = mapped_column(String(6))
    state: Mapped[str] = mapped_column(String(16))
    receipt_number: Mapped[str] = mapped_column(String(16))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    application_id: Mapped[str | None] = mapped_column(ForeignKey("applications.id"))
    deadline: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(ForeignKey("clients.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
