"""社保卡密码: changed with the old one, or set anew by the centre for somebody who has ID card and card."""

from __future__ import annotations

import hmac
from typing import Final

from cardlib.driver_session import EnteredPin
from cardlib.errors import LastTryError
from cardlib.identity import mask_card_number
from cardlib.session import BasicInformation
from terminal_agent.kiosk.card import CitizenCard, citizen_card
from terminal_agent.kiosk.holders import ToldError, card_shown, look_up, presented, told
from terminal_agent.kiosk.identify import identify
from terminal_agent.kiosk.pins import PinPurpose, PinUnsetError, Weak, enter_pin, tries_left, verified_pin, weak_for
from terminal_agent.kiosk.screens import Need, Receipt, Screen, Tile
from terminal_agent.kiosk.sessions import card_session
from terminal_agent.kiosk.states import tell_state
from terminal_agent.kiosk.visit import Visit

TILE: Final = Tile(icon="key", needs=frozenset({Need.CARD_SLOT, Need.PIN_ENTRY}))
CHANGE: Final = ("insert", "old_pin", "new_pin", "finish")
RESET: Final = ("id_card", "insert", "new_pin", "finish")
KNOWN: Final = {"unblock": "check", "forgotten": "key"}
SAME: Final = "same"


@told
async def run(visit: Visit) -> None:
    choice = await visit.ask(
        Screen(name="pin_choice", layout="choice", acts=("change", "reset"), icons={"change": "key", "reset": "staff"})
    )
    if choice.act == "reset":
        await _reset(visit)
        return
    try:
        await _change(visit)
    except (LastTryError, PinUnsetError) as error:
        await visit.ask(Screen(name=_why(error), acts=("reset",), tone="warn"))
        await _reset(visit)


def _why(error: LastTryError | PinUnsetError) -> str:
    if isinstance(error, PinUnsetError):
        return "pin_unset"
    return "pin_last_try" if error.attempts_remaining else "pin_locked"


async def _change(visit: Visit) -> None:
    async with citizen_card(visit, "pin_insert") as card:
        await tries_left(card)
        await visit.ask(Screen(name="pin_rules", acts=("ok",), step=1, steps=CHANGE))
        with await verified_pin(visit, card, step=2, steps=CHANGE) as old:
            weak = _unlike(old, card.basic)
            with await enter_pin(visit, PinPurpose.NEW, weak=weak, step=3, steps=CHANGE) as new:
                await visit.wait(Screen(name="pin_writing", layout="wait", acts=()), _write(card, old, new))
        await card.used("pin")
        number = card.basic.card_number
    await _finish(visit, "pin_changed", number, CHANGE)


async def _write(card: CitizenCard, old: EnteredPin, new: EnteredPin) -> None:
    await card.do(lambda c: c.change_pin(old.digits, new.digits))


def _unlike(old: EnteredPin, basic: BasicInformation) -> Weak:
    """A new PIN is neither weak nor the old one."""
    weak = weak_for(basic.social_security_number, basic.birth_date)
    return lambda digits: SAME if hmac.compare_digest(digits, old.digits) else weak(digits)


async def _reset(visit: Visit) -> None:
    """Never by the card alone: the ID card says who it is, and the card in the slot must be that person's."""
    person = await identify(visit, purpose="pin_reset", ways=("id_card",), step=1, steps=RESET)
    async with citizen_card(visit, "pin_reset_insert", takes_listed=True) as card:
        basic, tries, reader = card.basic, await card.do(lambda c: c.pin_tries()), card.reader
    if basic.social_security_number != person.number:
        await visit.tell(Screen(name="card_of_another", tone="bad"))
        raise ToldError
    holder = await look_up(visit, person, card_shown(basic))
    shown = await presented(visit, holder)
    act = shown.act("pin_reset")
    if not act.possible:
        await tell_state(visit, shown, leave_out=("pin",))
        return
    if tries == 0 and shown.act("pin_unblock").possible:
        choice = await visit.ask(Screen(name="pin_known", layout="choice", acts=("unblock", "forgotten"), icons=KNOWN))
        if choice.act == "unblock":
            await card_session(visit, reader, "pin_unblock", holder.visit, "pin_unblocking")
            await _finish(visit, "pin_unblocked", basic.card_number, RESET)
            return
    await visit.ask(Screen(name="pin_rules", acts=("ok",), step=2, steps=RESET))
    weak = weak_for(basic.social_security_number, basic.birth_date)
    with await enter_pin(visit, PinPurpose.NEW, weak=weak, step=3, steps=RESET) as new:
        await card_session(visit, reader, "pin_reset", holder.visit, "pin_writing", new)
    await _finish(visit, "pin_was_reset", basic.card_number, RESET)


async def _finish(visit: Visit, name: str, card_number: str, steps: tuple[str, ...]) -> None:
    card = mask_card_number(card_number)
    await visit.done(
        Screen(name=name, values={"card": card}, tone="ok", step=4, steps=steps), Receipt(name, (("card", card),))
    )
