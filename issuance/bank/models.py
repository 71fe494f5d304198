"""Rows of the financial side of cards, of the bank's notices and of reconciliations."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    or_,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import RegionScoped

_OPENING = text("state = 'opening'")
_ID = BigInteger().with_variant(Integer, "sqlite")


class AccountRow(RegionScoped, Base):
    """The financial side of one card number. A card without a row has none.

    `state` is what was decided here; the bank is told through the outbox and follows. `state_before` is what a lost
    account goes back to; `is_lost_with_card`: the loss came from the social security side. `operation_id` is the
    message that asked the bank last, `operation` what it asked.
    """

    __tablename__ = "card_accounts"
    __table_args__ = (
        CheckConstraint("state IN ('none', 'opening', 'inactive', 'active', 'lost', 'frozen', 'closed')", name="state"),
        Index("ix_card_accounts_opening", "since", "card_number", sqlite_where=_OPENING, postgresql_where=_OPENING),
    )

    card_number: Mapped[str] = mapped_column(ForeignKey("cards.card_number"), primary_key=True)
    region: Mapped[str] = mapped_column(String(6))
    state: Mapped[str] = mapped_column(String(16))
    state_before: Mapped[str | None] = mapped_column(String(16))
    is_lost_with_card: Mapped[bool]
    sealed_account: Mapped[bytes | None] = mapped_column(LargeBinary)
    operation: Mapped[str | None] = mapped_column(String(16))
    operation_id: Mapped[str | None] = mapped_column(String(32))
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    by: Mapped[str] = mapped_column(String(64))


class BankNoticeRow(Base):
    """A notice that the bank sent, once each."""

    __tablename__ = "bank_notices"

    notice_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id"), primary_key=True)
    card_number: Mapped[str] = mapped_column(String(9))
    event: Mapped[str] = mapped_column(String(16))
    result: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class ReconciliationRow(Base):
    """One comparison of all accounts with the bank's; `day` null for one that was asked for."""

    __tablename__ = "bank_reconciliations"
    __table_args__ = (CheckConstraint("state IN ('running', 'done', 'failed')", name="state"),)

    id: Mapped[int] = mapped_column(_ID, primary_key=True, autoincrement=True)
    day: Mapped[date | None] = mapped_column(Date, unique=True)
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(64))
    attempts: Mapped[int]
    lease_until: Mapped[datetime] = mapped_column(UtcDateTime)
    compared: Mapped[int]
    differences: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DifferenceRow(RegionScoped, Base):
    """One card on which bank and books differed, and how that was resolved; `region` is empty for a card of nobody."""

    __tablename__ = "bank_differences"
    __table_args__ = (Index("ix_bank_differences_reconciliation", "reconciliation_id", "id"),)

    id: Mapped[int] = mapped_column(_ID, primary_key=True, autoincrement=True)
    reconciliation_id: Mapped[int] = mapped_column(ForeignKey("bank_reconciliations.id"))
    card_number: Mapped[str] = mapped_column(String(9))
    region: Mapped[str] = mapped_column(String(6))
    ours: Mapped[str] = mapped_column(String(16))
    theirs: Mapped[str] = mapped_column(String(16))
    resolution: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime] = mapped_column(UtcDateTime)

    @classmethod
    def within_regions(cls, prefix: str) -> ColumnElement[bool]:
        return or_(cls.region == "", super().within_regions(prefix))
