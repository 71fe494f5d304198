"""Rows of cards in hand, card numbers, places and the ledger of what moved between them."""

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
    String,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import OfficeScoped, RegionScoped, in_regions

_RESERVED = text("state = 'reserved'")
_FREE = text("state = 'free'")
_UNUSED = text("state <> 'used'")
_FINISHED = text("kind = 'finished' AND state = 'reserved'")
_LYING = text("place_id IS NOT NULL")
_SPOILED = text("act = 'spoil' AND kind = 'spoiled'")


_ID = BigInteger().with_variant(Integer(), "sqlite")


class PlaceRow(RegionScoped, OfficeScoped, Base):
    """A depot or an outlet; `parent_id` is the depot it is supplied from, `office` the path of whose it is."""

    __tablename__ = "stock_places"
    __table_args__ = (
        CheckConstraint("kind IN ('depot', 'outlet')", name="kind"),
        CheckConstraint("state IN ('open', 'closed')", name="state"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    name: Mapped[str] = mapped_column(String(64))
    region: Mapped[str] = mapped_column(String(6), index=True)
    office: Mapped[str | None] = mapped_column(String(128))
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("stock_places.id"))
    state: Mapped[str] = mapped_column(String(8))
    version: Mapped[int]
    updated_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TransferRow(Base):
    """Cards on their way from one place to another. `sent` waits for the receiver, `short` for the sender's word."""

    __tablename__ = "stock_transfers"
    __table_args__ = (
        CheckConstraint("state IN ('sent', 'received', 'short', 'settled')", name="state"),
        CheckConstraint("from_place <> to_place", name="places"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    from_place: Mapped[str] = mapped_column(ForeignKey("stock_places.id"), index=True)
    to_place: Mapped[str] = mapped_column(ForeignKey("stock_places.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    quantity: Mapped[int]
    received: Mapped[int]
    state: Mapped[str] = mapped_column(String(8))
    reference: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(256))
    sent_by: Mapped[str] = mapped_column(String(64))
    updated_by: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LedgerRow(Base):
    """One movement of `quantity` cards of one kind into (+) or out of (-) one place; rows are only added.

    `day` is the date in China.
    """

    __tablename__ = "stock_ledger"
    __table_args__ = (
        CheckConstraint("kind IN ('blank', 'pre_printed', 'finished', 'spoiled')", name="kind"),
        CheckConstraint("quantity <> 0", name="quantity"),
        Index("ix_stock_ledger_balance", "place_id", "day", "kind", "quantity"),
        Index("ix_stock_ledger_spoiled", "day", "place_id", sqlite_where=_SPOILED, postgresql_where=_SPOILED),
    )

    id: Mapped[int] = mapped_column(_ID, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    day: Mapped[date] = mapped_column(Date)
    place_id: Mapped[str] = mapped_column(ForeignKey("stock_places.id"))
    kind: Mapped[str] = mapped_column(String(16))
    act: Mapped[str] = mapped_column(String(16))
    quantity: Mapped[int]
    reference: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(256))
    transfer_id: Mapped[str | None] = mapped_column(ForeignKey("stock_transfers.id"))
    first_witness: Mapped[str | None] = mapped_column(String(64))
    second_witness: Mapped[str | None] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(String(64))


class LedgerItemRow(Base):
    """One card of a ledger row, by its reset information."""

    __tablename__ = "stock_ledger_items"

    entry_id: Mapped[int] = mapped_column(ForeignKey("stock_ledger.id"), primary_key=True, autoincrement=False)
    card: Mapped[str] = mapped_column(ForeignKey("blanks.reset_information"), primary_key=True, index=True)


class OpeningRow(Base):
    """What the ledger's rows of the days before `day` add up to (`issuance.stock.openings`); rows are only added."""

    __tablename__ = "stock_openings"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    place_id: Mapped[str] = mapped_column(ForeignKey("stock_places.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    quantity: Mapped[int]


class CountRow(Base):
    """What was there at the end of a day: counted by the books (`closing`) or by people (`stocktake`)."""

    __tablename__ = "stock_counts"
    __table_args__ = (CheckConstraint("source IN ('closing', 'stocktake')", name="source"),)

    place_id: Mapped[str] = mapped_column(ForeignKey("stock_places.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    counted: Mapped[int]
    source: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class BlankRow(RegionScoped, Base):
    """A card by its reset information (26 hex digits), from its delivery to its end.

    `kind` is what it was made as; a spoiled one is known by its state. `place_id` says where it lies: null when it is
    in a holder's hands, destroyed, or on its way (`transfer_id`).
    """

    __tablename__ = "blanks"
    __table_args__ = (
        CheckConstraint("state IN ('in_stock', 'reserved', 'used', 'spoiled')", name="state"),
        CheckConstraint("(state IN ('in_stock', 'spoiled')) = (application_id IS NULL)", name="holder"),
        CheckConstraint("kind IN ('blank', 'pre_printed', 'finished')", name="kind"),
        Index("uq_blanks_reserved", "application_id", unique=True, sqlite_where=_RESERVED, postgresql_where=_RESERVED),
        Index("ix_blanks_place", "place_id", "kind", "state", "region", sqlite_where=_LYING, postgresql_where=_LYING),
        Index(
            "ix_blanks_to_hand_over",
            "updated_at",
            "reset_information",
            "place_id",
            "region",
            "application_id",
            sqlite_where=_FINISHED,
            postgresql_where=_FINISHED,
        ),
    )

    reset_information: Mapped[str] = mapped_column(String(26), primary_key=True)
    region: Mapped[str] = mapped_column(String(6))
    generation: Mapped[str] = mapped_column(String(3))
    state: Mapped[str] = mapped_column(String(16), index=True)
    delivery: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    place_id: Mapped[str | None] = mapped_column(ForeignKey("stock_places.id"))
    transfer_id: Mapped[str | None] = mapped_column(ForeignKey("stock_transfers.id"), index=True)
    application_id: Mapped[str | None] = mapped_column(String(32))
    reason: Mapped[str | None] = mapped_column(String(256))
    registered_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)

    @classmethod
    def within_regions(cls, prefix: str) -> ColumnElement[bool]:
        """Whoever has a card at a place deals with it, whatever region it was made for."""
        served = select(PlaceRow.id).where(in_regions(PlaceRow.region, prefix))
        return or_(super().within_regions(prefix), cls.place_id.in_(served))


class NumberPoolRow(RegionScoped, Base):
    """How many numbers a region was ever `given`: so many that counting the used ones takes long."""

    __tablename__ = "card_number_pools"

    region: Mapped[str] = mapped_column(String(6), primary_key=True)
    given: Mapped[int]


class CardNumberRow(RegionScoped, Base):
    """A number of the pool, check digit included."""

    __tablename__ = "card_numbers"
    __table_args__ = (
        CheckConstraint("state IN ('free', 'reserved', 'used', 'locked', 'void')", name="state"),
        CheckConstraint("(state IN ('free', 'locked', 'void')) = (application_id IS NULL)", name="holder"),
        Index("ix_card_numbers_free", "region", "state", "number"),
        Index("ix_card_numbers_left", "region", sqlite_where=_FREE, postgresql_where=_FREE),
        Index("ix_card_numbers_unused", "region", "state", sqlite_where=_UNUSED, postgresql_where=_UNUSED),
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
