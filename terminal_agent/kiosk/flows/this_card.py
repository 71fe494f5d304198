"""A card put in at the home page: how it stands, and what can be done with it now."""

from __future__ import annotations

from typing import Final

from cardlib.session import BasicInformation
from terminal_agent.centre import CentreUnreachableError
from terminal_agent.kiosk.card import citizen_card
from terminal_agent.kiosk.holders import known_card, told
from terminal_agent.kiosk.screens import Receipt, Screen, Tile
from terminal_agent.kiosk.sessions import card_session
from terminal_agent.kiosk.states import ICONS, NORMAL, state_screen, ways_on
from terminal_agent.kiosk.views import CardView, HolderView
from terminal_agent.kiosk.visit import GoTo, Visit

TILE: Final[Tile | None] = None
WITHOUT_CENTRE: Final = ("pin", "what")
REWRITE: Final = "rewrite"


@told
async def run(visit: Visit) -> None:
    try:
        holder, card, _ = await known_card(visit, "insert_card")
    except CentreUnreachableError:
        await _without_centre(visit)
        return
    ways = [*ways_on(visit, card), *(way for way in ("records", "what") if way in visit.desk.flows)]
    if card.state == NORMAL and "pin" in visit.desk.flows and "pin" not in ways:
        ways.insert(0, "pin")
    if card.rewrite_pending and card.may(REWRITE):
        ways.insert(0, REWRITE)
    chosen = (await visit.ask(state_screen(card, "this_card", tuple(ways)))).act
    if chosen != REWRITE:
        raise GoTo(chosen)
    await _rewrite(visit, holder, card)


async def _without_centre(visit: Visit) -> None:
    """What card and machine can do between them."""
    async with citizen_card(visit) as card:
        basic = card.basic
    ways = tuple(way for way in WITHOUT_CENTRE if way in visit.desk.flows)
    raise GoTo((await visit.ask(_offline_screen(basic, ways))).act)


def _offline_screen(basic: BasicInformation, ways: tuple[str, ...]) -> Screen:
    return Screen(
        name="card_offline",
        layout="choice",
        acts=ways,
        icons=ICONS,
        tone="warn",
        values={"expiry": basic.expiry_date},
    )


async def _rewrite(visit: Visit, holder: HolderView, card: CardView) -> None:
    reader = await visit.card()
    await card_session(visit, reader, REWRITE, holder.visit, "rewriting")
    await visit.done(
        Screen(name="rewrite_done", values={"card": card.number}, tone="ok"),
        Receipt("rewrite", (("card", card.number),)),
    )
