"""扫码登录帮手: how logging in on a computer with the phone goes, and a try of it here."""

from __future__ import annotations

from typing import Final

from terminal_agent.kiosk.holders import told
from terminal_agent.kiosk.phone import PhoneRefusedError, phone_log_in
from terminal_agent.kiosk.screens import LEAVE, Need, Screen, Tile
from terminal_agent.kiosk.visit import Visit

TILE: Final = Tile(icon="qr", needs=frozenset({Need.CENTRE}))
HOW: Final = {"pictures": ("qr", "phone", "tap", "key")}
STEPS: Final = ("read", "try", "finish")
OFFER: Final = "/v1/self-service"
WAITING: Final = Screen(name="log_in_asking", layout="wait", acts=())


@told
async def run(visit: Visit) -> None:
    offer = await visit.wait(WAITING, visit.desk.centre.get(OFFER), may_leave=True)
    can_try = bool(offer.get("log_in"))
    acts = ("try", "trouble") if can_try else ("trouble",)
    while True:
        icons = {"try": "phone", "trouble": "info"}
        answer = await visit.ask(
            Screen(name="log_in_how", layout="how", acts=acts, icons=icons, facts=HOW, tone="warn", step=1, steps=STEPS)
        )
        if answer.act == "trouble":
            await visit.ask(Screen(name="log_in_trouble", layout="how", acts=(), tone="warn", back=True))
        elif await _try(visit):
            return


async def _try(visit: Visit) -> bool:
    try:
        holder = await phone_log_in(visit, step=2, steps=STEPS)
    except PhoneRefusedError as error:
        answer = await visit.refuse(error, ("again", LEAVE))
        return answer.act != "again"
    name = holder.holder.name if holder.holder else ""
    await visit.done(Screen(name="log_in_works", values={"name": name}, tone="ok", step=3, steps=STEPS))
    return True
