"""Rows of terminals as machines: how each came to be, how it is, and what is asked of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import RegionScoped


class InvitationRow(RegionScoped, Base):
    """A one-time code, of which the keyed index alone is kept. `again_at`: when another key than the one it registered
    tried it last, `again` how often."""

    __tablename__ = "terminal_invitations"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    code_index: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    region: Mapped[str | None] = mapped_column(String(6))
    profile: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(128))
    made_by: Mapped[str] = mapped_column(String(64))
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    client_id: Mapped[str | None] = mapped_column(String(64))
    again: Mapped[int] = mapped_column(default=0)
    again_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class TerminalRow(RegionScoped, Base):
    """`state` is what the last heartbeat said; silence is seen by `heard_at`. `heartbeat` is the last one as it came,
    null before the first. `diagnosis_order` is open until the bundle has come."""

    __tablename__ = "terminals"
    __table_args__ = (
        CheckConstraint("state IN ('new', 'ok', 'trouble', 'locked', 'off')", name="state"),
        Index("ix_terminals_heard", "region", "heard_at"),
    )

    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id"), primary_key=True)
    region: Mapped[str | None] = mapped_column(String(6))
    profile: Mapped[str] = mapped_column(String(16))
    device_number: Mapped[str] = mapped_column(String(32))
    registered_at: Mapped[datetime] = mapped_column(UtcDateTime)
    heard_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(8), default="new")
    clock_error_ms: Mapped[int] = mapped_column(BigInteger, default=0)
    heartbeat: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    locked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    locked_by: Mapped[str | None] = mapped_column(String(64))
    lock_reason: Mapped[str | None] = mapped_column(String(128))
    lock_contact: Mapped[str | None] = mapped_column(String(128))
    diagnosis_order: Mapped[str | None] = mapped_column(String(32))


class TerminalStateRow(RegionScoped, Base):
    """A change of a terminal's state or failures; the newest `fleet.HISTORY` of each terminal are kept."""

    __tablename__ = "terminal_states"

    client_id: Mapped[str] = mapped_column(ForeignKey("terminals.client_id"), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    region: Mapped[str | None] = mapped_column(String(6))
    state: Mapped[str] = mapped_column(String(8))
    failures: Mapped[list[str]] = mapped_column(JSON)


class DiagnosisRow(RegionScoped, Base):
    """The last diagnosis bundle of a terminal: a ZIP file without personal data."""

    __tablename__ = "terminal_diagnoses"

    client_id: Mapped[str] = mapped_column(ForeignKey("terminals.client_id"), primary_key=True)
    region: Mapped[str | None] = mapped_column(String(6))
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    content: Mapped[bytes] = mapped_column(LargeBinary)
