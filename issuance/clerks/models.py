"""Rows of clerks, of their sessions, and of acts that wait for a second clerk."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import OfficeScoped, RegionScoped


class ClerkRow(RegionScoped, OfficeScoped, Base):
    """`region` and `office` are those of the office. `must_change`: the password is a temporary one, good until
    `password_until`. `totp_step` is the last 30-second step whose one-time code was used. `access_by` told that
    password: who made the clerk, or reset the access last. `scan_subject` is what the log-in provider calls the holder
    of the electronic card that is bound to the account.
    """

    __tablename__ = "clerks"
    __table_args__ = (
        CheckConstraint("status IN ('active', 'suspended')", name="status"),
        Index("ix_clerks_office", "office", "id"),
        Index("ix_clerks_scan_subject", "scan_subject", unique=True),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    login: Mapped[str] = mapped_column(String(32), unique=True)
    sealed_name: Mapped[bytes] = mapped_column(LargeBinary)
    office_id: Mapped[int] = mapped_column(ForeignKey("offices.id"))
    office: Mapped[str] = mapped_column(String(128))
    region: Mapped[str] = mapped_column(String(6))
    roles: Mapped[list[str]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(160))
    must_change: Mapped[bool]
    password_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sealed_totp: Mapped[bytes | None] = mapped_column(LargeBinary)
    totp_step: Mapped[int] = mapped_column(BigInteger, default=0)
    failed: Mapped[int] = mapped_column(default=0)
    locked_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(default=1)
    created_by: Mapped[str] = mapped_column(String(64))
    access_by: Mapped[str] = mapped_column(String(64))
    scan_subject: Mapped[str | None] = mapped_column(String(255))
    scan_bound_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ClerkSessionRow(RegionScoped, OfficeScoped, Base):
    """`token_hash` is SHA-256 of what the cookie holds. `address` and `agent` are shortened. `locked_at`: since then
    the session is good for nothing but the clerk's password. `browser_hash` is SHA-256 of what the browser keeps
    beyond the session, None once it kept something newer; `browser_failed` counts what it proved wrongly since.
    `acr` and `amr` (RFC 8176) say how strongly the clerk was known; the ID token ends the log-in at its provider.
    """

    __tablename__ = "clerk_sessions"
    __table_args__ = (
        Index("ix_clerk_sessions_clerk", "clerk_id", "created_at"),
        Index("ix_clerk_sessions_browser_hash", "browser_hash", unique=True),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    clerk_id: Mapped[str] = mapped_column(ForeignKey("clerks.id"))
    region: Mapped[str] = mapped_column(String(6))
    office: Mapped[str] = mapped_column(String(128))
    method: Mapped[str] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(String(40))
    agent: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    end_reason: Mapped[str] = mapped_column(String(16), default="")
    locked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    browser_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    browser_failed: Mapped[int] = mapped_column(default=0)
    acr: Mapped[str] = mapped_column(String(64), default="")
    amr: Mapped[list[str]] = mapped_column(JSON, default=list)
    sealed_id_token: Mapped[bytes | None] = mapped_column(LargeBinary)


class LogInTryRow(Base):
    """How many tried to log in from one network in the minute that began at `minute`."""

    __tablename__ = "log_in_tries"

    network: Mapped[str] = mapped_column(String(40), primary_key=True)
    minute: Mapped[datetime] = mapped_column(UtcDateTime)
    tries: Mapped[int]


class ApprovalRow(RegionScoped, OfficeScoped, Base):
    """An act that waits for a second clerk. `region` is that of the subject, `office` that of the clerk who asked.

    `access_by`: who had given the asking clerk access by then.
    """

    __tablename__ = "clerk_approvals"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'approved', 'refused', 'withdrawn')", name="state"),
        Index("ix_clerk_approvals_list", "state", "asked_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    act: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(96))
    region: Mapped[str] = mapped_column(String(6))
    office: Mapped[str] = mapped_column(String(128))
    sealed_body: Mapped[bytes] = mapped_column(LargeBinary)
    reason: Mapped[str] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(16))
    asked_by: Mapped[str] = mapped_column(String(64))
    access_by: Mapped[str] = mapped_column(String(64), default="")
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    decided_by: Mapped[str | None] = mapped_column(String(64))
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    decision: Mapped[str] = mapped_column(String(200), default="")
