"""Rows of relying parties and of what they hold: pushed requests, codes, grants, refresh tokens, device codes.

Codes, tokens and secrets are random with 256 bits and kept as their SHA-256 only.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import RegionScoped


class RelyingPartyRow(RegionScoped, Base):
    """A system that people log in to. Parties of one `sector` know a person under the same `sub`."""

    __tablename__ = "login_relying_parties"
    __table_args__ = (CheckConstraint("status IN ('active', 'suspended')", name="status"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    region: Mapped[str | None] = mapped_column(String(6))
    sector: Mapped[str] = mapped_column(String(255))
    redirect_uris: Mapped[list[str]] = mapped_column(JSON)
    logout_uris: Mapped[list[str]] = mapped_column(JSON)
    auth_method: Mapped[str] = mapped_column(String(32))
    secret_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    grant_types: Mapped[list[str]] = mapped_column(JSON)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    signing_algorithm: Mapped[str] = mapped_column(String(8))
    needs_pushed_requests: Mapped[bool]
    needs_signed_requests: Mapped[bool]
    jwks: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PushedRequestRow(Base):
    """RFC 9126: parameters a relying party handed in itself; its reference opens one log-in."""

    __tablename__ = "login_pushed_requests"

    reference_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("login_relying_parties.id"))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class GrantRow(Base):
    """One log-in of a person at a relying party. Revoked, it takes every token that came of it along.

    `ecard_no` is null where the person was not known by an electronic card.
    """

    __tablename__ = "login_grants"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("login_relying_parties.id"))
    card_number: Mapped[str] = mapped_column(ForeignKey("cards.card_number"), index=True)
    ecard_no: Mapped[str | None] = mapped_column(ForeignKey("ecards.ecard_no"), index=True)
    scope: Mapped[str] = mapped_column(String(255))
    claims: Mapped[list[str]] = mapped_column(JSON)
    acr: Mapped[str] = mapped_column(String(64))
    amr: Mapped[list[str]] = mapped_column(JSON)
    nonce: Mapped[str] = mapped_column(String(512))
    auth_time: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class CodeRow(Base):
    """An authorization code, spent by the first who shows it."""

    __tablename__ = "login_codes"

    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    grant_id: Mapped[str] = mapped_column(ForeignKey("login_grants.id", ondelete="CASCADE"), index=True)
    redirect_uri: Mapped[str] = mapped_column(String(2048))
    code_challenge: Mapped[str] = mapped_column(String(43))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RefreshTokenRow(Base):
    """One of the chain of a grant; only the last is unused."""

    __tablename__ = "login_refresh_tokens"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    grant_id: Mapped[str] = mapped_column(ForeignKey("login_grants.id", ondelete="CASCADE"), index=True)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DeviceCodeRow(Base):
    """RFC 8628: a device that waits for somebody to log in elsewhere. `grant_id` once they have."""

    __tablename__ = "login_device_codes"
    __table_args__ = (CheckConstraint("state IN ('waiting', 'opened', 'granted', 'denied', 'used')", name="state"),)

    device_code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("login_relying_parties.id"))
    scope: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(8))
    grant_id: Mapped[str | None] = mapped_column(ForeignKey("login_grants.id", ondelete="CASCADE"), index=True)
    interval_s: Mapped[int]
    asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
