"""Searching by name, social security number or card number, which come in the body: no address ever holds them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter
from sqlalchemy import select
from starlette.responses import Response

from cardlib.identity import IdentityError, validate_card_number
from issuance.cards.models import CardRow
from issuance.clerks.acts import Act
from issuance.console.forms import Form, parse
from issuance.console.holders import shown_card
from issuance.console.page import Page, page_for
from issuance.privacy.schemas import PersonHit, PersonQuery
from issuance.privacy.service import PersonSearch
from issuance.unit import Unit

router = APIRouter(prefix="/search")
Searching = Annotated[Page, page_for(Act.PERSON_READ)]
_PERSONAL = re.compile(r"[0-9A-Za-z]{15}|[0-9A-Za-z]{18}")


@dataclass(frozen=True, slots=True)
class FoundCard:
    id: str
    number: str
    state: str


@dataclass(frozen=True, slots=True)
class Found:
    person: PersonHit
    cards: list[FoundCard]


@router.get("")
async def again(page: Searching) -> Response:
    """Where somebody reloads the page of results: nothing of it was kept."""
    return page.show("search.html", found=None)


@router.post("")
async def search(page: Searching) -> Response:
    wanted = (await Form.of(page.request)).get("q")
    number = _card_number(wanted)
    try:
        async with page.desk.unit() as unit:
            if number is not None:
                row = await unit.session.get(CardRow, number)
                await unit.audit("card.search", "", region=page.viewer.region, detail={"found": int(row is not None)})
                if row is not None:
                    return page.go(f"/cards/{row.application_id}")
            found = [] if number is not None else await _persons(unit, wanted)
    except Exception as error:
        return page.show("search.html", found=None, refusal=page.refusal(error))
    return page.show("search.html", found=found)


async def _persons(unit: Unit, wanted: str) -> list[Found]:
    kind = "social_security_number" if _PERSONAL.fullmatch(wanted) else "name"
    hits = await PersonSearch(unit).find(parse(PersonQuery, {kind: wanted}))
    numbers = [number for hit in hits for number in hit.cards]
    query = select(CardRow).where(CardRow.card_number.in_(numbers))
    cards = {row.card_number: row for row in await unit.session.scalars(query)} if numbers else {}
    return [Found(hit, [_found(cards[number]) for number in hit.cards if number in cards]) for hit in hits]


def _found(row: CardRow) -> FoundCard:
    return FoundCard(row.application_id, shown_card(row.card_number), row.state)


def _card_number(wanted: str) -> str | None:
    """None for what is no card number: a letter, seven characters and the check digit."""
    try:
        return validate_card_number(wanted.upper())
    except IdentityError:
        return None
