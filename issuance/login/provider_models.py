"""Rows of client assertions, log-ins asked for at a counter, what log-ins told, and the deny list."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime


class AssertionRow(Base):
    """A client assertion (RFC 7523) that must not come again before it expires, by the SHA-256 of client and `jti`."""

    __tablename__ = "login_assertions"

    assertion_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class BackchannelRow(Base):
    """CIBA: a relying party that waits for a holder it named. `ecard_no` is null where nobody could be asked.

    `request_hash` is that of `auth_req_id`; `grant_id` is there once the holder has approved.
    """

    __tablename__ = "login_backchannel_requests"
    __table_args__ = (CheckConstraint("state IN ('waiting', 'granted', 'denied', 'used')", name="state"),)

    request_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("login_relying_parties.id"))
    login_id: Mapped[str] = mapped_column(ForeignKey("logins.id", ondelete="CASCADE"), index=True)
    ecard_no: Mapped[str | None] = mapped_column(ForeignKey("ecards.ecard_no"), index=True)
    scope: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(8))
    grant_id: Mapped[str | None] = mapped_column(ForeignKey("login_grants.id", ondelete="CASCADE"), index=True)
    interval_s: Mapped[int]
    asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LoginUseRow(Base):
    """A log-in as its holder sees it afterwards. `sign_no`: the phone that approved it, null without one; `items`:
    names of what the relying party may ask for, beside its own identifier of the person."""

    __tablename__ = "login_uses"
    __table_args__ = (Index("ix_login_uses_holder", "card_number", "at", "use_id"),)

    use_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    card_number: Mapped[str] = mapped_column(ForeignKey("cards.card_number"))
    sign_no: Mapped[str | None] = mapped_column(String(32))
    client_id: Mapped[str] = mapped_column(ForeignKey("login_relying_parties.id"))
    items: Mapped[list[str]] = mapped_column(JSON)
    acr: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class DenialRow(Base):
    """An entry of the deny list that an operator made: a network as address/length, or the id of a relying party."""

    __tablename__ = "login_denials"

    entry: Mapped[str] = mapped_column(String(64), primary_key=True)
    reason: Mapped[str] = mapped_column(String(256))
    created_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
