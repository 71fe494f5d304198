"""亲情服务: whom a holder shows codes for. An adult agrees on the own phone; a minor's guardian need not ask."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import secrets
from datetime import datetime
from typing import Final

from issuance.applications.models import ApplicationRow
from issuance.applications.service import parties_context
from issuance.cards.models import CardRow
from issuance.cards.repository import CardRepository
from issuance.clock import age_on, china_date
from issuance.ecards.access import HolderCall
from issuance.ecards.family_schemas import (
    FamilyAsk,
    FamilyPlaces,
    FamilyRequest,
    FamilyRequests,
    FamilyView,
    Member,
    Relation,
)
from issuance.ecards.models import EcardRow, FamilyRow
from issuance.ecards.repository import EcardRepository, FamilyRepository
from issuance.ecards.service import EcardService
from issuance.ecards.signing import Claimed
from issuance.ecards.usability import demand_usable
from issuance.input_rules import field_error
from issuance.persons.repository import PersonRepository
from issuance.persons.schemas import PersonData
from issuance.persons.service import masked
from issuance.photos.check import check_photo
from issuance.photos.face import face_finder
from issuance.problems import ProblemError, bad_input
from issuance.rules import Rules
from issuance.unit import Desk

_BIRTH: Final = "%Y%m%d"
_PLACE: Final = "body.portrait"


class FamilyService:
    def __init__(self, call: HolderCall) -> None:
        self._call = call
        self._unit = call.unit
        self._family = FamilyRepository(call.unit.session)
        self._ecards = EcardRepository(call.unit.session)
        self._persons = PersonRepository(call.unit.session, call.unit.services.sealer)

    async def view(self) -> FamilyView:
        rows = await self._family.live_of(self._call.ecard.ecard_no)
        rules = self._unit.rules(self._call.card.region)
        slots = [
            FamilyPlaces(relation=relation, used=_count(rows, relation), of=getattr(rules.family_slots, relation.value))
            for relation in Relation
        ]
        return FamilyView(items=[await self._member(row) for row in rows], slots=slots, total=rules.family_total)

    async def requests(self) -> FamilyRequests:
        """Who asks to show this holder's codes, and who may."""
        rows = await self._family.live_with(self._call.ecard.ecard_no)
        return FamilyRequests(items=[await self._request(row) for row in rows])

    async def ask(self, request: FamilyAsk, found: Claimed, jpeg: bytes | None) -> Member:
        """Raises FAMILY_LIMIT, FAMILY_GUARDIAN, CONFLICT for one who is asked or there already, ECARD_NOT_USABLE."""
        mine = await self._call.lock()
        demand_usable(self._unit, mine, self._call.card)
        if found.person_id == mine.person_id:
            raise bad_input(field_error("body.social_security_number", "family_self"))
        await self._demand_room(request.relation)
        card = await self._unit.session.get_one(CardRow, found.card_number)
        if jpeg is not None:
            await self._demand_guardian(card)
        row = self._row(request.relation, await EcardService(self._unit).create(card), jpeg)
        if not await self._family.add(row):
            raise ProblemError("CONFLICT", "this member is asked or there already", subject=self._call.subject)
        await self._call.audit("family.ask", family=row.id, member=row.member_no, relation=row.relation)
        return await self._member(row)

    async def answer(self, family_id: str, *, is_agreed: bool) -> FamilyRequest:
        """The member's own word. Raises NOT_FOUND, CONFLICT for a request that is answered.

        A child's word is none: it would still count when the child has come of age.
        """
        row = await self._mine(family_id, as_member=True)
        if row.state != "asked" and row.answered_at is not None:
            raise ProblemError("CONFLICT", "this request has been answered", subject=self._call.subject)
        if row.state != "asked" and await self._is_child():
            raise ProblemError("CONFLICT", "a child's guardian has answered", subject=self._call.subject)
        row.answered_at, row.sealed_portrait = self._unit.now, None
        row.state = "active" if is_agreed else "refused"
        if not is_agreed:
            row.ended_at = self._unit.now
        await self._call.audit(f"family.{'confirm' if is_agreed else 'refuse'}", family=row.id, asker=row.ecard_no)
        return await self._request(row)

    async def end(self, family_id: str) -> Member:
        """By either side. Raises NOT_FOUND."""
        row = await self._mine(family_id)
        row.state, row.ended_at, row.sealed_portrait = "ended", self._unit.now, None
        await self._call.audit("family.end", family=row.id, member=row.member_no, asker=row.ecard_no)
        return await self._member(row)

    async def _is_child(self) -> bool:
        person = await self._persons.data(self._call.ecard.person_id)
        return is_minor(person, self._unit.rules(self._call.card.region), self._unit.now)

    async def _mine(self, family_id: str, *, as_member: bool = False) -> FamilyRow:
        row = await self._family.get(family_id, is_locking=True)
        sides = () if row is None else (row.member_no,) if as_member else (row.ecard_no, row.member_no)
        if row is None or self._call.ecard.ecard_no not in sides or row.state not in ("asked", "active"):
            raise ProblemError("NOT_FOUND", "no such family member", subject=self._call.subject)
        return row

    async def _demand_room(self, relation: Relation) -> None:
        rules = self._unit.rules(self._call.card.region)
        rows = await self._family.live_of(self._call.ecard.ecard_no)
        if len(rows) >= rules.family_total or _count(rows, relation) >= getattr(rules.family_slots, relation.value):
            raise ProblemError("FAMILY_LIMIT", f"no room for another {relation}", subject=self._call.subject)

    async def _demand_guardian(self, card: CardRow) -> None:
        """Whoever knows a child's numbers must not show its codes: the application says who the guardian is."""
        row = await self._unit.session.get_one(ApplicationRow, card.application_id)
        sealed = row.sealed_parties
        parties = {} if sealed is None else self._unit.services.sealer.unseal(sealed, parties_context(row.id))
        guardian = (parties.get("guardian") or {}).get("social_security_number", "")
        holder = await self._persons.data(self._call.ecard.person_id)
        if not hmac.compare_digest(guardian.encode(), holder.social_security_number.encode()):
            raise ProblemError("FAMILY_GUARDIAN", subject=self._call.subject)

    def _row(self, relation: Relation, member_no: str, jpeg: bytes | None) -> FamilyRow:
        family_id = secrets.token_hex(16)
        sealed = None
        if jpeg is not None:
            sealed = self._unit.services.sealer.seal(base64.b64encode(jpeg).decode(), portrait_context(family_id))
        return FamilyRow(
            id=family_id,
            ecard_no=self._call.ecard.ecard_no,
            member_no=member_no,
            relation=relation.value,
            state="asked" if jpeg is None else "active",
            sealed_portrait=sealed,
            asked_at=self._unit.now,
        )

    async def _member(self, row: FamilyRow) -> Member:
        return Member(
            id=row.id,
            relation=Relation(row.relation),
            name=await self._name(row.member_no),
            state=row.state,
            has_portrait=row.sealed_portrait is not None,
            asked_at=row.asked_at,
            answered_at=row.answered_at,
        )

    async def _request(self, row: FamilyRow) -> FamilyRequest:
        return FamilyRequest(
            id=row.id,
            relation=Relation(row.relation),
            asker=await self._name(row.ecard_no),
            state=row.state,
            asked_at=row.asked_at,
            answered_at=row.answered_at,
        )

    async def _name(self, ecard_no: str) -> str:
        ecard = await self._ecards.get(ecard_no)
        return "" if ecard is None else masked(await self._persons.data(ecard.person_id)).name


async def member_of(call: HolderCall, family_id: str) -> tuple[EcardRow, CardRow]:
    """The member whose code the holder may show. Raises NOT_FOUND, ECARD_NOT_USABLE.

    A child that has come of age has to agree as an adult does.
    """
    session = call.unit.session
    row = await FamilyRepository(session).get(family_id)
    if row is None or row.ecard_no != call.ecard.ecard_no or row.state != "active":
        raise ProblemError("NOT_FOUND", "no such family member", subject=call.subject)
    ecard = await EcardRepository(session).get(row.member_no)
    card = None if ecard is None else await CardRepository(session).get(ecard.card_number)
    if ecard is None or card is None:
        raise ProblemError("NOT_FOUND", "no such family member", subject=call.subject)
    demand_usable(call.unit, ecard, card)
    if row.answered_at is None:
        person = await PersonRepository(session, call.unit.services.sealer).data(ecard.person_id)
        if not is_minor(person, call.unit.rules(card.region), call.unit.now):
            raise ProblemError("ECARD_NOT_USABLE", "member_of_age", subject=f"ecard:{ecard.ecard_no}")
    return ecard, card


async def portrait_of(desk: Desk, request: FamilyAsk, found: Claimed) -> bytes | None:
    """The checked picture of a minor; None for an adult, whose picture is not kept.

    Raises INPUT_INVALID where it is missing, PHOTO_REJECTED with what is wrong with it.
    """
    rules = desk.rules(found.region)
    if not is_minor(found.person, rules, desk.services.clock()):
        return None
    if request.portrait is None:
        raise bad_input(field_error(_PLACE, "missing"))
    try:
        jpeg = base64.b64decode(request.portrait, validate=True)
    except (binascii.Error, ValueError):
        raise bad_input(field_error(_PLACE, "photo_not_jpeg"), failure="PHOTO_REJECTED") from None
    report = await asyncio.to_thread(check_photo, jpeg, rules.photo, face_finder())
    if report.errors:
        raise bad_input(*report.errors, failure="PHOTO_REJECTED")
    return jpeg


def is_minor(person: PersonData, rules: Rules, now: datetime) -> bool:
    return age_on(datetime.strptime(person.birth_date, _BIRTH).date(), china_date(now)) < rules.guardian_age


def portrait_context(family_id: str) -> str:
    return f"ecard_family.portrait:{family_id}"


def _count(rows: list[FamilyRow], relation: Relation) -> int:
    return sum(row.relation == relation for row in rows)
