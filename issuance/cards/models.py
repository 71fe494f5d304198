"""Rows of issued cards, of what happened to them, and of what is still to be done to them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Date, ForeignKey, Index, Integer, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import RegionScoped

_LIVE = text("state <> '9'")
_TEMPORARY = text("temporary_until IS NOT NULL")
_NOT_NORMAL = text("state <> '1'")
_KEPT = text("state = 'kept'")
_ID = BigInteger().with_variant(Integer, "sqlite")


class CardRow(RegionScoped, Base):
    """`state` is 卡应用状态 (aaz502); a person has at most one card that is not cancelled.

    Chip, application and dates are those of the chip that now bears the number: a same-number replacement changes them
    and leaves the old chip in `RetiredChipRow`. `version` counts every change of state on either side.
    """

    __tablename__ = "cards"
    __table_args__ = (
        CheckConstraint("state IN ('0', '1', '2', '3', '4', '9')", name="state"),
        Index("uq_cards_live_person", "person_id", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
        Index("ix_cards_temporary", "temporary_until", sqlite_where=_TEMPORARY, postgresql_where=_TEMPORARY),
        Index("ix_cards_region", "region", "card_number"),
        Index("ix_cards_person", "person_id"),
        Index(
            "ix_cards_not_normal",
            *("state", "card_number", "identification_code"),
            sqlite_where=_NOT_NORMAL,
            postgresql_where=_NOT_NORMAL,
        ),
    )

    card_number: Mapped[str] = mapped_column(ForeignKey("card_numbers.number"), primary_key=True)
    application_id: Mapped[str] = mapped_column(ForeignKey("applications.id"), unique=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("persons.id"))
    reset_information: Mapped[str] = mapped_column(ForeignKey("blanks.reset_information"), unique=True)
    identification_code: Mapped[str] = mapped_column(String(32))
    region: Mapped[str] = mapped_column(String(6))
    generation: Mapped[str] = mapped_column(String(3))
    key_version: Mapped[int]
    state: Mapped[str] = mapped_column(String(1))
    issue_date: Mapped[date] = mapped_column(Date)
    expiry_date: Mapped[date] = mapped_column(Date)
    version: Mapped[int]
    state_since: Mapped[datetime] = mapped_column(UtcDateTime)
    state_by: Mapped[str] = mapped_column(String(64))
    temporary_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CardEventRow(Base):
    """One thing that happened to a card; rows are only added. `version` is that of the card afterwards."""

    __tablename__ = "card_events"
    __table_args__ = (
        CheckConstraint("side IN ('social', 'financial', 'chip', 'ecard', 'found')", name="side"),
        Index("ix_card_events_card", "card_number", "id"),
    )

    id: Mapped[int] = mapped_column(_ID, primary_key=True, autoincrement=True)
    card_number: Mapped[str] = mapped_column(ForeignKey("cards.card_number"))
    side: Mapped[str] = mapped_column(String(16))
    act: Mapped[str] = mapped_column(String(32))
    old_state: Mapped[str] = mapped_column(String(16))
    new_state: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    by: Mapped[str] = mapped_column(String(64))
    client_id: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(32))
    version: Mapped[int]
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)


class SuccessionRow(Base):
    """An application whose card takes the place of another one."""

    __tablename__ = "card_successions"
    __table_args__ = (CheckConstraint("reason IN ('lost', 'damaged', 'quality', 'renewal')", name="reason"),)

    application_id: Mapped[str] = mapped_column(ForeignKey("applications.id"), primary_key=True)
    card_number: Mapped[str] = mapped_column(ForeignKey("cards.card_number"), index=True)
    reason: Mapped[str] = mapped_column(String(16))
    keeps_number: Mapped[bool]
    fee_fen: Mapped[int]
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    asked_by: Mapped[str] = mapped_column(String(64))


class RetiredChipRow(Base):
    """A chip whose number went on to another one; it is served nowhere any more."""

    __tablename__ = "retired_chips"

    reset_information: Mapped[str] = mapped_column(ForeignKey("blanks.reset_information"), primary_key=True)
    card_number: Mapped[str] = mapped_column(ForeignKey("cards.card_number"), index=True)
    identification_code: Mapped[str] = mapped_column(String(32))
    application_id: Mapped[str] = mapped_column(ForeignKey("applications.id"))
    retired_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RewriteRow(Base):
    """What the chip has to be given at its next visit, by slug."""

    __tablename__ = "card_rewrites"
    __table_args__ = (Index("ix_card_rewrites_asked", "asked_at", "card_number"),)

    card_number: Mapped[str] = mapped_column(ForeignKey("cards.card_number"), primary_key=True)
    sealed_changes: Mapped[bytes] = mapped_column(LargeBinary)
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    asked_by: Mapped[str] = mapped_column(String(64))


class PersonEndRow(Base):
    """A holder who died or left the country for good; for who died no card is made any more."""

    __tablename__ = "person_ends"
    __table_args__ = (CheckConstraint("reason IN ('death', 'exit')", name="reason"),)

    person_id: Mapped[str] = mapped_column(ForeignKey("persons.id"), primary_key=True)
    reason: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    by: Mapped[str] = mapped_column(String(64))


class FoundCardRow(RegionScoped, Base):
    """A card that somebody handed in. It is kept until handed back or, from `keep_until` on, destroyed."""

    __tablename__ = "found_cards"
    __table_args__ = (
        CheckConstraint("state IN ('kept', 'returned', 'destroyed')", name="state"),
        Index("uq_found_cards_kept", "card_number", unique=True, sqlite_where=_KEPT, postgresql_where=_KEPT),
        Index("ix_found_cards_region", "region", "id"),
        Index("ix_found_cards_card", "card_number"),
        Index("ix_found_cards_queue", "keep_until", "id", sqlite_where=_KEPT, postgresql_where=_KEPT),
    )

    id: Mapped[int] = mapped_column(_ID, primary_key=True, autoincrement=True)
    card_number: Mapped[str] = mapped_column(ForeignKey("cards.card_number"))
    region: Mapped[str] = mapped_column(String(6))
    outlet: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    found_at: Mapped[datetime] = mapped_column(UtcDateTime)
    keep_until: Mapped[datetime] = mapped_column(UtcDateTime)
    is_overdue: Mapped[bool]
    registered_by: Mapped[str] = mapped_column(String(64))
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_by: Mapped[str | None] = mapped_column(String(64))
