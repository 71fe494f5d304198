"""Knowing a person at a kiosk by the electronic card: a code on the screen, the holder's word at the phone.

It runs over the log-ins that everything else here uses (`issuance.login.transactions`): the centre itself is the
relying party, so no token ever reaches a kiosk. A log-in belongs to the kiosk that began it.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import Final

from cardlib.identity import SocialSecurityNumber
from issuance.cards.models import CardRow
from issuance.ecards.models import EcardRow
from issuance.ecards.usability import demand_usable
from issuance.login.relying_parties import CHANNEL_GRANT, RelyingPartyRepository
from issuance.login.seam import ACR_SCAN, AuthorizationRequest, Subject
from issuance.login.transactions import (
    LINK_TTL_S,
    Browser,
    finished,
    is_code_over,
    link_address,
    link_code,
    look_up,
    open_transaction,
)
from issuance.login.unit import LoginUnit, login_unit
from issuance.persons.repository import PersonRepository
from issuance.problems import ProblemError
from issuance.self_service.evidence import Kind
from issuance.self_service.holders import Holders
from issuance.self_service.schemas import KioskLogIn, LogInLook, LogInQuestion
from issuance.self_service.visits import LASTS, KioskVisit, number_index
from issuance.services import Services
from issuance.unit import Desk
from onecard_ui.code_picture import LINK_MASK, picture_of

_SCOPES: Final = ("openid",)
_WAITING: Final = frozenset({"open", "claimed"})


@dataclass(frozen=True, slots=True)
class _Approved:
    person_id: str
    number: str
    card_number: str


async def is_offered(services: Services) -> bool:
    """Whether an operator has registered the relying party of kiosks."""
    async with login_unit(services, is_reading=True) as unit:
        return await _is_party(unit)


async def begin(desk: Desk, address: str) -> KioskLogIn:
    """`address` of the kiosk, which the phone shows. Raises LOGIN_DENIED, LOGIN_LIMITED, ONE_TIME_UNAVAILABLE."""
    services = desk.services
    secret = secrets.token_urlsafe(32)
    async with desk.ahead():
        async with login_unit(services) as unit:
            if not await _is_party(unit):
                raise ProblemError("LOGIN_DENIED", "no relying party for kiosks is registered")
            wanted = AuthorizationRequest(services.settings.kiosk_login_party, "", _SCOPES, acr_values=(ACR_SCAN,))
            made = await open_transaction(unit, wanted, Browser(_bound(desk, secret), address, ""))
        link = await link_code(services, made, made.browser)
    text = link_address(services, link.code)
    picture = await asyncio.to_thread(picture_of, text.encode(), mask=LINK_MASK)
    return KioskLogIn(log_in=f"{made.id}.{secret}", text=text, svg=picture.svg(), number=made.number, ttl_s=LINK_TTL_S)


async def look(desk: Desk, question: LogInQuestion) -> LogInLook:
    """Raises NOT_FOUND for another terminal's, ECARD_NOT_USABLE."""
    login_id, _, secret = question.log_in.partition(".")
    browser = _bound(desk, secret)
    async with desk.ahead():
        async with login_unit(desk.services, is_reading=True) as unit:
            login = await look_up(unit, login_id, browser)
        if login.stage in _WAITING:
            return LogInLook(stage="over" if is_code_over(login, desk.services.clock()) else login.stage)
        if login.stage != "approved":
            return LogInLook(stage=login.stage)
        async with login_unit(desk.services) as unit:
            outcome = await finished(unit, login_id, browser)
            approved = await _approved(unit, outcome) if isinstance(outcome, Subject) else None
    if approved is None:
        return LogInLook(stage="over")
    async with desk.unit() as counter:
        number = SocialSecurityNumber.parse(approved.number)
        ends, index = counter.now + LASTS, number_index(counter, number)
        visit = KioskVisit(approved.person_id, index, frozenset({Kind.ECARD}), approved.card_number, ends)
        return LogInLook(stage="approved", holder=await Holders(counter).view(visit, number, question.region))


async def _approved(unit: LoginUnit, subject: Subject) -> _Approved:
    ecard = await unit.session.get_one(EcardRow, subject.ecard_no)
    demand_usable(unit, ecard, await unit.session.get_one(CardRow, subject.card_number))
    person = await PersonRepository(unit.session, unit.services.sealer).data(ecard.person_id)
    await unit.audit(
        "login.kiosk",
        f"ecard:{ecard.ecard_no}",
        region=None,
        detail={"client": unit.services.settings.kiosk_login_party},
    )
    return _Approved(ecard.person_id, person.social_security_number, subject.card_number)


async def _is_party(unit: LoginUnit) -> bool:
    party = await RelyingPartyRepository(unit.session).get(unit.services.settings.kiosk_login_party)
    return party is not None and party.status == "active" and CHANNEL_GRANT in party.grant_types


def _bound(desk: Desk, secret: str) -> str:
    """No cookie looks like it, so no browser can be taken to the page of such a log-in."""
    return f"kiosk.{desk.caller.client_id}.{secret}"
