"""Rows of applications and of the saga's steps."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Boolean, CheckConstraint, Date, ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import AcceptedElsewhere

_OPEN = text("state NOT IN ('enabled', 'rejected', 'written_off')")
_OPEN_CASE = text("case_step IS NOT NULL")
_ENDED = text("ended_at IS NOT NULL")


class ApplicationRow(AcceptedElsewhere, Base):
    """`reset_information`, `card_number` and the dates are set together when blank and number are reserved.

    `accepted_region` is where the application was handed in, null for the issuing region itself; `office` is the path
    of the office that took it in, `kiosk` the terminal without staff that makes its card, where another one took it in;
    `receipt_number` (受理号) is what the applicant holds. `sealed_parties` holds guardian,
    agent and postal address. `ended_at` is when it reached a final state. `case_*` tell who is to finish the step that
    was begun and is not done, until when, and, once it is stuck, the FailureCode why.
    """

    __tablename__ = "applications"
    __table_args__ = (
        CheckConstraint(
            "state IN ('submitted', 'checked', 'reserved', 'personalized', 'verified', 'enabled', 'rejected',"
            " 'written_off')",
            name="state",
        ),
        Index("uq_applications_open_person", "person_id", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
        Index(
            "ix_applications_case",
            "case_deadline",
            "id",
            "region",
            "office",
            "case_reason",
            "case_step",
            "accepted_region",
            sqlite_where=_OPEN_CASE,
            postgresql_where=_OPEN_CASE,
        ),
        Index(
            "ix_applications_open",
            "state",
            "created_at",
            "id",
            "region",
            "accepted_region",
            "office",
            "case_step",
            "case_reason",
            "case_deadline",
            sqlite_where=_OPEN,
            postgresql_where=_OPEN,
        ),
        Index("uq_applications_receipt_number", "receipt_number", unique=True),
        Index("ix_applications_created", "created_at", "region", "office", "accepted_region"),
        Index(
            "ix_applications_ended",
            "ended_at",
            "region",
            "state",
            "office",
            "created_at",
            "accepted_region",
            sqlite_where=_ENDED,
            postgresql_where=_ENDED,
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("persons.id"), index=True)
    region: Mapped[str] = mapped_column(String(6))
    office: Mapped[str | None] = mapped_column(String(128))
    receipt_number: Mapped[str] = mapped_column(String(16))
    generation: Mapped[str] = mapped_column(String(3))
    card_class: Mapped[str] = mapped_column(String(1))
    state: Mapped[str] = mapped_column(String(16))
    sealed_items: Mapped[bytes] = mapped_column(LargeBinary)
    kind: Mapped[str] = mapped_column(String(24), default="new")
    channel: Mapped[str] = mapped_column(String(8), default="counter")
    accepted_region: Mapped[str | None] = mapped_column(String(6))
    delivery: Mapped[str] = mapped_column(String(8), default="counter")
    with_ecard: Mapped[bool] = mapped_column(Boolean, default=True)
    photo_id: Mapped[str | None] = mapped_column(ForeignKey("photos.id"))
    sealed_parties: Mapped[bytes | None] = mapped_column(LargeBinary)
    reset_information: Mapped[str | None] = mapped_column(ForeignKey("blanks.reset_information"))
    card_number: Mapped[str | None] = mapped_column(ForeignKey("card_numbers.number"))
    issue_date: Mapped[date | None] = mapped_column(Date)
    expiry_date: Mapped[date | None] = mapped_column(Date)
    case_step: Mapped[str | None] = mapped_column(String(16))
    case_reason: Mapped[str | None] = mapped_column(String(64))
    case_owner: Mapped[str | None] = mapped_column(String(64))
    case_deadline: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(ForeignKey("clients.id"))
    kiosk: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ApplicationStepRow(Base):
    """One thing that happened to an application; rows are only added. A stuck step names owner and deadline."""

    __tablename__ = "application_steps"
    __table_args__ = (
        CheckConstraint("status IN ('started', 'done', 'stuck', 'failed', 'undone', 'skipped')", name="status"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    application_id: Mapped[str] = mapped_column(ForeignKey("applications.id"), index=True)
    step: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    detail: Mapped[str] = mapped_column(String(512), default="")
    reason: Mapped[str | None] = mapped_column(String(64))
    owner: Mapped[str | None] = mapped_column(String(64))
    deadline: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ReturnRow(Base):
    """What came back from a card that was written and read back (回盘): kept before anything else is tried with it."""

    __tablename__ = "application_returns"
    __table_args__ = (CheckConstraint("print_state IN ('ordered', 'printed', 'skipped')", name="print_state"),)

    application_id: Mapped[str] = mapped_column(ForeignKey("applications.id"), primary_key=True)
    reset_information: Mapped[str] = mapped_column(String(26))
    card_number: Mapped[str] = mapped_column(String(9))
    identification_code: Mapped[str] = mapped_column(String(32))
    key_version: Mapped[int]
    print_job: Mapped[str] = mapped_column(String(32))
    print_state: Mapped[str] = mapped_column(String(16))
    read_at: Mapped[datetime] = mapped_column(UtcDateTime)
    returned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class PaymentRow(Base):
    """The fee of an application. `reason` is why the fee system refused what was asked last."""

    __tablename__ = "application_payments"
    __table_args__ = (
        CheckConstraint("state IN ('registering', 'registered', 'cancelling', 'cancelled')", name="state"),
    )

    application_id: Mapped[str] = mapped_column(ForeignKey("applications.id"), primary_key=True)
    amount_fen: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(64))
    updated_by: Mapped[str] = mapped_column(String(64))
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
