"""Whose a log-in is, and whether the card that said so still counts."""

from __future__ import annotations

from datetime import date, datetime

from issuance.clock import china_date
from issuance.ecards.usability import card_refusal, judge
from issuance.login.live import LiveGrant
from issuance.login.seam import Subject
from issuance.unit import Unit


class CardOverError(Exception):
    """The card or electronic card that a log-in was made with can no longer be used."""


def holder_of(unit: Unit, grant: LiveGrant) -> str:
    """The id of the person. An electronic card that was used decides, else the card. Raises CardOverError."""
    if grant.ecard_state is None:
        refusal = bearer_refusal(grant.card_state, grant.card_expires, unit.now)
    else:
        refusal = judge(grant.ecard_state, grant.card_state, lambda: unit.rules(grant.region))
    if refusal:
        raise CardOverError
    return grant.person_id


def bearer_refusal(card_state: str, expires: date, now: datetime) -> str:
    """Why nobody logs in by the card itself, as a word; empty where it is in use and in term."""
    return card_refusal(card_state) or ("card_expired" if expires < china_date(now) else "")


def subject_of(holder: LiveGrant | Subject) -> str:
    """Of an entry in the audit trail."""
    return f"ecard:{holder.ecard_no}" if holder.ecard_no else f"card:{holder.card_number}"
