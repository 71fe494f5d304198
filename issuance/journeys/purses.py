"""Purses: which card of ours bears one, and where one has travelled."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from issuance.cards.life_cycle import LifeCycle
from issuance.cards.models import CardRow
from issuance.journeys.models import CardPurseRow, TransitTapRow
from issuance.journeys.pairs import Journey, journeys
from issuance.journeys.repository import JourneyRepository, Purse
from issuance.journeys.schemas import CardPurse, JourneyView, PurseJourneys, PurseView, TapView
from issuance.problems import ProblemError
from issuance.unit import Unit

SHOWN: Final = 200
"""Taps of one purse, the newest."""
_STANDINGS: Final = ("booked", "executed", "foreign", "open", "refused")


class PurseService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._rows = JourneyRepository(unit.session)

    async def of_face(self, face_number: str) -> PurseJourneys:
        """Recorded. As far as terminals of the caller's regions saw it; a number nobody has seen has no purses."""
        unit = self._unit
        serials = [f"{digit}{face_number}" for digit in range(10)]
        of_purse: dict[Purse, list[TransitTapRow]] = defaultdict(list)
        for tap in await self._rows.taps_of(serials, _STANDINGS, SHOWN):
            of_purse[tap.issuer, tap.serial].append(tap)
        cards = await self._rows.bearers(serials)
        for purse in cards:
            of_purse.setdefault(purse, [])
        await unit.audit("journeys.purse", f"purse:{face_number}", region=unit.caller.region)
        purses = [_view(unit, purse, found, cards.get(purse)) for purse, found in sorted(of_purse.items())]
        return PurseJourneys(face_number=face_number, purses=tuple(purses))

    async def put(self, card_number: str, told: CardPurse) -> CardPurse:
        """The same again changes nothing. Raises NOT_FOUND, CARD_MISMATCH for another chip than the card's own,
        CONFLICT where the chip has another purse or the purse another chip."""
        unit = self._unit
        card = await LifeCycle(unit).card(card_number, is_locking=True)
        subject = f"card:{card.card_number}"
        if card.identification_code != told.identification_code:
            raise ProblemError("CARD_MISMATCH", "this chip carries another identification code", subject=subject)
        if not await self._is_new(card, told):
            return told
        self._rows.add(
            CardPurseRow(
                identification_code=told.identification_code,
                card_number=card.card_number,
                region=card.region,
                issuer=told.issuer,
                serial=told.serial,
                told_at=unit.now,
                told_by=unit.by,
            )
        )
        await unit.session.flush()
        await unit.audit("card.purse", subject, region=card.region)
        return told

    async def _is_new(self, card: CardRow, told: CardPurse) -> bool:
        known = await self._rows.known(told.identification_code, (told.issuer, told.serial))
        facts = [(one.identification_code, one.issuer, one.serial) for one in known]
        if facts not in ([], [(told.identification_code, told.issuer, told.serial)]):
            subject = f"card:{card.card_number}"
            raise ProblemError("CONFLICT", "chip and purse are known, not with each other", subject=subject)
        return not facts


def _view(unit: Unit, purse: Purse, taps: list[TransitTapRow], card_number: str | None) -> PurseView:
    issuer, serial = purse
    found = tuple(_journey(journey) for journey in journeys(taps, unit.now))
    return PurseView(issuer=issuer, serial=serial, card_number=card_number, journeys=found)


def _journey(journey: Journey) -> JourneyView:
    taps = tuple(_tap(tap) for tap in journey.taps)
    return JourneyView(taps=taps, amount_fen=journey.amount_fen, trouble=journey.trouble)


def _tap(tap: TransitTapRow) -> TapView:
    columns = {name: getattr(tap, name) for name in TapView.model_fields if name != "terminal"}
    return TapView(terminal=tap.client_id, **columns)
