"""Whose a log-in is, and whether the card that said so still counts."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from issuance.cards.models import CardRow
from issuance.clock import china_date
from issuance.ecards.models import EcardRow
from issuance.ecards.usability import card_refusal, refusal
from issuance.login.models import GrantRow
from issuance.unit import Unit


class CardOverError(Exception):
    """The card or electronic card that a log-in was made with can no longer be used."""


def holder_of(unit: Unit, session: Session, grant: GrantRow) -> str:
    """The id of the person. An electronic card that was used decides, else the card. Raises CardOverError."""
    card = session.get_one(CardRow, grant.card_number)
    ecard = None if grant.ecard_no is None else session.get_one(EcardRow, grant.ecard_no)
    if bearer_refusal(card, unit.now) if ecard is None else refusal(unit, ecard, card):
        raise CardOverError
    return card.person_id


def bearer_refusal(card: CardRow, now: datetime) -> str:
    """Why nobody logs in by the card itself, as a word; empty where it is in use and in term."""
    return card_refusal(card) or ("card_expired" if card.expiry_date < china_date(now) else "")


def subject_of(grant: GrantRow) -> str:
    """Of an entry in the audit trail."""
    return f"card:{grant.card_number}" if grant.ecard_no is None else f"ecard:{grant.ecard_no}"
