"""What the holder can do with the own card: the catalog's question, filled in by what the centre knows.

Age and state of the card never leave the centre, only the answers do.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Final

from apps_catalog import rule
from apps_catalog.model import Carrier
from apps_catalog.question import CatalogQuestion
from issuance.cards.machine import CardState
from issuance.clock import age_on, china_date
from issuance.ecards.access import HolderCall
from issuance.ecards.usability import level
from issuance.persons.repository import PersonRepository

_BIRTH: Final = "%Y%m%d"
_OLDEST: Final = 150


async def what_can_i(call: HolderCall, region: str, on: date | None, carrier: Carrier | None) -> dict[str, Any]:
    """The form of `CatalogAnswers`. Categories, and whether the purse is open, are not known here.

    Raises QueryError, RegionUnknownError.
    """
    unit, card = call.unit, call.card
    person = await PersonRepository(unit.session, unit.services.sealer).data(call.ecard.person_id)
    today = china_date(unit.now)
    born = datetime.strptime(person.birth_date, _BIRTH).date()
    known = {
        "from": card.region,
        "in": region,
        "on": on or today,
        "carrier": carrier,
        "age": min(_OLDEST, max(0, age_on(born, on or today))),
        "state": rule.CardState[CardState(card.state).name],
        "generation": card.generation,
        "ecard_level": await level(unit, call.ecard),
    }
    question = CatalogQuestion.model_validate(known)
    return question.answer(await unit.services.catalogs.current(on))
