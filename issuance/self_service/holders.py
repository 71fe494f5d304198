"""Who stands at a kiosk, and what that person may see and do there now."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from cardlib.identity import SocialSecurityNumber
from issuance.applications.models import ApplicationRow
from issuance.applications.repository import ApplicationRepository
from issuance.applications.schemas import Channel
from issuance.cards.life_cycle import LifeCycle
from issuance.cards.models import CardRow
from issuance.cards.repository import CardRepository
from issuance.clock import age_on, china_date
from issuance.input_rules import field_error
from issuance.persons.checks import PersonChecker, parse_date
from issuance.persons.models import PersonRow
from issuance.persons.repository import PersonRepository, name_index
from issuance.persons.schemas import PersonData
from issuance.persons.service import masked
from issuance.photos.service import is_confirmed
from issuance.problems import ProblemError, bad_input
from issuance.progress.repository import ProgressRepository
from issuance.progress.service import ProgressService
from issuance.rules import Rules
from issuance.self_service.applicants import is_in_hands
from issuance.self_service.cards import CardViews
from issuance.self_service.evidence import KioskAct, missing
from issuance.self_service.repository import KioskRepository
from issuance.self_service.schemas import ApplyView, HolderQuestion, HolderView, OpenApplication
from issuance.self_service.visits import LASTS, KioskVisit, number_index
from issuance.self_service.words import Pair, words
from issuance.unit import Unit

MOST_OF_A_KIOSK: Final = 30
"""Persons a minute at one kiosk."""
_AT_KIOSK: Final = frozenset({"checked", "reserved", "personalized", "verified"})


class Holders:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._rows = KioskRepository(unit.session)
        self._persons = PersonRepository(unit.session, unit.services.sealer)

    async def known(self, question: HolderQuestion) -> HolderView:
        """Raises INPUT_INVALID, REQUEST_LIMIT, HOLDER_MISMATCH."""
        checker = PersonChecker(china_date(self._unit.now))
        number = checker.number(question.social_security_number, "body.social_security_number")
        if number is None:
            raise bad_input(*checker.errors)
        index = number_index(self._unit, number)
        self._demand_rate(index)
        person = await self._rows.person(bytes.fromhex(index))
        shown = [evidence.card_number for evidence in question.evidence if evidence.card_number is not None]
        card = await self._presented(shown)
        if not self._fits(question, person, card, bool(shown)):
            subject = "" if person is None else f"person:{person.id}"
            raise ProblemError("HOLDER_MISMATCH", subject=subject)
        visit = KioskVisit(
            person_id="" if person is None else person.id,
            number_index=index,
            evidence=frozenset(evidence.kind for evidence in question.evidence),
            card_number="" if card is None else card.card_number,
            ends=self._unit.now + LASTS,
        )
        return await self.view(visit, number, question.region)

    async def view(self, visit: KioskVisit, number: SocialSecurityNumber, region: str | None) -> HolderView:
        """Recorded: whoever was looked at can read it."""
        unit = self._unit
        is_open_to_see = not missing(KioskAct.LOOK, visit.evidence)
        person = await self._persons.data(visit.person_id) if visit.person_id else None
        cards = await self._rows.cards(visit.person_id) if visit.person_id else []
        open_id = await ApplicationRepository(unit.session).open_of(visit.person_id) if visit.person_id else None
        region = region or unit.caller.region or (cards[0].region if cards else None)
        if region is None:
            raise bad_input(field_error("body.region", "needed_here"))
        rules = unit.rules(region)
        detail = {"evidence": sorted(visit.evidence)}
        subject = f"person:{visit.person_id}" if visit.person_id else ""
        await unit.audit("self_service.look", subject, region=region, detail=detail)
        seen = cards if is_open_to_see else [row for row in cards if row.card_number == visit.card_number]
        if visit.is_by_phone and cards:
            unit.holder_of = visit.card_number
        views = CardViews(unit, visit, open_application=open_id is not None)
        application = await self._application(open_id) if open_id is not None and is_open_to_see else None
        needs_guardian = _needs_guardian(unit, rules, number, person)
        return HolderView(
            visit=visit.sealed(unit),
            expires_at=visit.ends,
            evidence=sorted(visit.evidence),
            is_known=bool(cards or open_id),
            holder=None if person is None else masked(person),
            cards=[await views.of(row) for row in seen],
            application=application,
            apply=await self._apply(visit, rules, open_id, needs_guardian),
            photo_id=await self._photo(visit, rules, region) if is_open_to_see and person is not None else None,
            photo_required=Channel.KIOSK.value in rules.photo_required_channels,
            guardian_needed=needs_guardian,
            sign_up_url=unit.services.settings.ecard_sign_up_url,
        )

    # -- who it is ----------------------------------------------------------------------------------------------

    async def _presented(self, numbers: Sequence[str]) -> CardRow | None:
        if len({number.upper().replace("-", "") for number in numbers}) > 1:
            raise bad_input(field_error("body.evidence", "value"))
        if not numbers:
            return None
        try:
            return await LifeCycle(self._unit).card(numbers[0], is_locking=False, place="body.evidence.card_number")
        except ProblemError as refusal:
            if refusal.failure == "NOT_FOUND":
                return None
            raise

    def _fits(self, question: HolderQuestion, person: PersonRow | None, card: CardRow | None, has_shown: bool) -> bool:
        """Nobody known, with an identity card alone, is somebody new; a card that is shown is this person's."""
        if has_shown and (card is None or person is None or card.person_id != person.id):
            return False
        if person is None:
            return True
        sealer = self._unit.services.sealer
        data = self._persons.opened(person.id, person.sealed)
        return hmac.compare_digest(name_index(sealer, question.name), name_index(sealer, data.name))

    def _demand_rate(self, name: str) -> None:
        services, now = self._unit.services, self._unit.now
        is_allowed = (
            services.kiosk_visits.allows(self._unit.caller.client_id, now),
            services.kiosk_persons.allows(name, now),
        )
        if not all(is_allowed):
            raise ProblemError("REQUEST_LIMIT", "too many persons at this kiosk, or questions about one")

    # -- what is open to them -----------------------------------------------------------------------------------

    async def _apply(self, visit: KioskVisit, rules: Rules, open_id: str | None, needs_guardian: bool) -> ApplyView:
        no = await self._no_application(visit, open_id, needs_guardian)
        needs = [] if no is not None else missing(KioskAct.APPLY, visit.evidence)
        text_zh, text_en = no or words("yes", "apply")
        return ApplyView(
            possible=no is None and not needs,
            needs=needs,
            text_zh=text_zh,
            text_en=text_en,
            fee_fen=rules.fees_fen.new,
        )

    async def _no_application(self, visit: KioskVisit, open_id: str | None, needs_guardian: bool) -> Pair | None:
        if visit.person_id:
            cards = CardRepository(self._unit.session)
            if open_id is not None:
                return words("no", "application_open")
            if await cards.person_end(visit.person_id) is not None:
                return words("no", "ended")
            live = await cards.live_of(visit.person_id)
            if live is not None:
                is_here = live.region.startswith(self._unit.caller.region_prefix)
                return words("no", "has_card" if is_here else "card_elsewhere")
        return words("no", "guardian") if needs_guardian else None

    async def _photo(self, visit: KioskVisit, rules: Rules, region: str) -> str | None:
        """One that an application would take (`PhotoService.take`)."""
        since = china_date(self._unit.now) - timedelta(days=rules.photo.taken_within_days)
        book = self._unit.services.rules
        for row in await self._rows.photos(visit.person_id, since):
            if book.pack(row.region) is book.pack(region) and is_confirmed(row):
                return row.id
        return None

    async def _application(self, application_id: str) -> OpenApplication:
        unit = self._unit
        row = await ApplicationRepository(unit.session).get(application_id, is_locking=False)
        if row is None:
            return _elsewhere()
        progress = await ProgressService(unit.services).of_application(ProgressRepository(unit.session), row)
        payment = await self._rows.payment(row.id)
        is_paid = payment is None or payment.state == "registered"
        return OpenApplication(
            id=row.id,
            receipt_number=row.receipt_number,
            kind=row.kind,
            state=row.state,
            step=row.case_step,
            text_zh=progress.text_zh,
            text_en=progress.text_en,
            next_zh=progress.next_zh,
            next_en=progress.next_en,
            stages=progress.stages,
            can_continue=is_paid and await self.is_makeable(row),
            is_mine=await is_in_hands(unit, row),
            stuck=row.case_reason,
            fee_fen=0 if payment is None else payment.amount_fen,
            is_paid=is_paid,
            reset_information=row.reset_information,
            pick_up=progress.pick_up,
            created_at=row.created_at,
        )

    async def is_makeable(self, row: ApplicationRow) -> bool:
        """Its card may be made at a kiosk of the issuing region; one that a factory makes is not made twice."""
        is_here = row.region.startswith(self._unit.caller.region_prefix) and row.delivery == "counter"
        return is_here and row.state in _AT_KIOSK and not await self._rows.is_in_batch(row.id)


def _needs_guardian(unit: Unit, rules: Rules, number: SocialSecurityNumber, person: PersonData | None) -> bool:
    """An assigned number does not tell the birth date; what is registered does."""
    born = number.birth_date or (None if person is None else parse_date(person.birth_date))
    return born is not None and age_on(born, china_date(unit.now)) < rules.guardian_age


def _elsewhere() -> OpenApplication:
    text_zh, text_en = words("no", "application_elsewhere")
    next_zh, next_en = words("no", "elsewhere_next")
    return OpenApplication(
        id=None, receipt_number=None, kind="", state="", step=None, text_zh=text_zh, text_en=text_en,
        next_zh=next_zh, next_en=next_en, stages=[], can_continue=False, is_mine=False, stuck=None, fee_fen=0,
        is_paid=True, reset_information=None, pick_up=None, created_at=None,
    )  # fmt: skip
