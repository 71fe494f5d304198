"""取消挂失: the card was found."""

from __future__ import annotations

from typing import Final

from terminal_agent.kiosk.card import citizen_card
from terminal_agent.kiosk.holders import act, card_shown, look_up, presented, told
from terminal_agent.kiosk.identify import Person, identify
from terminal_agent.kiosk.screens import Need, Receipt, Screen, Tile
from terminal_agent.kiosk.states import choose_card, tell_state
from terminal_agent.kiosk.views import CardView, HolderView
from terminal_agent.kiosk.visit import Visit

TILE: Final = Tile(icon="check", needs=frozenset({Need.CENTRE, Need.ID_READER}))
STEPS: Final = ("identify", "confirm", "finish")
WAYS: Final = ("release", "lift")
CARD: Final = "card"


@told
async def run(visit: Visit) -> None:
    person = await identify(visit, purpose="release", ways=("id_card",), step=1, steps=STEPS)
    holder = await look_up(visit, person)
    cards = holder.with_act(*WAYS)
    if not cards:
        await _nothing(visit, holder)
        return
    card = await choose_card(visit, "release_which", cards)
    way = next(way for way in WAYS if card.may(way))
    if CARD in card.act(way).needs:
        holder, card = await _with_card(visit, person)
    await visit.ask(
        Screen(
            name="release_confirm",
            acts=("release",),
            icons={"release": "check"},
            values={"card": card.number},
            step=2,
            steps=STEPS,
        )
    )
    card = await act(visit, holder, card, way, "releasing")
    await visit.done(
        Screen(name="release_done", values={"card": card.number}, tone="ok", step=3, steps=STEPS),
        Receipt("release", (("card", card.number), ("state", card.said("state")))),
    )


async def _nothing(visit: Visit, holder: HolderView) -> None:
    if holder.cards:
        await tell_state(visit, holder.cards[0], name="release_not_possible", leave_out=("release",))
    else:
        await visit.tell(Screen(name="no_card"))


async def _with_card(visit: Visit, person: Person) -> tuple[HolderView, CardView]:
    """Where the rules ask to see that the card was found. Raises ToldError for another card."""
    async with citizen_card(visit, "release_insert", takes_listed=True) as found:
        basic = found.basic
    holder = await look_up(visit, person, card_shown(basic))
    return holder, await presented(visit, holder)
