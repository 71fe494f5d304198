"""取我的卡: a finished card that waits in the machine is given to the person it belongs to, and nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from terminal_agent.kiosk.flows.making import Wanted, give
from terminal_agent.kiosk.holders import look_up, told
from terminal_agent.kiosk.identify import identify
from terminal_agent.kiosk.screens import Need, Screen, Tile
from terminal_agent.kiosk.visit import Visit

if TYPE_CHECKING:
    from terminal_agent.kiosk.desk import KioskDesk

TILE: Final = Tile(icon="card", kind="main", needs=frozenset({Need.CENTRE, Need.ID_READER}))
STEPS: Final = ("id_card", "take")


def is_offered(desk: KioskDesk) -> bool:
    return desk.maker.has_waiting_card


@told
async def run(visit: Visit) -> None:
    person = await identify(visit, purpose="collect", ways=("id_card",), step=1, steps=STEPS)
    holder = await look_up(visit, person)
    case = visit.desk.maker.case
    if case is None or not visit.desk.maker.has_waiting_card:
        await visit.tell(Screen(name="collect_none", tone="info"))
    elif all(card.application_id != case.application_id for card in holder.cards):
        await visit.tell(Screen(name="collect_not_yours", tone="warn"))
    else:
        wanted = Wanted(case.application_id, "", "collect_done", STEPS, person.masked_name, person.masked_number)
        await give(visit, wanted)
