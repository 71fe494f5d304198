"""Rows of alerts, of what happened to them, and of the rounds in which they are looked for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import OfficeScoped, RegionScoped

_GOING = text("state <> 'over'")
_ID = BigInteger().with_variant(Integer, "sqlite")


class AlertRow(RegionScoped, OfficeScoped, Base):
    """A rule that was broken at one place (`subject`: `region:110000`, `place:hall-3`, `service:all`).

    `value` is what was measured last, `worst` the furthest from `bound` so far. One that is over stays as history; the
    next time the same rule is broken there makes a new row.
    """

    __tablename__ = "alerts"
    __table_args__ = (
        CheckConstraint("severity IN ('info', 'warn', 'bad')", name="severity"),
        CheckConstraint("state IN ('raised', 'acknowledged', 'over')", name="state"),
        Index("uq_alerts_going", "rule", "subject", unique=True, sqlite_where=_GOING, postgresql_where=_GOING),
        Index("ix_alerts_state", "state", "id"),
    )

    id: Mapped[int] = mapped_column(_ID, primary_key=True, autoincrement=True)
    rule: Mapped[str] = mapped_column(String(48))
    subject: Mapped[str] = mapped_column(String(96))
    region: Mapped[str | None] = mapped_column(String(6))
    office: Mapped[str | None] = mapped_column(String(128))
    severity: Mapped[str] = mapped_column(String(8))
    value: Mapped[float] = mapped_column(Float)
    worst: Mapped[float] = mapped_column(Float)
    bound: Mapped[float] = mapped_column(Float)
    state: Mapped[str] = mapped_column(String(16))
    raised_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AlertEventRow(Base):
    """One thing that happened to an alert; rows are only added."""

    __tablename__ = "alert_events"
    __table_args__ = (
        CheckConstraint("act IN ('raised', 'acknowledged', 'over')", name="act"),
        Index("ix_alert_events_alert", "alert_id", "id"),
    )

    id: Mapped[int] = mapped_column(_ID, primary_key=True, autoincrement=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alerts.id"))
    act: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    by: Mapped[str] = mapped_column(String(64))
    value: Mapped[float] = mapped_column(Float)
    note: Mapped[str] = mapped_column(String(256))


class AlertRoundRow(Base):
    """When the next round is due; whoever moves it on runs the round, one replica of all."""

    __tablename__ = "alert_rounds"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    next_at: Mapped[datetime] = mapped_column(UtcDateTime)
