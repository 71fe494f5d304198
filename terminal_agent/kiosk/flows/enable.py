"""启用社保功能: the card in the slot is proved genuine, its state is told, and the centre opens it."""

from __future__ import annotations

from typing import Final

from terminal_agent.kiosk.holders import act, known_card, told
from terminal_agent.kiosk.screens import Need, Receipt, Row, Screen, Tile
from terminal_agent.kiosk.states import tell_state
from terminal_agent.kiosk.visit import Visit

TILE: Final = Tile(icon="check", needs=frozenset({Need.CENTRE, Need.CARD_SLOT}))
STEPS: Final = ("insert", "check", "finish")


@told
async def run(visit: Visit) -> None:
    holder, card, _ = await known_card(visit, "enable_insert")
    if not card.may("enable"):
        await tell_state(visit, card)
        return
    rows = (
        (Row("name", holder.holder.name), Row("number", holder.holder.social_security_number)) if holder.holder else ()
    )
    await visit.ask(
        Screen(
            name="enable_confirm",
            layout="check",
            acts=("enable",),
            rows=(*rows, Row("card", card.number), Row("state", card.said("state"))),
            step=2,
            steps=STEPS,
        )
    )
    card = await act(visit, holder, card, "enable", "enabling")
    await visit.done(
        Screen(name="enable_done", values={"card": card.number}, tone="ok", step=3, steps=STEPS),
        Receipt("enable", rows=(("card", card.number), ("state", card.said("state"))), next_step="enable_next"),
    )
