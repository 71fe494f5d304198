"""Rows of taps, code rides, refusals and day's sums that transit terminals told, and of purses on cards of ours."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, CheckConstraint, Date, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import RegionScoped
from issuance.terminals.models import FromJournal

_OPEN = text("standing = 'open'")
_LOST = text("standing NOT IN ('booked', 'executed', 'foreign')")
_MOVED = text("day <> clock_day")
_LEFT = text("entry_psam IS NOT NULL")
NONE: Final = ""
"""In a key, which cannot be null."""


class Happened(FromJournal):
    """`at` is when it happened, the terminal's clock set right as far as can be;
    `day` that day in China, `clock_day` the day that the terminal believed it was."""

    region: Mapped[str | None] = mapped_column(String(6))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    day: Mapped[date] = mapped_column(Date)
    clock_day: Mapped[date] = mapped_column(Date)


class Fared(Happened):
    """A ride that has its price, there where it was entered or left."""

    amount_fen: Mapped[int] = mapped_column(BigInteger)
    fare_fen: Mapped[int] = mapped_column(BigInteger)
    product: Mapped[str] = mapped_column(String(64))
    mode: Mapped[str] = mapped_column(String(16))
    time: Mapped[str] = mapped_column(String(14))
    place_city: Mapped[str] = mapped_column(String(4))
    industry: Mapped[int]
    line: Mapped[int]
    station: Mapped[int]
    standing: Mapped[str] = mapped_column(String(16))


class TransitTapRow(Fared, Base):
    """`cardlib.transit_takings.TransitTap` in columns. `offline` is the purse's own number; `verdict`, `standing` and
    `why` are ours (`cardlib.transit_clearing`)."""

    __tablename__ = "transit_taps"
    __table_args__ = (
        CheckConstraint("outcome IN ('paid', 'recovered', 'suspicious', 'void')", name="outcome"),
        CheckConstraint("verdict IN ('genuine', 'wrong', 'foreign', 'none')", name="verdict"),
        CheckConstraint(
            "standing IN ('booked', 'executed', 'foreign', 'open', 'not_executed', 'void', 'repeated', 'refused')",
            name="standing",
        ),
        Index("uq_transit_taps_number", "psam", "number", "outcome", "client_id", unique=True),
        Index("ix_transit_taps_purse", "serial", "offline"),
        Index("ix_transit_taps_day", "day", "client_id"),
        Index("ix_transit_taps_lost", "clock_day", "client_id", sqlite_where=_LOST, postgresql_where=_LOST),
        Index("ix_transit_taps_moved", "day", "clock_day", sqlite_where=_MOVED, postgresql_where=_MOVED),
        Index("ix_transit_taps_exit", "entry_psam", "entry_time", sqlite_where=_LEFT, postgresql_where=_LEFT),
        Index("ix_transit_taps_open", "standing", "serial", sqlite_where=_OPEN, postgresql_where=_OPEN),
    )

    psam: Mapped[str] = mapped_column(String(12))
    number: Mapped[str] = mapped_column(String(8))
    issuer: Mapped[str] = mapped_column(String(16))
    serial: Mapped[str] = mapped_column(String(20))
    city: Mapped[str] = mapped_column(String(4))
    passenger_class: Mapped[int]
    catalog_item: Mapped[str | None] = mapped_column(String(64))
    offline: Mapped[int]
    balance_fen: Mapped[int] = mapped_column(BigInteger)
    type: Mapped[int]
    key_version: Mapped[int]
    algorithm: Mapped[int]
    tac: Mapped[str | None] = mapped_column(String(8))
    is_verified: Mapped[bool | None]
    acceptor: Mapped[str] = mapped_column(String(16))
    entry_psam: Mapped[str | None] = mapped_column(String(12))
    entry_line: Mapped[int | None]
    entry_station: Mapped[int | None]
    entry_time: Mapped[str | None] = mapped_column(String(14))
    marked_fen: Mapped[int | None] = mapped_column(BigInteger)
    outcome: Mapped[str] = mapped_column(String(16))
    verdict: Mapped[str] = mapped_column(String(16))
    why: Mapped[str | None] = mapped_column(String(16))


class TransitRideRow(Fared, Base):
    """A ride with an offline code; `standing` `refused` where the code had taken somebody before."""

    __tablename__ = "transit_rides"
    __table_args__ = (
        CheckConstraint("standing IN ('booked', 'refused')", name="standing"),
        Index("ix_transit_rides_code", "code"),
    )

    platform: Mapped[str] = mapped_column(String(8))
    issuer: Mapped[str] = mapped_column(String(8))
    payment_account: Mapped[str] = mapped_column(String(16))
    card_account: Mapped[str] = mapped_column(String(20))
    code: Mapped[str] = mapped_column(String(64))
    authorised_until: Mapped[int] = mapped_column(BigInteger)


class TransitSumRow(RegionScoped, Base):
    """What taps or rides of one journal that stand alike come to. The intake keeps it with every one that it books, so
    that a day of millions is never counted again; it stays when they are forgotten. `outcome` is `code` for rides;
    `last_sequence` is not below that of any of them."""

    __tablename__ = "transit_sums"
    __table_args__ = (Index("ix_transit_sums_day", "day", "client_id"),)

    clock_day: Mapped[date] = mapped_column(Date, primary_key=True)
    client_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    journal_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    region: Mapped[str] = mapped_column(String(6), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(16), primary_key=True)
    standing: Mapped[str] = mapped_column(String(16), primary_key=True)
    why: Mapped[str] = mapped_column(String(16), primary_key=True)
    is_free: Mapped[bool] = mapped_column(primary_key=True)
    product: Mapped[str] = mapped_column(String(64), primary_key=True)
    catalog_item: Mapped[str] = mapped_column(String(64), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    fen: Mapped[int] = mapped_column(BigInteger)
    fare_fen: Mapped[int] = mapped_column(BigInteger)
    last_sequence: Mapped[int] = mapped_column(BigInteger)


class TransitRefusalRow(Happened, Base):
    """A purse that was turned away, of those that somebody should hear of."""

    __tablename__ = "transit_refusals"
    __table_args__ = (Index("ix_transit_refusals_day", "day", "client_id"),)

    psam: Mapped[str] = mapped_column(String(12))
    issuer: Mapped[str] = mapped_column(String(16))
    serial: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(String(64))
    is_locked: Mapped[bool | None]
    time: Mapped[str] = mapped_column(String(14))
    line: Mapped[int]
    station: Mapped[int]


class TransitDayRow(RegionScoped, Base):
    """The newest that a terminal said of a day of its clock: sums by outcome, and refusals by reason."""

    __tablename__ = "transit_days"
    __table_args__ = (Index("ix_transit_days_day", "clock_day", "client_id"),)

    client_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    counter: Mapped[str] = mapped_column(String(32), primary_key=True)
    clock_day: Mapped[date] = mapped_column(Date, primary_key=True)
    region: Mapped[str | None] = mapped_column(String(6))
    journal_id: Mapped[str] = mapped_column(String(32))
    sequence: Mapped[int] = mapped_column(BigInteger)
    statement: Mapped[int] = mapped_column(BigInteger)
    is_closed: Mapped[bool]
    psam: Mapped[str] = mapped_column(String(12))
    sums: Mapped[dict[str, dict[str, int]]] = mapped_column(JSON)
    free: Mapped[dict[str, int]] = mapped_column(JSON)
    refusals: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class CardPurseRow(RegionScoped, Base):
    """The purse on a chip of ours. `region` is the card's."""

    __tablename__ = "card_purses"
    __table_args__ = (
        Index("uq_card_purses_purse", "serial", "issuer", unique=True),
        Index("ix_card_purses_card", "card_number"),
    )

    identification_code: Mapped[str] = mapped_column(String(32), primary_key=True)
    card_number: Mapped[str] = mapped_column(ForeignKey("cards.card_number"))
    region: Mapped[str] = mapped_column(String(6))
    issuer: Mapped[str] = mapped_column(String(16))
    serial: Mapped[str] = mapped_column(String(20))
    told_at: Mapped[datetime] = mapped_column(UtcDateTime)
    told_by: Mapped[str] = mapped_column(String(64))
