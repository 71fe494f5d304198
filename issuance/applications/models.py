"""Rows of applications and of the saga's steps."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Date, ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime

_OPEN = text("state NOT IN ('enabled', 'rejected', 'written_off')")


class ApplicationRow(Base):
    """`reset_information`, `card_number` and the dates are set together when blank and number are reserved."""

    __tablename__ = "applications"
    __table_args__ = (
        CheckConstraint(
            "state IN ('submitted', 'checked', 'reserved', 'personalized', 'verified', 'enabled', 'rejected',"
            " 'written_off')",
            name="state",
        ),
        Index("uq_applications_open_person", "person_id", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("persons.id"), index=True)
    region: Mapped[str] = mapped_column(String(6))
    generation: Mapped[str] = mapped_column(String(3))
    card_class: Mapped[str] = mapped_column(String(1))
    state: Mapped[str] = mapped_column(String(16))
    sealed_items: Mapped[bytes] = mapped_column(LargeBinary)
    reset_information: Mapped[str | None] = mapped_column(ForeignKey("blanks.reset_information"))
    card_number: Mapped[str | None] = mapped_column(ForeignKey("card_numbers.number"))
    issue_date: Mapped[date | None] = mapped_column(Date)
    expiry_date: Mapped[date | None] = mapped_column(Date)
    created_by: Mapped[str] = mapped_column(ForeignKey("clients.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ApplicationStepRow(Base):
    """One thing that happened to an application; rows are only added. A stuck step names owner and deadline."""

    __tablename__ = "application_steps"
    __table_args__ = (CheckConstraint("status IN ('started', 'done', 'stuck', 'failed', 'undone')", name="status"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    application_id: Mapped[str] = mapped_column(ForeignKey("applications.id"), index=True)
    step: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    detail: Mapped[str] = mapped_column(String(512), default="")
    reason: Mapped[str | None] = mapped_column(String(64))
    owner: Mapped[str | None] = mapped_column(String(64))
    deadline: Mapped[datetime | None] = mapped_column(UtcDateTime)
