"""The state of a card in plain words, and what can be done about it here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from terminal_agent.kiosk.screens import Screen
from terminal_agent.kiosk.views import CardView
from terminal_agent.kiosk.visit import GoTo

if TYPE_CHECKING:
    from terminal_agent.kiosk.visit import Visit

NORMAL: Final = "1"
_TONES: Final = {"0": "warn", "1": "ok", "2": "bad", "3": "warn", "4": "bad", "9": "idle"}
_FLOWS: Final = {
    "enable": ("enable",),
    "release": ("release", "lift"),
    "pin": ("pin_reset", "pin_unblock"),
    "loss": ("lose", "lose_temporarily"),
    "replace": ("replace_lost", "replace_damaged", "renew"),
    "ecard": ("code",),
}
"""The flow that leads to acts of the centre."""
ICONS: Final = {
    "enable": "check",
    "release": "check",
    "pin": "key",
    "loss": "lost",
    "replace": "swap",
    "ecard": "phone",
    "rewrite": "reader",
    "records": "search",
    "what": "bus",
}


def tone_of(card: CardView) -> str:
    return _TONES.get(card.state, "info")


def ways_on(visit: Visit, card: CardView) -> tuple[str, ...]:
    """Flows of this machine that do something with the card now, and can be begun."""
    is_open = visit.desk.offers.is_open
    return tuple(name for name, acts in _FLOWS.items() if any(card.may(act) for act in acts) and is_open(name))


async def tell_state(visit: Visit, card: CardView, *, name: str = "card_state", leave_out: Iterable[str] = ()) -> None:
    """Says how the card stands; goes on with what the person chooses. Raises GoTo, VisitOver."""
    ways = tuple(way for way in ways_on(visit, card) if way not in leave_out)
    screen = state_screen(card, name, ways)
    if not ways:
        await visit.tell(screen)
        return
    raise GoTo((await visit.ask(screen)).act)


async def choose_card(visit: Visit, name: str, cards: tuple[CardView, ...]) -> CardView:
    """Asks which one only where there are several."""
    if len(cards) == 1:
        return cards[0]
    handles = tuple(f"card-{number}" for number in range(len(cards)))
    shown = [(act, card, tone_of(card)) for act, card in zip(handles, cards, strict=True)]
    answer = await visit.ask(Screen(name=name, layout="cards", acts=handles, facts={"cards": shown}))
    return cards[handles.index(answer.act)]


def state_screen(card: CardView, name: str, acts: tuple[str, ...]) -> Screen:
    return Screen(
        name=name,
        layout="card_state",
        acts=acts,
        icons=ICONS,
        tone=tone_of(card),
        values={"card": card.number},
        facts={"card": card},
    )
