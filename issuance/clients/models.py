"""Rows of registered clients and of the assertions they have used."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import RegionScoped


class ClientRow(RegionScoped, Base):
    """`channel_no` (渠道编号) is of wallets only, `scenes` and `items` of verifiers: which codes they may accept (null:
    all), and what they are told beyond what a scene shows to everybody."""

    __tablename__ = "clients"
    __table_args__ = (CheckConstraint("status IN ('active', 'suspended')", name="status"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    roles: Mapped[list[str]] = mapped_column(JSON)
    region: Mapped[str | None] = mapped_column(String(6))
    channel_no: Mapped[str | None] = mapped_column(String(10), unique=True)
    scenes: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    items: Mapped[list[str]] = mapped_column(JSON, default=list)
    public_jwk: Mapped[dict[str, str]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class UsedAssertionRow(Base):
    """A nonce (jti) that must not come again before it expires."""

    __tablename__ = "used_assertions"

    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id"), primary_key=True)
    nonce: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
