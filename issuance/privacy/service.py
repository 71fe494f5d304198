"""Showing what is masked, for a reason that is kept; finding persons by what is only there as keyed digests."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select

from issuance.applications.models import ApplicationRow
from issuance.applications.service import parties_context
from issuance.bank.models import AccountRow
from issuance.cards.models import CardRow
from issuance.persons.models import PersonRow
from issuance.persons.repository import PersonRepository, name_index, person_context
from issuance.persons.schemas import PersonData
from issuance.persons.service import masked
from issuance.privacy.schemas import PersonHit, PersonQuery, Revealed, RevealField, RevealRequest
from issuance.problems import ProblemError
from issuance.unit import Unit

MAX_REVEALS_A_MINUTE: Final = 30
MAX_HITS: Final = 50
"""A name that many bear: the number or the card tells them apart."""


class RevealService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    async def reveal(self, request: RevealRequest) -> Revealed:
        """Audited as `person.reveal` with its reason. Raises NOT_FOUND, and REQUEST_LIMIT for who asks too often."""
        unit = self._unit
        if not unit.services.reveals.allows(unit.by, unit.now):
            raise ProblemError("REQUEST_LIMIT", f"at most {MAX_REVEALS_A_MINUTE} a minute", subject=request.subject)
        application, account = await self._rows(request.subject)
        person = await PersonRepository(unit.session, unit.services.sealer).data(application.person_id)
        known = _of_person(person) | self._of_parties(application) | self._of_account(account)
        await unit.audit(
            "person.reveal",
            request.subject,
            region=application.region,
            application_id=application.id,
            reason=request.reason,
            detail={"fields": sorted(set(request.fields))},
        )
        fields: dict[RevealField, str | None] = {name: known.get(name) for name in request.fields}
        return Revealed(subject=request.subject, fields=fields)

    async def _rows(self, subject: str) -> tuple[ApplicationRow, AccountRow | None]:
        kind, _, key = subject.partition(":")
        session = self._unit.session
        account = None
        if kind == "card":
            query = select(ApplicationRow).join(CardRow, CardRow.application_id == ApplicationRow.id)
            application = await session.scalar(query.where(CardRow.card_number == key))
            account = await session.scalar(select(AccountRow).where(AccountRow.card_number == key))
        else:
            application = await session.scalar(select(ApplicationRow).where(ApplicationRow.id == key))
        if application is None:
            raise ProblemError("NOT_FOUND", "no such application or card", subject=subject)
        return application, account

    def _of_parties(self, row: ApplicationRow) -> dict[str, str | None]:
        if row.sealed_parties is None:
            return {}
        parties: dict[str, Any] = self._unit.services.sealer.unseal(row.sealed_parties, parties_context(row.id))
        found: dict[str, str | None] = {}
        for party in ("guardian", "agent"):
            held = parties.get(party) or {}
            found |= {f"{party}_{name}": held.get(name) for name in ("name", "social_security_number", "telephone")}
        delivery = parties.get("delivery") or {}
        return found | {
            "recipient_name": delivery.get("recipient"),
            "recipient_telephone": delivery.get("telephone"),
            "address": delivery.get("address"),
        }

    def _of_account(self, row: AccountRow | None) -> dict[str, str | None]:
        if row is None or row.sealed_account is None:
            return {}
        context = f"{AccountRow.__tablename__}:{row.card_number}"
        return {"account_number": self._unit.services.sealer.unseal(row.sealed_account, context)}


class PersonSearch:
    """Only persons with an application or a card in the regions of the caller."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    async def find(self, query: PersonQuery) -> list[PersonHit]:
        """At most `MAX_HITS`; audited as `person.search`, with how many were found."""
        found = (
            await self.by_name(query.name) if query.name else await self.by_number(query.social_security_number or "")
        )
        kind = "name" if query.name else "number"
        await self._unit.audit(
            "person.search", "", region=self._unit.caller.region, detail={"by": kind, "found": len(found)}
        )
        return found

    async def by_name(self, name: str) -> list[PersonHit]:
        return await self._hits(PersonRow.name_index == name_index(self._unit.services.sealer, name))

    async def by_number(self, number: str) -> list[PersonHit]:
        index = self._unit.services.sealer.index("social_security_number", number.strip().upper())
        return await self._hits(PersonRow.number_index == index)

    async def _hits(self, condition: Any) -> list[PersonHit]:
        """The scope of the session limits the applications, and so the persons: four statements whatever is found."""
        session = self._unit.session
        query = (
            select(ApplicationRow.id, ApplicationRow.person_id)
            .join(PersonRow, PersonRow.id == ApplicationRow.person_id)
            .where(condition)
            .order_by(ApplicationRow.created_at.desc(), ApplicationRow.id)
            .limit(MAX_HITS)
        )
        applications = (await session.execute(query)).all()
        ids = list(dict.fromkeys(row.person_id for row in applications))
        if not ids:
            return []
        rows = await session.execute(select(PersonRow.id, PersonRow.sealed).where(PersonRow.id.in_(ids)))
        sealed = {row.id: row.sealed for row in rows}
        held = select(CardRow.card_number, CardRow.person_id).where(CardRow.person_id.in_(ids))
        cards = (await session.execute(held.order_by(CardRow.created_at.desc()))).all()
        return [
            self._hit(
                person_id,
                sealed[person_id],
                [row.id for row in applications if row.person_id == person_id],
                [row.card_number for row in cards if row.person_id == person_id],
            )
            for person_id in ids
        ]

    def _hit(self, person_id: str, sealed: bytes, applications: list[str], cards: list[str]) -> PersonHit:
        person = PersonData.model_validate(self._unit.services.sealer.unseal(sealed, person_context(person_id)))
        return PersonHit(person_id=person_id, applications=applications, cards=cards, **masked(person).model_dump())


def _of_person(person: PersonData) -> dict[str, str | None]:
    return {
        "name": person.name,
        "social_security_number": person.social_security_number,
        "birth_date": person.birth_date,
        "telephone": person.telephone,
        "document_number": None if person.document is None else person.document.number,
    }
