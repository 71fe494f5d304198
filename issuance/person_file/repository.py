"""Queries behind a person file: one statement a list, each with an end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.applications.models import ApplicationRow
from issuance.audit.models import AuditRow
from issuance.bank.models import AccountRow
from issuance.cards.models import CardEventRow, CardRow, FoundCardRow, RetiredChipRow, RewriteRow, SuccessionRow
from issuance.codes.models import EcardUseRow
from issuance.ecards.models import EcardRow
from issuance.photos.models import PhotoRow
from issuance.production.models import LineRow
from issuance.scope import in_regions
from issuance.terminals.models import CardUseRow

LIMITS: Final[dict[str, int]] = {
    "cards": 50,
    "applications": 50,
    "events": 200,
    "found": 50,
    "uses": 100,
    "documents": 50,
    "audit": 200,
}
_HSM_ACTS: Final = ("hsm.", "debit.")


class FileRepository:
    """`regions` is the prefix of those that the caller serves."""

    def __init__(self, session: AsyncSession, regions: str) -> None:
        self._session = session
        self._regions = regions

    async def owner(self, kind: str, key: str) -> str | None:
        """Id of the person behind a card, an application or a receipt; a person's own id is taken as it is."""
        sources: dict[str, tuple[Any, Any]] = {
            "card": (CardRow.person_id, CardRow.card_number),
            "application": (ApplicationRow.person_id, ApplicationRow.id),
            "receipt": (ApplicationRow.person_id, ApplicationRow.receipt_number),
        }
        if kind == "person":
            return key
        owner, column = sources[kind]
        found: str | None = await self._session.scalar(select(owner).where(column == key))
        return found

    async def cards(self, person_id: str) -> list[Any]:
        """Rows of card, account, electronic card, when a rewrite was asked for, retired chips."""
        retired = (
            select(func.count())
            .select_from(RetiredChipRow)
            .where(RetiredChipRow.card_number == CardRow.card_number)
            .scalar_subquery()
        )
        query = (
            select(CardRow, AccountRow, EcardRow, RewriteRow.asked_at, retired.label("retired"))
            .outerjoin(AccountRow, AccountRow.card_number == CardRow.card_number)
            .outerjoin(EcardRow, EcardRow.card_number == CardRow.card_number)
            .outerjoin(RewriteRow, RewriteRow.card_number == CardRow.card_number)
            .where(CardRow.person_id == person_id, in_regions(CardRow.region, self._regions))
            .order_by(CardRow.created_at.desc(), CardRow.card_number)
        )
        return list(await self._session.execute(query.limit(LIMITS["cards"] + 1)))

    async def applications(self, person_id: str) -> list[Any]:
        """Rows of application, card that it follows, batch; those of the regions served and those they accepted."""
        batch = select(func.max(LineRow.batch_id)).where(LineRow.application_id == ApplicationRow.id).scalar_subquery()
        seen = or_(
            in_regions(ApplicationRow.region, self._regions), in_regions(ApplicationRow.accepted_region, self._regions)
        )
        query = (
            select(ApplicationRow, SuccessionRow.card_number.label("follows"), batch.label("batch"))
            .outerjoin(SuccessionRow, SuccessionRow.application_id == ApplicationRow.id)
            .where(ApplicationRow.person_id == person_id, seen)
            .order_by(ApplicationRow.created_at.desc(), ApplicationRow.id)
        )
        return list(await self._session.execute(query.limit(LIMITS["applications"] + 1)))

    async def events(self, cards: Sequence[str]) -> list[CardEventRow]:
        query = select(CardEventRow).where(CardEventRow.card_number.in_(cards)).order_by(CardEventRow.id.desc())
        return await self._some(query, "events", cards)

    async def found(self, cards: Sequence[str]) -> list[FoundCardRow]:
        query = select(FoundCardRow).where(FoundCardRow.card_number.in_(cards)).order_by(FoundCardRow.id.desc())
        return await self._some(query, "found", cards)

    async def used_codes(self, ecards: Sequence[str]) -> list[EcardUseRow]:
        query = select(EcardUseRow).where(EcardUseRow.ecard_no.in_(ecards))
        return await self._some(query.order_by(EcardUseRow.at.desc()), "uses", ecards)

    async def terminal_uses(self, cards: Sequence[str]) -> list[CardUseRow]:
        query = select(CardUseRow).where(CardUseRow.card_number.in_(cards))
        return await self._some(query.order_by(CardUseRow.at.desc()), "uses", cards)

    async def route_uses(self, chips: Sequence[str]) -> list[AuditRow]:
        """What terminals did with these chips; the trail is where that is kept."""
        subjects = [f"chip:{chip}" for chip in chips]
        query = select(AuditRow).where(
            AuditRow.subject.in_(subjects), or_(*(AuditRow.act.startswith(act) for act in _HSM_ACTS))
        )
        return await self._some(query.order_by(AuditRow.id.desc()), "uses", chips)

    async def photos(self, person_id: str) -> list[PhotoRow]:
        query = select(PhotoRow).where(PhotoRow.person_id == person_id, in_regions(PhotoRow.region, self._regions))
        return await self._some(query.order_by(PhotoRow.created_at.desc(), PhotoRow.id), "documents", [person_id])

    async def audit(self, subjects: Sequence[str], applications: Sequence[str]) -> list[AuditRow]:
        """Two look-ups by index, because one with OR would be tempted to walk the whole trail backwards."""
        limit = LIMITS["audit"] + 1
        mine = in_regions(AuditRow.region, self._regions)
        found: dict[int, AuditRow] = {}
        for column, wanted in ((AuditRow.subject, subjects), (AuditRow.application_id, applications)):
            if wanted:
                query = select(AuditRow).where(column.in_(wanted), mine).order_by(AuditRow.id.desc()).limit(limit)
                found |= {row.id: row for row in await self._session.scalars(query)}
        return sorted(found.values(), key=lambda row: row.id, reverse=True)[:limit]

    async def _some(self, query: Select[Any], name: str, wanted: Sequence[str]) -> list[Any]:
        return list(await self._session.scalars(query.limit(LIMITS[name] + 1))) if wanted else []
