"""Rows of the ministry's scan protocol: channels that speak it to us, and what the national platform tells us."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, CheckConstraint, ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime


class LoginChannelRow(Base):
    """A relying party that speaks the field's interface in the bus's envelope, with keys of its own."""

    __tablename__ = "login_channels"
    __table_args__ = (
        CheckConstraint("cipher IN ('sm4-cbc', 'aes-ecb')", name="cipher"),
        UniqueConstraint("access_key"),
        UniqueConstraint("channel_no", "access_no"),
    )

    client_id: Mapped[str] = mapped_column(ForeignKey("login_relying_parties.id"), primary_key=True)
    channel_no: Mapped[str] = mapped_column(String(10))
    access_no: Mapped[str] = mapped_column(String(10))
    access_key: Mapped[str] = mapped_column(String(64))
    cipher: Mapped[str] = mapped_column(String(8))
    sealed_keys: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class UpstreamKeysRow(Base):
    """What this centre shares with a platform that it asks who somebody is."""

    __tablename__ = "login_upstream_keys"
    __table_args__ = (CheckConstraint("cipher IN ('sm4-cbc', 'aes-ecb')", name="cipher"),)

    upstream: Mapped[str] = mapped_column(String(16), primary_key=True)
    access_key: Mapped[str] = mapped_column(String(64))
    cipher: Mapped[str] = mapped_column(String(8))
    sealed_keys: Mapped[bytes] = mapped_column(LargeBinary)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class UpstreamCodeRow(Base):
    """The platform's code on the page of a log-in (one minute); `asked_at` is when the platform was last asked."""

    __tablename__ = "login_upstream_codes"

    login_id: Mapped[str] = mapped_column(ForeignKey("logins.id", ondelete="CASCADE"), primary_key=True)
    sealed_code: Mapped[bytes] = mapped_column(LargeBinary)
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class UpstreamAnswerRow(Base):
    """Whom the platform named, once for each log-in: two minutes to agree at the page, then one to be handed out.

    `answer_digest` is the SM3 of what it sent. `claims` are there when the person has agreed.
    """

    __tablename__ = "login_upstream_answers"
    __table_args__ = (CheckConstraint("way IN ('code', 'redirect')", name="way"),)

    login_id: Mapped[str] = mapped_column(ForeignKey("logins.id", ondelete="CASCADE"), primary_key=True)
    ecard_no: Mapped[str] = mapped_column(ForeignKey("ecards.ecard_no"))
    way: Mapped[str] = mapped_column(String(8))
    answer_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    claims: Mapped[list[str]] = mapped_column(JSON)
    answered_at: Mapped[datetime] = mapped_column(UtcDateTime)
    agreed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
