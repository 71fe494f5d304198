"""The issuer's word, for some hours, that the key of one linked phone may make transit codes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from cardlib.spec.transit_code import code_profile
from cardlib.transit_code import Authorisation
from cardlib.transit_code_issuer import authorise
from hsm.primitives import default_engine
from issuance.ecards.access import HolderCall
from issuance.ecards.usability import demand_usable
from issuance.problems import ProblemError
from issuance.transit_codes.schemas import TransitAuthorisation

MOST_A_MINUTE: Final = 6
"""Of one link; a phone needs one a day."""
ACCOUNT_TYPE: Final = 1
_ACCOUNT_DIGITS: Final = 20
_ACCOUNT_LABEL: Final = b"transit card account:"


async def authorise_phone(call: HolderCall) -> TransitAuthorisation:
    """For the link's own key. Raises REQUEST_LIMIT, ECARD_NOT_USABLE, ECARD_PASSWORD_LOCKED, TRANSIT_ISSUER_MISSING,
    TRANSIT_ISSUER_EXPIRED."""
    unit, services = call.unit, call.unit.services
    if not services.transit_authorisations.allows(call.link.sign_no, unit.now):
        raise ProblemError("REQUEST_LIMIT", f"at most {MOST_A_MINUTE} a minute", subject=call.subject)
    demand_usable(unit, call.ecard, call.card)
    locked_until = call.ecard.password_locked_until
    if locked_until is not None and unit.now < locked_until:
        raise ProblemError("ECARD_PASSWORD_LOCKED", "too many wrong passwords", subject=call.subject)
    rules = unit.rules(call.card.region)
    profile = code_profile(rules.transit_code_profile)
    issuer = await asyncio.to_thread(services.transit_issuer.current, unit.now)
    certificate = issuer.certificate
    wanted = int((unit.now + timedelta(hours=rules.transit_code_hours)).timestamp())
    until = min(wanted, certificate.ends_at - 1)
    asked = Authorisation(
        certificate=certificate,
        payment_account=payment_account(call.link.sign_no),
        card_account=card_account(call.ecard.ecard_no),
        issuer=certificate.issuer,
        platform=bytes.fromhex(services.settings.transit_platform),
        account_type=ACCOUNT_TYPE,
        amount_limit_fen=rules.transit_limit_fen,
        user_key=call.link.public_key,
        authorised_until=until,
        validity_s=rules.transit_code_validity_s,
    )
    signed = await asyncio.to_thread(authorise, services.keys, issuer.key, asked, profile)
    ends = datetime.fromtimestamp(until, UTC)
    await call.audit(
        "transit.authorise", issuer=certificate.issuer, serial=certificate.serial.hex(), until=ends.isoformat()
    )
    return TransitAuthorisation(
        authorisation=signed.encode(profile).hex().upper(),
        profile=profile.name,
        authorised_until=ends,
        validity_s=asked.validity_s,
        amount_limit_fen=asked.amount_limit_fen,
    )


def payment_account(sign_no: str) -> str:
    """支付账户号: the first half of the random 签发号, by which settlement finds the link; nothing personal."""
    return sign_no[:16]


def card_account(ecard_no: str) -> str:
    """卡账户号: 20 digits that stay the same on every phone of an electronic card and do not lead back to it.

    The centre does not know the number of a card's own transit application.
    """
    digest = default_engine().sm3(_ACCOUNT_LABEL + ecard_no.encode())
    return f"{int.from_bytes(digest, 'big') % 10**_ACCOUNT_DIGITS:0{_ACCOUNT_DIGITS}d}"
