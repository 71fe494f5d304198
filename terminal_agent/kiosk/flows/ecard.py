"""电子社保卡: onto the phone, how it stands, and its identity code on this screen for who shows ID card and card."""

from __future__ import annotations

import asyncio
from typing import Final

from terminal_agent.kiosk.card import citizen_card
from terminal_agent.kiosk.holders import ToldError, card_shown, look_up, presented, told
from terminal_agent.kiosk.identify import identify
from terminal_agent.kiosk.screens import Need, Screen, Tile
from terminal_agent.kiosk.views import CardView, CodeView, HolderView
from terminal_agent.kiosk.visit import Visit

TILE: Final = Tile(icon="phone", needs=frozenset({Need.CENTRE}))
OFFER: Final = "/v1/self-service"
CODES: Final = "/v1/self-service/codes"
SHOWN: Final = 5
"""Codes shown one after the other without being asked again."""
ICONS: Final = {"install": "phone", "state": "search", "code": "qr"}
WAITING: Final = Screen(name="ecard_asking", layout="wait", acts=())


@told
async def run(visit: Visit) -> None:
    if not visit.desk.can(Need.ID_READER):
        await _install(visit)
        return
    choice = await visit.ask(Screen(name="ecard_choice", layout="choice", acts=tuple(ICONS), icons=ICONS))
    if choice.act == "install":
        await _install(visit)
    elif choice.act == "state":
        await _state(visit)
    else:
        await _code(visit)


async def _install(visit: Visit) -> None:
    """The steps are the app's own; the link is the centre's."""
    offer = await visit.wait(WAITING, visit.desk.centre.get(OFFER), may_leave=True)
    url = str(offer.get("sign_up_url") or "")
    if url:
        await visit.tell(Screen(name="ecard_install", layout="code", qr=url, patience=3))
    else:
        await visit.tell(Screen(name="ecard_install_by_name", layout="how", patience=3))


async def _state(visit: Visit) -> None:
    person = await identify(visit, purpose="ecard", ways=("id_card",))
    holder = await look_up(visit, person)
    ecard = next((card.ecard for card in holder.cards if card.ecard is not None), None)
    if ecard is None:
        await visit.tell(Screen(name="ecard_none"))
        return
    facts = {"ecard": ecard}
    acts = ("understood",) if ecard.is_on_phone else ("install", "understood")
    tone = "ok" if ecard.usable else "warn"
    if (await visit.ask(Screen(name="ecard_state", acts=acts, facts=facts, tone=tone))).act == "install":
        await _install(visit)


async def _code(visit: Visit) -> None:
    person = await identify(visit, purpose="code", ways=("id_card",))
    async with citizen_card(visit, "ecard_insert", takes_listed=True) as card:
        basic = card.basic
    if basic.social_security_number != person.number:
        await visit.tell(Screen(name="card_of_another", tone="bad"))
        raise ToldError
    holder = await look_up(visit, person, card_shown(basic))
    shown = await presented(visit, holder)
    act = shown.act("code")
    if not act.possible:
        facts = {"act": act}
        await visit.ask(Screen(name="ecard_no_code", layout="reason", acts=("install",), facts=facts, tone="warn"))
        await _install(visit)
        return
    await _show_codes(visit, holder, shown)


async def _show_codes(visit: Visit, holder: HolderView, card: CardView) -> None:
    """Each for its minute, renewed by itself some times; then at a touch."""
    order = {"visit": holder.visit, "card": card.card}
    while True:
        for _ in range(SHOWN):
            code = CodeView.model_validate(await visit.wait(WAITING, visit.desk.centre.post(CODES, order)))
            screen = Screen(name="ecard_code", layout="code", acts=("finish",), qr=code.code, ring_s=code.ttl_s)
            over = visit.desk.clock.wait(asyncio.Event(), code.ttl_s)
            if await visit.wait_or_act(screen, over) is not None:
                return
        await visit.ask(Screen(name="ecard_code_over", acts=("show",)))
