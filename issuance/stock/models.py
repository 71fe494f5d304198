"""Rows of blanks and card numbers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime

_RESERVED = text("state = 'reserved'")


class BlankRow(Base):
    """A pre-personalised card, known by its reset information (26 hex digits)."""

    __tablename__ = "blanks"
    __table_args__ = (
        CheckConstraint("state IN ('in_stock', 'reserved', 'used', 'spoiled')", name="state"),
        CheckConstraint("(state IN ('in_stock', 'spoiled')) = (application_id IS NULL)", name="holder"),
        Index("uq_blanks_reserved", "application_id", unique=True, sqlite_where=_RESERVED, postgresql_where=_RESERVED),
    )

    reset_information: Mapped[str] = mapped_column(String(26), primary_key=True)
    region: Mapped[str] = mapped_column(String(6))
    generation: Mapped[str] = mapped_column(String(3))
    state: Mapped[str] = mapped_column(String(16), index=True)
    delivery: Mapped[str] = mapped_column(String(64))
    application_id: Mapped[str | None] = mapped_column(String(32))
    reason: Mapped[str | None] = mapped_column(String(256))
    registered_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CardNumberRow(Base):
    """A number of the pool, check digit included."""

    __tablename__ = "card_numbers"
    __table_args__ = (
        CheckConstraint("state IN ('free', 'reserved', 'used', 'void')", name="state"),
        CheckConstraint("(state IN ('free', 'void')) = (application_id IS NULL)", name="holder"),
        Index("ix_card_numbers_free", "region", "state", "number"),
        Index(
            "uq_card_numbers_reserved",
            "application_id",
            unique=True,
            sqlite_where=_RESERVED,
            postgresql_where=_RESERVED,
        ),
    )

    number: Mapped[str] = mapped_column(String(9), primary_key=True)
    region: Mapped[str] = mapped_column(String(6))
    state: Mapped[str] = mapped_column(String(16))
    application_id: Mapped[str | None] = mapped_column(String(32))
    reason: Mapped[str | None] = mapped_column(String(256))
    registered_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
