"""Queries over consents. A verifier acts in every region and a holder sees all own consents, so `get`, `card_of` and
`entry_ids` look everywhere; whose a consent is, is compared by who calls them.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.audit.models import AuditRow
from issuance.cards.models import CardRow
from issuance.clients.models import ClientRow
from issuance.consents.models import ConsentRow, ConsentUseRow
from issuance.database import ROW_LOCK
from issuance.ecards.models import EcardRow
from issuance.problems import ProblemError
from issuance.scope import unscoped

_EVERYWHERE = "a verifier honours cards from everywhere; a holder's own consents are the holder's"


class ConsentRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: ConsentRow) -> None:
        self._session.add(row)
        await self._session.flush()

    async def get(self, consent_id: str, *, is_locking: bool = False) -> ConsentRow | None:
        lock = ROW_LOCK if is_locking else None
        with unscoped(self._session, why=_EVERYWHERE):
            return await self._session.get(ConsentRow, consent_id, with_for_update=lock, populate_existing=is_locking)

    async def card_of(self, ecard_no: str) -> tuple[EcardRow, CardRow]:
        """Raises NOT_FOUND."""
        with unscoped(self._session, why=_EVERYWHERE):
            query = select(EcardRow, CardRow).join(CardRow, CardRow.card_number == EcardRow.card_number)
            found = (await self._session.execute(query.where(EcardRow.ecard_no == ecard_no))).one_or_none()
        if found is None:
            raise ProblemError("NOT_FOUND", "no such electronic card", subject=f"ecard:{ecard_no}")
        return found[0], found[1]

    async def recipient(self, client_id: str) -> str:
        """The name under which a recipient is registered."""
        with unscoped(self._session, why="a recipient may be registered in another region"):
            name: str | None = await self._session.scalar(select(ClientRow.name).where(ClientRow.id == client_id))
        return name or client_id

    async def open_counts(self, ecard_no: str, client_id: str, now: datetime) -> tuple[int, int]:
        """Requests that the holder has still to answer, all and this recipient's; the electronic card is locked
        meanwhile."""
        with unscoped(self._session, why=_EVERYWHERE):
            await self._session.get_one(EcardRow, ecard_no, with_for_update=ROW_LOCK)
            query = select(ConsentRow.client_id).where(
                ConsentRow.ecard_no == ecard_no, ConsentRow.state == "waiting", ConsentRow.answer_by > now
            )
            askers = list(await self._session.scalars(query))
        return len(askers), askers.count(client_id)

    async def has_live(self, client_id: str, ecard_no: str, now: datetime) -> bool:
        query = select(ConsentRow.id).where(
            ConsentRow.client_id == client_id,
            ConsentRow.ecard_no == ecard_no,
            ConsentRow.state == "live",
            ConsentRow.ends_at > now,
        )
        with unscoped(self._session, why=_EVERYWHERE):
            return await self._session.scalar(query.limit(1)) is not None

    async def waiting(self, ecard_no: str, now: datetime) -> list[ConsentRow]:
        query = select(ConsentRow).where(
            ConsentRow.ecard_no == ecard_no, ConsentRow.state == "waiting", ConsentRow.answer_by > now
        )
        with unscoped(self._session, why=_EVERYWHERE):
            return list(await self._session.scalars(query.order_by(ConsentRow.asked_at.desc(), ConsentRow.id)))

    async def entry_ids(self, consent_id: str, first: int, limit: int) -> list[int]:
        """Of the audit entries of what was done, from number `first` on."""
        query = select(AuditRow.id).where(AuditRow.subject == f"consent:{consent_id}", AuditRow.outcome == "ok")
        with unscoped(self._session, why=_EVERYWHERE):
            return list(await self._session.scalars(query.order_by(AuditRow.id).offset(first - 1).limit(limit)))

    async def empty(self, person_id: str) -> None:
        """Forget the words of every consent of a person."""
        mine = select(EcardRow.ecard_no).where(EcardRow.person_id == person_id)
        await self._session.execute(update(ConsentRow).where(ConsentRow.ecard_no.in_(mine)).values(sealed_terms=None))


def granted(ecard_no: str) -> Select[ConsentRow]:
    """Also those that are over, until their words are forgotten."""
    return select(ConsentRow).where(
        ConsentRow.ecard_no == ecard_no,
        ConsentRow.state.in_(("live", "revoked")),
        ConsentRow.sealed_terms.is_not(None),
    )


def uses_of(consent_id: str) -> Select[ConsentUseRow]:
    return select(ConsentUseRow).where(ConsentUseRow.consent_id == consent_id)
