"""What a person does at a kiosk: one visit, its evidence asked for at every act."""

from __future__ import annotations

from typing import Final

from issuance.applications.repository import ApplicationRepository
from issuance.applications.schemas import ApplicationView, Channel
from issuance.applications.service import ApplicationService
from issuance.cards.commands import CardCommands
from issuance.cards.models import CardRow
from issuance.cards.schemas import CardOrder, LossOrder, RenewalOrder, ReplacementOrder
from issuance.codes.issuing import issue_code
from issuance.codes.schemas import CodeRequest, IssuedCode, Scene
from issuance.ecards.access import HolderCall
from issuance.ecards.repository import EcardRepository, LinkRepository
from issuance.problems import ProblemError
from issuance.self_service.cards import CAUSES, CardViews
from issuance.self_service.evidence import KioskAct, demand
from issuance.self_service.holders import Holders
from issuance.self_service.repository import KioskRepository
from issuance.self_service.schemas import KioskOrder, KioskResult, KioskSuccession
from issuance.self_service.visits import KioskVisit, handle_of, opened
from issuance.unit import Unit

_REASON: Final = "kiosk"


class KioskDesk:
    """Raises EVIDENCE_MISSING for a visit that is over or of another terminal."""

    def __init__(self, unit: Unit, visit: str) -> None:
        self._unit = unit
        self._visit = opened(unit, visit)
        self._commands = CardCommands(unit)

    @property
    def visit(self) -> KioskVisit:
        return self._visit

    async def act(self, order: KioskOrder) -> KioskResult:
        """Raises NOT_FOUND, EVIDENCE_MISSING, CARD_STATE."""
        row = await self._admitted(KioskAct(order.act), order.card)
        number, plain = row.card_number, CardOrder(reason=_REASON)
        match order.act:
            case KioskAct.LOSE_TEMPORARILY:
                done = await self._commands.lose(number, LossOrder(kind="temporary", reason=_REASON))
            case KioskAct.LOSE:
                done = await self._commands.lose(number, LossOrder(kind="formal", reason=_REASON))
            case _:
                done = await self._commands.act(number, order.act.value, plain)
        open_id = await ApplicationRepository(self._unit.session).open_of(self._visit.person_id)
        views = CardViews(self._unit, self._visit, open_application=open_id is not None)
        return KioskResult(result=done.result, code=done.code, card=await views.of(row))

    async def succeed(self, order: KioskSuccession) -> ApplicationView:
        """Raises NOT_FOUND, EVIDENCE_MISSING, CARD_STATE, CONFLICT, and what an application raises."""
        act = KioskAct(order.act)
        row = await self._admitted(act, order.card)
        common = {"channel": Channel.KIOSK, "photo_id": order.photo_id, "generation": row.generation}
        if act is KioskAct.RENEW:
            return await self._commands.renew(row.card_number, RenewalOrder.model_validate(common))
        replacement = ReplacementOrder.model_validate(common | {"cause": CAUSES[act]})
        return await self._commands.replace(row.card_number, replacement)

    async def go_on(self, application_id: str) -> ApplicationView:
        """Raises NOT_FOUND for another person's, EVIDENCE_MISSING, APPLICATION_STATE where no kiosk makes its card."""
        unit, visit = self._unit, self._visit
        row = await ApplicationRepository(unit.session).get(application_id)
        if row is None or not visit.person_id or row.person_id != visit.person_id:
            raise ProblemError("NOT_FOUND", "no such application of this person")
        demand(KioskAct.APPLY, visit.evidence, subject=f"application:{row.id}")
        if not await Holders(unit).is_makeable(row):
            raise ProblemError("APPLICATION_STATE", f"the application is {row.state}", application_id=row.id)
        row.kiosk = unit.caller.client_id
        await unit.session.flush()
        detail = {"act": KioskAct.APPLY.value, "evidence": sorted(visit.evidence)}
        await unit.audit(
            "self_service.act", f"application:{row.id}", region=row.region, application_id=row.id, detail=detail
        )
        return await ApplicationService(unit).view(row.id)

    async def code(self, card: str) -> IssuedCode:
        """An identity code, as the phone would show it that the electronic card was signed onto last.

        It lives and dies with that phone's link, and the phone's own record names its use. Raises NOT_FOUND,
        EVIDENCE_MISSING, ECARD_UNLINKED without such a phone, and what a code raises.
        """
        unit, row = self._unit, await self._admitted(KioskAct.CODE, card)
        ecard = await EcardRepository(unit.session).of_card(row.card_number)
        links = [] if ecard is None else await LinkRepository(unit.session).of(ecard.ecard_no)
        if ecard is None or not links:
            raise ProblemError("ECARD_UNLINKED", "on no phone yet", subject=f"card:{row.card_number}")
        newest = max(links, key=lambda link: link[0].signed_at)[0]
        await unit.audit("self_service.code", f"ecard:{ecard.ecard_no}", region=row.region)
        return await issue_code(HolderCall(unit, ecard, newest, row), CodeRequest(scene=Scene.IDENTITY))

    async def _admitted(self, act: KioskAct, handle: str) -> CardRow:
        """The card of this person that the handle stands for."""
        unit, visit = self._unit, self._visit
        cards = await KioskRepository(unit.session).cards(visit.person_id) if visit.person_id else []
        row = next((card for card in cards if handle_of(unit, card.card_number) == handle), None)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such card of this person")
        subject = f"card:{row.card_number}"
        shown = visit.shown_for(row.card_number)
        demand(act, shown, subject=subject)
        if visit.is_by_phone:
            unit.holder_of = row.card_number
        detail = {"act": act.value, "evidence": sorted(shown)}
        await unit.audit("self_service.act", subject, region=row.region, detail=detail)
        return row
