"""Rows of electronic cards, of the phones they are on and of family members."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime

_ACTIVE = text("state = 'active'")
_LIVE = text("state IN ('asked', 'active')")
_NOT_ACTIVE = text("state <> 'active'")


class EcardRow(Base):
    """The line form of one physical card. `ecard_no` (esscNo) is 32 hex digits that say nothing about the holder.

    `authorised`: the card is lost and the holder has allowed the electronic one to go on. The password is one for all
    channels; `password_epoch` counts its changes, `wrong_at` holds the Unix seconds of wrong ones of the last day.
    """

    __tablename__ = "ecards"
    __table_args__ = (
        CheckConstraint("state IN ('active', 'suspended', 'authorised', 'locked', 'cancelled')", name="state"),
        CheckConstraint("level IN (1, 2)", name="level"),
        Index("ix_ecards_not_active", "ecard_no", sqlite_where=_NOT_ACTIVE, postgresql_where=_NOT_ACTIVE),
    )

    ecard_no: Mapped[str] = mapped_column(String(32), primary_key=True)
    card_number: Mapped[str] = mapped_column(ForeignKey("cards.card_number"), unique=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("persons.id"), index=True)
    level: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str | None] = mapped_column(String(160))
    password_epoch: Mapped[int] = mapped_column(default=0)
    wrong_at: Mapped[list[int]] = mapped_column(JSON, default=list)
    password_locked_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LinkRow(Base):
    """签发: an electronic card on one phone app. `client_id` is its channel, `public_key` the phone's SM2 point.

    `replaced`: the holder signed again on this channel, with another phone.
    """

    __tablename__ = "ecard_links"
    __table_args__ = (
        CheckConstraint("state IN ('active', 'unlinked', 'replaced')", name="state"),
        Index(
            "uq_ecard_links_active",
            "ecard_no",
            "client_id",
            unique=True,
            sqlite_where=_ACTIVE,
            postgresql_where=_ACTIVE,
        ),
    )

    sign_no: Mapped[str] = mapped_column(String(32), primary_key=True)
    sign_seq: Mapped[str] = mapped_column(String(20), unique=True)
    ecard_no: Mapped[str] = mapped_column(ForeignKey("ecards.ecard_no"), index=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id"))
    public_key: Mapped[bytes] = mapped_column(LargeBinary(33))
    state: Mapped[str] = mapped_column(String(16))
    signed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class FamilyRow(Base):
    """亲情服务: the holder of `ecard_no` may show codes for the holder of `member_no`, who has confirmed it.

    `sealed_portrait`: of a member below the guardian's age, JPEG.
    """

    __tablename__ = "ecard_family"
    __table_args__ = (
        CheckConstraint("relation IN ('parent', 'child', 'spouse', 'other')", name="relation"),
        CheckConstraint("state IN ('asked', 'active', 'refused', 'ended')", name="state"),
        Index("uq_ecard_family_live", "ecard_no", "member_no", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    ecard_no: Mapped[str] = mapped_column(ForeignKey("ecards.ecard_no"), index=True)
    member_no: Mapped[str] = mapped_column(ForeignKey("ecards.ecard_no"), index=True)
    relation: Mapped[str] = mapped_column(String(8))
    state: Mapped[str] = mapped_column(String(8))
    sealed_portrait: Mapped[bytes | None] = mapped_column(LargeBinary)
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
