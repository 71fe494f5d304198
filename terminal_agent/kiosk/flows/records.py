"""查我的记录: what the centre has of the person, where the cards were used, and who looked."""

from __future__ import annotations

from typing import Final

from apps_catalog.catalog import CHINA_TIME
from terminal_agent.kiosk.holders import look_up, told
from terminal_agent.kiosk.identify import identify
from terminal_agent.kiosk.paging import page_of, turned
from terminal_agent.kiosk.screens import Need, Row, Screen, Tile
from terminal_agent.kiosk.states import tone_of
from terminal_agent.kiosk.views import HolderView, RecordItem, RecordPage
from terminal_agent.kiosk.visit import Visit

TILE: Final = Tile(icon="search", needs=frozenset({Need.CENTRE}))
RECORDS: Final = "/v1/self-service/records"
SHOWN: Final = 5
KINDS: Final = ("uses", "looks", "events")
CHOICES: Final = ("mine", "cards", *KINDS)
ICONS: Final = {"mine": "file", "cards": "card", "uses": "clock", "looks": "eye", "events": "search"}


@told
async def run(visit: Visit) -> None:
    person = await identify(visit, purpose="records", ways=("id_card", "card_pin", "ecard"))
    holder = await look_up(visit, person)
    if not holder.is_known:
        await visit.tell(Screen(name="records_unknown"))
        return
    while True:
        choice = await visit.ask(Screen(name="records_choice", layout="choice", acts=CHOICES, icons=ICONS))
        if choice.act == "mine":
            await _mine(visit, holder)
        elif choice.act == "cards":
            await _cards(visit, holder)
        else:
            await _kept(visit, holder, choice.act)


async def _mine(visit: Visit, holder: HolderView) -> None:
    own = holder.holder
    rows = (Row("name", own.name), Row("number", own.social_security_number)) if own else ()
    newest = holder.cards[0] if holder.cards else None
    card = (Row("card", newest.number), Row("state", newest.said("state"))) if newest else ()
    bank = (Row("bank", newest.account.said()),) if newest and newest.account else ()
    phone = (Row("ecard", newest.ecard.said()),) if newest and newest.ecard else ()
    shown = (*rows, *card, *bank, *phone)
    await visit.ask(Screen(name="records_mine", layout="check", acts=(), rows=shown, back=True))


async def _cards(visit: Visit, holder: HolderView) -> None:
    cards = [(card, tone_of(card)) for card in holder.cards]
    number = 0
    while True:
        shown, moves = page_of(cards, number, 3)
        facts = {"cards": shown, "count": len(cards)}
        answer = await visit.ask(Screen(name="records_cards", acts=moves, facts=facts, back=True))
        if answer.act == "back":
            return
        number = turned(number, answer.act)


async def _kept(visit: Visit, holder: HolderView, kind: str) -> None:
    """Pages of the centre, shown in smaller ones; a page is asked for when it is first turned to."""
    items: list[RecordItem] = []
    after: int | None = 0
    number = 0
    while True:
        while after is not None and len(items) <= (number + 1) * SHOWN:
            body = {"visit": holder.visit, "kind": kind, "after": after}
            waiting = Screen(name="records_looking", layout="wait", acts=())
            answer = await visit.wait(waiting, visit.desk.centre.post(RECORDS, body), may_leave=True)
            page = RecordPage.model_validate(answer)
            items += page.items
            after = page.next
        shown, moves = page_of(items, number, SHOWN)
        kept = [(f"{item.at.astimezone(CHINA_TIME):%Y-%m-%d %H:%M}", item) for item in shown]
        screen = Screen(name=f"records_{kind}", layout="records", acts=moves, facts={"records": kept}, back=True)
        pressed = await visit.ask(screen)
        if pressed.act == "back":
            return
        number = turned(number, pressed.act)
