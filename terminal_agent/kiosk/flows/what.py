"""卡能用在哪里: the catalog asked by place and field of life, for the card in the slot or for where it was issued.

Needs neither the centre nor the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from apps_catalog import Answer, Catalog, Holder, Outcome, Text
from apps_catalog.areas import is_area
from apps_catalog.catalog import today
from cardlib.session import BasicInformation
from terminal_agent.kiosk.card import citizen_card
from terminal_agent.kiosk.holders import told
from terminal_agent.kiosk.paging import page_of, turned
from terminal_agent.kiosk.screens import BACK, Screen, Tile
from terminal_agent.kiosk.visit import Visit

TILE: Final = Tile(icon="bus")
SHOWN: Final = 5
TONES: Final = {Outcome.YES: "ok", Outcome.DEPENDS: "warn", Outcome.NO: "idle"}
LOADING: Final = Screen(name="what_loading", layout="wait", acts=())
ORDER: Final = tuple(TONES)


@dataclass(frozen=True, slots=True)
class Choice:
    """A tile: `act` is its button, `glyph` the one character that stands for it."""

    act: str
    title: Text
    hint: str = ""
    glyph: str = ""


@told
async def run(visit: Visit) -> None:
    catalog = await visit.wait(LOADING, visit.desk.agent.catalog.catalog())
    has_card = visit.desk.has_card()
    holder = await _of_card(visit) if has_card else None
    while True:
        origin = holder or await _origin(visit, catalog)
        while (area := await _area(visit, catalog, back=holder is None)) is not None:
            answers = catalog.what(origin, area)
            while (domain := await _domain(visit, catalog, area, answers)) is not None:
                found = [answer for answer in answers if answer.item.domain == domain]
                await _list(visit, catalog, domain, sorted(found, key=lambda answer: ORDER.index(answer.outcome)))


async def _of_card(visit: Visit) -> Holder | None:
    """None for a card whose place no catalog can know."""
    async with citizen_card(visit, takes_listed=True) as card:
        basic = card.basic
    return holder_of(basic, today()) if is_area(basic.region) else None


def holder_of(basic: BasicInformation, on: date) -> Holder:
    """What the chip tells; where it names no birth date the age is not known."""
    born, age = basic.birth_date, None
    if len(born) == 8 and born.isdigit():
        had_birthday = (on.month, on.day) >= (int(born[4:6]), int(born[6:]))
        age = max(0, on.year - int(born[:4]) - (not had_birthday))
    return Holder(basic.region, age=age, generation=basic.generation.value)


async def _origin(visit: Visit, catalog: Catalog) -> Holder:
    tiles = _places(catalog)
    answer = await visit.ask(_tiles("what_origin", tiles))
    return Holder(answer.act.removeprefix("area-"))


async def _area(visit: Visit, catalog: Catalog, *, back: bool) -> str | None:
    """None: back to the question before."""
    answer = await visit.ask(_tiles("what_area", _places(catalog), back=back))
    return None if answer.act == BACK else answer.act.removeprefix("area-")


async def _domain(visit: Visit, catalog: Catalog, area: str, answers: list[Answer]) -> str | None:
    usable = [a.item.domain for a in answers if a.outcome is not Outcome.NO]
    tiles = [
        Choice(f"domain-{domain.key}", domain.name, str(usable.count(domain.key)), domain.glyph)
        for domain in catalog.domains
    ]
    answer = await visit.ask(_tiles("what_domain", tiles, back=True, place=catalog.name_of(area)))
    return None if answer.act == BACK else answer.act.removeprefix("domain-")


async def _list(visit: Visit, catalog: Catalog, domain: str, answers: list[Answer]) -> None:
    name = next(known.name for known in catalog.domains if known.key == domain)
    number = 0
    while True:
        shown, moves = page_of(answers, number, SHOWN)
        items = [(f"item-{n}", answer, TONES[answer.outcome]) for n, answer in enumerate(shown)]
        acts = (*(item[0] for item in items), *moves)
        screen = Screen(name="what_list", acts=acts, facts={"domain": name, "items": items}, back=True)
        pressed = (await visit.ask(screen)).act
        if pressed == BACK:
            return
        if pressed.startswith("item-"):
            await _item(visit, catalog, shown[int(pressed.removeprefix("item-"))])
        else:
            number = turned(number, pressed)


async def _item(visit: Visit, catalog: Catalog, answer: Answer) -> None:
    facts = {"answer": answer, "notice": catalog.notice}
    await visit.ask(Screen(name="what_item", acts=(), tone=TONES[answer.outcome], facts=facts, back=True))


def _places(catalog: Catalog) -> list[Choice]:
    return [Choice(f"area-{region.code}", region.name) for region in catalog.regions]


def _tiles(name: str, tiles: list[Choice], *, back: bool = False, place: Text | None = None) -> Screen:
    acts = tuple(tile.act for tile in tiles)
    return Screen(name=name, layout="tiles", acts=acts, facts={"tiles": tiles, "place": place}, back=back)
