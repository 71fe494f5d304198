"""签发: an electronic card comes onto a phone. 三实: the person's own name and number, the person, the person's card.

Whatever does not fit is one failure, so that nobody learns from it which part was right.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import date
from typing import Final

from issuance.cards.machine import CardState
from issuance.cards.models import CardRow
from issuance.clock import china_date
from issuance.ecards import passwords
from issuance.ecards.models import EcardRow, LinkRow
from issuance.ecards.repository import EcardRepository, LinkRepository
from issuance.ecards.schemas import PersonClaim, SignedEcard, SigningRequest
from issuance.ecards.service import EcardService
from issuance.ecards.usability import level
from issuance.identity.adapters import IdentityOutcome
from issuance.persons.repository import PersonRepository, name_index
from issuance.persons.schemas import PersonData
from issuance.persons.service import masked
from issuance.problems import ProblemError
from issuance.unit import Desk, Unit

MOST_A_MINUTE: Final = 5
"""For one social security number, and for one card number."""
MOST_OF_A_CHANNEL: Final = 600
_NOT_SIGNED: Final = (CardState.SEALED, CardState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Whose card it is, as far as the books and the population register agree with what was claimed."""

    person: PersonData
    person_id: str
    card_number: str
    region: str
    ecard_no: str | None
    has_password: bool


async def claimed(desk: Desk, claim: PersonClaim) -> Claimed:
    """Check who claims a card. Raises REQUEST_LIMIT, ECARD_MISMATCH, IDENTITY_UNAVAILABLE."""
    _demand_rate(desk, claim)
    async with desk.services.database.transaction(is_reading=True, scope=desk.caller.scope) as session:
        found = await find_claimed(Unit(session, desk.services, desk.caller, desk.services.clock()), claim)
    answer = await desk.services.identity.ask(found.person)
    if answer.outcome is IdentityOutcome.UNAVAILABLE:
        raise ProblemError("IDENTITY_UNAVAILABLE", "the population register does not answer")
    if answer.outcome is not IdentityOutcome.MATCHES:
        raise _mismatch()
    return found


async def find_claimed(unit: Unit, claim: PersonClaim) -> Claimed:
    """What the books have under these three. Raises ECARD_MISMATCH."""
    sealer, ecards = unit.services.sealer, EcardRepository(unit.session)
    index = sealer.index("social_security_number", _number(claim))
    found = await ecards.holder(index, _card_number(claim))
    if found is None:
        raise _mismatch()
    row, card = found
    person = await PersonRepository(unit.session, sealer).data(row.id)
    is_name = hmac.compare_digest(name_index(sealer, claim.name), name_index(sealer, person.name))
    if not is_name or card.state in _NOT_SIGNED:
        raise _mismatch()
    ecard = await ecards.of_card(card.card_number)
    return Claimed(
        person=person,
        person_id=row.id,
        card_number=card.card_number,
        region=card.region,
        ecard_no=None if ecard is None else ecard.ecard_no,
        has_password=ecard is not None and ecard.password_hash is not None,
    )


async def password_for(desk: Desk, found: Claimed, password: str) -> int | None:
    """Epoch of the password there is, when it fits; None for the first one, which must not be weak.

    Raises INPUT_INVALID, ECARD_PASSWORD_WRONG, ECARD_PASSWORD_LOCKED.
    """
    if found.ecard_no is None or not found.has_password:
        passwords.demand_strong(password, found.person)
        return None
    return await passwords.check(desk, found.ecard_no, password, found.region)


async def sign(unit: Unit, request: SigningRequest, found: Claimed, epoch: int | None, first_hash: str) -> SignedEcard:
    """Link the phone. A link of the same channel ends: the holder has changed the phone.

    Raises CONFLICT when another phone was faster, or the password was changed meanwhile.
    """
    again = await find_claimed(unit, request)
    card = await unit.session.get_one(CardRow, again.card_number)
    ecard_no = await EcardService(unit).create(card)
    ecard = await EcardRepository(unit.session).get(ecard_no, is_locking=True)
    if ecard is None or again.card_number != found.card_number:
        raise ProblemError("CONFLICT", "the electronic card changed meanwhile")
    _settle_password(ecard, epoch, first_hash)
    links = LinkRepository(unit.session)
    await links.end(ecard_no, "replaced", unit.now, client_id=unit.caller.client_id)
    link = _link(unit, ecard_no, bytes.fromhex(request.public_key))
    if not await links.add(link):
        raise ProblemError("CONFLICT", "another phone was signed at this moment", subject=f"ecard:{ecard_no}")
    detail = {"sign_no": link.sign_no, "channel": link.client_id}
    await unit.audit("ecard.sign", f"ecard:{ecard_no}", region=card.region, detail=detail)
    return SignedEcard(
        ecard_no=ecard_no,
        sign_no=link.sign_no,
        sign_seq=link.sign_seq,
        sign_level=await level(unit, ecard),
        sign_date=_date8(china_date(ecard.created_at)),
        valid_date=_date8(card.expiry_date),
        region=card.region,
        holder=masked(found.person),
    )


def _settle_password(ecard: EcardRow, epoch: int | None, first_hash: str) -> None:
    if ecard.password_hash is None and epoch is None:
        passwords.set_password(ecard, first_hash)
    elif epoch is None or ecard.password_epoch != epoch:
        raise ProblemError("CONFLICT", "the password was set or changed meanwhile", subject=f"ecard:{ecard.ecard_no}")


def _link(unit: Unit, ecard_no: str, public_key: bytes) -> LinkRow:
    return LinkRow(
        sign_no=secrets.token_hex(16),
        sign_seq=f"{china_date(unit.now):%Y%m%d}{secrets.randbelow(10**12):012d}",
        ecard_no=ecard_no,
        client_id=unit.caller.client_id,
        public_key=public_key,
        state="active",
        signed_at=unit.now,
    )


def _demand_rate(desk: Desk, claim: PersonClaim) -> None:
    services, now = desk.services, desk.services.clock()
    names = [services.sealer.index("signing", text).hex() for text in (_number(claim), _card_number(claim))]
    is_allowed = [services.signings.allows(name, now) for name in names]
    if not all(is_allowed) or not services.channel_signings.allows(desk.caller.client_id, now):
        raise ProblemError("REQUEST_LIMIT", "too many signings for this number or channel")


def _number(claim: PersonClaim) -> str:
    return claim.social_security_number.upper()


def _card_number(claim: PersonClaim) -> str:
    """As it is stored: people write it with a hyphen, too."""
    return claim.card_number.replace("-", "").upper()


def _mismatch() -> ProblemError:
    return ProblemError("ECARD_MISMATCH")


def _date8(day: date) -> str:
    return f"{day:%Y%m%d}"
