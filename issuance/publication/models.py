"""Rows of what was published last."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime


class PublicationRow(Base):
    """One part of the publication (`parts.Part`), as long as this centre publishes it.

    `begun_at`: the first round it was part of. `failure` is the code of the last round, empty when all went well.
    Of the repository `next_at` says when the next round is due, whoever moves it on runs it, and `valid_until` when the
    first signature ends that the centre cannot renew. Of the block list `edition` and `entries` are the last ones,
    `full_at` is the moment of the full edition.
    """

    __tablename__ = "publications"

    part: Mapped[str] = mapped_column(String(24), primary_key=True)
    begun_at: Mapped[datetime] = mapped_column(UtcDateTime)
    next_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    published_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    full_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    valid_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    edition: Mapped[int] = mapped_column(BigInteger, default=0)
    entries: Mapped[int] = mapped_column(default=0)
    failure: Mapped[str] = mapped_column(String(48), default="")
