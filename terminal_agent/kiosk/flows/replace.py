"""补卡、换卡: a new card in the place of one that is lost, damaged or about to expire."""

from __future__ import annotations

from typing import Final

from cardlib.money import yuan
from terminal_agent.kiosk.flows.apply import go_on
from terminal_agent.kiosk.flows.making import Wanted, agree_to_fee, make, until_paid
from terminal_agent.kiosk.holders import ToldError, act, look_up, told
from terminal_agent.kiosk.identify import Person, identify
from terminal_agent.kiosk.photos import choose_photo
from terminal_agent.kiosk.screens import Need, Screen, Tile
from terminal_agent.kiosk.states import choose_card, tell_state
from terminal_agent.kiosk.views import CardView, HolderView
from terminal_agent.kiosk.visit import Visit

TILE: Final = Tile(icon="swap", kind="main", needs=frozenset({Need.CENTRE, Need.ID_READER, Need.CARD_MACHINE}))
STEPS: Final = ("id_card", "choose", "photo", "make", "take")
SUCCESSIONS: Final = "/v1/self-service/successions"
WHY: Final = ("replace_lost", "replace_damaged", "renew")
_ICONS: Final = {"replace_lost": "lost", "replace_damaged": "warn", "renew": "clock"}


@told
async def run(visit: Visit) -> None:
    person = await identify(visit, purpose="replace", ways=("id_card",), step=1, steps=STEPS)
    holder = await look_up(visit, person)
    if holder.application is not None:
        await go_on(visit, person, holder, holder.application)
        return
    card = await _card(visit, holder)
    holder, card, why = await _why(visit, person, holder, card)
    fee_fen = card.act(why).fee_fen or 0
    await agree_to_fee(visit, fee_fen, STEPS, 2)
    photo = await choose_photo(visit, holder, card.region, is_required=False, steps=STEPS, step=3)
    body = {"visit": holder.visit, "card": card.card, "act": why} | ({"photo_id": photo} if photo else {})
    sending = visit.desk.centre.post(SUCCESSIONS, body)
    found = await visit.wait(Screen(name="apply_sending", layout="wait", acts=(), steps=STEPS, step=3), sending)
    rows = (("fee", yuan(fee_fen)),) if fee_fen else ()
    wanted = Wanted(
        found["id"],
        found["receipt_number"],
        "replace_done",
        STEPS,
        person.masked_name,
        person.masked_number,
        rows,
    )
    await until_paid(visit, wanted, fee_fen)
    await make(visit, wanted)


async def _card(visit: Visit, holder: HolderView) -> CardView:
    """The one that is to be followed. Raises ToldError, and GoTo where something else helps."""
    cards = holder.with_act(*WHY, "lose")
    if cards:
        return await choose_card(visit, "replace_which", cards)
    if holder.cards:
        await tell_state(visit, holder.cards[0], name="replace_not_possible", leave_out=("replace",))
    else:
        await visit.tell(Screen(name="replace_no_card", tone="info"))
    raise ToldError


async def _why(visit: Visit, person: Person, holder: HolderView, card: CardView) -> tuple[HolderView, CardView, str]:
    """Why a new one is wanted; a lost card is reported first. Raises VisitOver, ToldError."""
    ways = tuple(why for why in WHY if card.may(why) or (why == "replace_lost" and card.may("lose")))
    why = ways[0]
    if len(ways) > 1:
        screen = Screen(name="replace_why", layout="choice", acts=ways, icons=_ICONS, steps=STEPS, step=2)
        why = (await visit.ask(screen)).act
    if not card.may(why):
        sure = Screen(
            name="replace_report",
            acts=("report",),
            icons={"report": "lost"},
            values={"card": card.number},
            tone="bad",
            steps=STEPS,
            step=2,
        )
        await visit.ask(sure)
        handle = (await act(visit, holder, card, "lose", "loss_reporting")).card
        holder = await look_up(visit, person)
        card = next(found for found in holder.cards if found.card == handle)
    else:
        values = {"card": card.number}
        await visit.ask(Screen(name=f"replace_sure_{why}", values=values, tone="warn", steps=STEPS, step=2))
    if not card.may(why):
        await tell_state(visit, card, name="replace_not_possible", leave_out=("replace",))
        raise ToldError
    return holder, card, why
