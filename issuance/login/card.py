"""Log-in by the physical card: a challenge for one page, and the card's answer to it after its PIN.

The challenge names the site, and the terminal reads it to the holder; the terminal adds the address of the page that
asked, so that an answer which another site's page got is none here.
"""

from __future__ import annotations

import asyncio
import secrets
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field
from sqlalchemy import update

from cardlib.login_text import LogInText, signed_bytes
from cardlib.pki_certificate import CertificateError
from cardlib.wire import Message
from hsm.primitives import default_engine
from issuance.cards.models import CardRow
from issuance.clock import CHINA
from issuance.database import ROW_LOCK, add_unless_taken
from issuance.login.card_certificates import LONGEST, CardIdentity
from issuance.login.denials import demand_not_denied
from issuance.login.holders import bearer_refusal
from issuance.login.items import items_of
from issuance.login.origin import agent_of, network_of
from issuance.login.seam import ACR_CARD
from issuance.login.transaction_models import LoginCardChallengeRow, LoginCardProofRow
from issuance.login.transactions import APPROVAL_TTL, Transaction, claims_of, end, hash_of_secret
from issuance.login.ways import is_open
from issuance.problems import ProblemError
from issuance.unit import Unit

CHALLENGE_TTL: Final = timedelta(minutes=3)
"""Longer than a terminal waits for the PIN."""
_NONCE_BYTES: Final = 16


class CardAnswer(Message):
    """What a terminal's `/v1/log-ins` gives; in lower-case hex."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"certificate": "3082" + "00" * 254, "signature": "3b" * 64}]}
    )

    certificate: str = Field(pattern=f"^([0-9a-f]{{2}}){{1,{LONGEST}}}$")
    signature: str = Field(pattern="^[0-9a-f]{128}$", description="r || s")


async def challenge(unit: Unit, transaction: Transaction, browser: str) -> str:
    """What a card is to sign, in place of what this page was given before. Raises LOGIN_CLOSED, LOGIN_DENIED,
    LOGIN_LIMITED."""
    await _demand_open(unit, transaction)
    unit.services.login_limits.demand_code(hash_of_secret(browser).hex(), unit.now)
    request = transaction.request
    text = LogInText(
        login_id=transaction.id,
        centre=unit.services.settings.centre_id,
        name=transaction.name,
        client_id=request.client_id,
        host=transaction.host,
        browser=f"{network_of(transaction.address)} {agent_of(transaction.agent)}".strip(),
        items=tuple(f"{item.zh} / {item.en} ({item.name})" for item in items_of(request)),
        time=f"{unit.now.astimezone(CHINA):%Y-%m-%d %H:%M:%S} 北京时间 (UTC+8)",
        nonce=secrets.token_hex(_NONCE_BYTES),
    ).encode()
    kept = {
        "sealed_text": unit.services.sealer.seal(text, text_context(transaction.id)),
        "expires_at": min(unit.now + CHALLENGE_TTL, transaction.expires_at),
    }
    if not await add_unless_taken(unit.session, LoginCardChallengeRow(login_id=transaction.id, **kept)):
        mine = LoginCardChallengeRow.login_id == transaction.id
        await unit.session.execute(update(LoginCardChallengeRow).where(mine).values(kept))
    return text


async def prove(unit: Unit, transaction: Transaction, browser: str, answer: CardAnswer) -> None:
    """End the log-in as approved by the card. The challenge is spent with it.

    Raises LOGIN_CLOSED, LOGIN_DENIED, LOGIN_LIMITED, CERTIFICATE_INVALID, SIGNATURE_INVALID, LOGIN_CARD_REFUSED.
    """
    await _demand_open(unit, transaction)
    unit.services.login_limits.demand_code(hash_of_secret(browser).hex(), unit.now)
    services, subject = unit.services, f"login:{transaction.id}"
    row = await unit.session.get(LoginCardChallengeRow, transaction.id, with_for_update=ROW_LOCK)
    if row is None or row.expires_at <= unit.now:
        raise ProblemError("LOGIN_CLOSED", "no challenge waits for a card", subject=subject)
    text = str(services.sealer.unseal(row.sealed_text, text_context(transaction.id)))
    certificate, signature = bytes.fromhex(answer.certificate), bytes.fromhex(answer.signature)
    identity = await _identity(unit, certificate, subject)
    signed = signed_bytes(text, page_of(services.settings.login_issuer))
    if not default_engine().sm2_verify(identity.public, signed, signature):
        raise ProblemError("SIGNATURE_INVALID", "not this card's signature over this log-in", subject=subject)
    card = await _card_of(unit, identity)
    if not await end(unit, transaction.id, "approved"):
        raise ProblemError("LOGIN_CLOSED", "it is over", subject=subject)
    await unit.session.delete(row)
    digest = default_engine().sm3(signed)
    unit.session.add(
        LoginCardProofRow(
            login_id=transaction.id,
            card_number=card.card_number,
            certificate=certificate,
            signature=signature,
            text_digest=digest,
            claims=list(claims_of(transaction.request)),
            proved_at=unit.now,
            expires_at=unit.now + APPROVAL_TTL,
        )
    )
    detail = {"client": transaction.request.client_id, "card": card.card_number, "text_sm3": digest.hex()}
    await unit.audit("login.card", subject, region=card.region, detail=detail)


async def _demand_open(unit: Unit, transaction: Transaction) -> None:
    request, subject = transaction.request, f"login:{transaction.id}"
    if transaction.stage not in ("open", "claimed") or not is_open(unit.services, request.acr_values, ACR_CARD):
        raise ProblemError("LOGIN_CLOSED", f"it is {transaction.stage}", subject=subject)
    await demand_not_denied(unit, request.client_id, transaction.address)


async def _identity(unit: Unit, certificate: bytes, subject: str) -> CardIdentity:
    try:
        return await asyncio.to_thread(unit.services.card_certificates.identity, certificate, unit.now)
    except CertificateError as error:
        raise ProblemError("CERTIFICATE_INVALID", str(error), subject=subject) from None


async def _card_of(unit: Unit, identity: CardIdentity) -> CardRow:
    """Raises LOGIN_CARD_REFUSED; also for a chip that another one has taken the number of."""
    card = await unit.session.get(CardRow, identity.card_number)
    if card is None or card.identification_code.upper() != identity.identification_code.upper():
        raise ProblemError("LOGIN_CARD_REFUSED", "not the chip that bears this card number now")
    reason = bearer_refusal(card.state, card.expiry_date, unit.now)
    if reason:
        raise ProblemError("LOGIN_CARD_REFUSED", reason, subject=f"card:{card.card_number}")
    return card


def page_of(issuer: str) -> str:
    """The origin of its pages as a browser writes it: in lower case, without the scheme's own port."""
    parts = urlsplit(issuer)
    is_usual = parts.port in (None, {"https": 443, "http": 80}[parts.scheme])
    return f"{parts.scheme}://{parts.hostname}" + ("" if is_usual else f":{parts.port}")


def text_context(login_id: str) -> str:
    return f"login_card_challenges:{login_id}"
