"""挂失: at once, without the card; for a while or until it is replaced, as the person chooses."""

from __future__ import annotations

from typing import Final

from terminal_agent.kiosk.holders import act, look_up, told
from terminal_agent.kiosk.identify import identify
from terminal_agent.kiosk.screens import Need, Receipt, Screen, Tile
from terminal_agent.kiosk.states import choose_card, tell_state
from terminal_agent.kiosk.views import CardView, HolderView
from terminal_agent.kiosk.visit import Visit

TILE: Final = Tile(icon="lost", kind="urgent", needs=frozenset({Need.CENTRE, Need.ID_READER}))
STEPS: Final = ("identify", "choose", "confirm", "finish")
KINDS: Final = ("lose_temporarily", "lose")


@told
async def run(visit: Visit) -> None:
    person = await identify(visit, purpose="loss", ways=("id_card", "ecard"), step=1, steps=STEPS)
    holder = await look_up(visit, person)
    card = await _card(visit, holder)
    if card is None:
        return
    while True:
        kind = await _kind(visit, card)
        sure = await visit.ask(
            Screen(
                name=f"loss_confirm_{kind}",
                acts=("report",),
                icons={"report": "lost"},
                values={"card": card.number},
                tone="bad",
                back=True,
                step=3,
                steps=STEPS,
            )
        )
        if sure.act == "report":
            break
    card = await act(visit, holder, card, kind, "loss_reporting")
    await _finish(visit, kind, card)


async def _card(visit: Visit, holder: HolderView) -> CardView | None:
    """None where none can be reported, which has been told."""
    cards = holder.with_act(*KINDS)
    if not cards:
        if holder.cards:
            await tell_state(visit, holder.cards[0], name="loss_not_possible", leave_out=("loss",))
        else:
            await visit.tell(Screen(name="no_card", tone="info"))
        return None
    return await choose_card(visit, "loss_which", cards)


async def _kind(visit: Visit, card: CardView) -> str:
    """The two side by side, each with what it does."""
    kinds = tuple(kind for kind in KINDS if card.may(kind))
    answer = await visit.ask(
        Screen(
            name="loss_kind",
            acts=kinds,
            values={"card": card.number},
            step=2,
            steps=STEPS,
        )
    )
    return answer.act


async def _finish(visit: Visit, kind: str, card: CardView) -> None:
    until = f"{card.temporary_until:%Y-%m-%d}" if card.temporary_until else ""
    rows = (("card", card.number), ("until", until) if until else ("state", card.said("state")))
    screen = Screen(
        name=f"loss_done_{kind}",
        values={"card": card.number, "until": until},
        tone="ok",
        step=4,
        steps=STEPS,
    )
    await visit.done(screen, Receipt(f"loss_{kind}", rows, next_step=f"loss_next_{kind}"))
