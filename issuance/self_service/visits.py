"""What a kiosk holds while one person stands at it: sealed by the centre, bound to the kiosk, over after minutes."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cardlib.identity import SocialSecurityNumber
from issuance.cards.models import CardRow
from issuance.problems import ProblemError
from issuance.sealing import SealedDataError
from issuance.self_service.evidence import Kind, KioskAct, demand
from issuance.terminals.fleet_repository import is_kiosk
from issuance.unit import Unit

LASTS: Final = timedelta(minutes=15)
_HANDLE: Final = "self-service-card"
_HANDLE_CHARS: Final = 32


@dataclass(frozen=True, slots=True)
class KioskVisit:
    """`person_id` is empty for whom the centre does not know; `number_index` stands for the number that was shown (in
    hex, see `number_index`); `card_number` is that of the card that was shown."""

    person_id: str
    number_index: str
    evidence: frozenset[Kind]
    card_number: str
    ends: datetime

    def sealed(self, unit: Unit) -> str:
        facts = [self.person_id, self.number_index, sorted(self.evidence), self.card_number, self.ends.timestamp()]
        return urlsafe_b64encode(unit.services.sealer.seal(facts, _context(unit))).rstrip(b"=").decode()

    def shown_for(self, card_number: str) -> frozenset[Kind]:
        """Another card than this one says nothing about it."""
        is_this = card_number == self.card_number
        return self.evidence if is_this else self.evidence - {Kind.CARD, Kind.CARD_PIN}

    @property
    def is_by_phone(self) -> bool:
        """Nothing was seen here but the holder's word at the phone, which is an online request."""
        return self.evidence == {Kind.ECARD}


def opened(unit: Unit, text: str) -> KioskVisit:
    """Raises EVIDENCE_MISSING for one that is over, of another terminal, or of nobody's making."""
    try:
        sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        person_id, index, kinds, card_number, ends = unit.services.sealer.unseal(sealed, _context(unit))
    except (binascii.Error, ValueError, SealedDataError):
        raise ProblemError("EVIDENCE_MISSING", "no visit of this terminal") from None
    visit = KioskVisit(
        person_id, index, frozenset(Kind(kind) for kind in kinds), card_number, datetime.fromtimestamp(ends, UTC)
    )
    if unit.now >= visit.ends:
        raise ProblemError("EVIDENCE_MISSING", "the visit is over")
    return visit


def number_index(unit: Unit, number: SocialSecurityNumber) -> str:
    return unit.services.sealer.index("social_security_number", number.number).hex()


def handle_of(unit: Unit, card_number: str) -> str:
    """Stands for a card in requests of kiosks; says nothing to anybody else."""
    return unit.services.sealer.index(_HANDLE, card_number).hex()[:_HANDLE_CHARS]


async def demand_for_chip(unit: Unit, text: str | None, card: CardRow, kind: str) -> None:
    """Work on the chip of a card in use, which the session itself proves to be there. A kiosk says for whom; other
    terminals answer for themselves, with a member of staff.

    Raises EVIDENCE_MISSING, HOLDER_MISMATCH for another person's card.
    """
    if text is None and not await is_kiosk(unit.session, unit.caller.client_id):
        return
    subject = f"card:{card.card_number}"
    shown: Collection[Kind] = {Kind.CARD}
    if text is not None:
        visit = opened(unit, text)
        shown = visit.evidence | {Kind.CARD}
        if visit.person_id != card.person_id:
            raise ProblemError("HOLDER_MISMATCH", subject=subject)
    demand(KioskAct(kind), shown, subject=subject)


def _context(unit: Unit) -> str:
    return f"self-service:{unit.caller.client_id}"
