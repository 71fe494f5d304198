"""查办卡进度: by ID card, or by receipt number and the end of the number the card is for."""

from __future__ import annotations

from typing import Final

from cardlib.failures import FailureCode
from terminal_agent.centre import CentreRefusedError
from terminal_agent.kiosk.holders import look_up, told
from terminal_agent.kiosk.identify import identify
from terminal_agent.kiosk.screens import Field, Need, Screen, Tile
from terminal_agent.kiosk.states import tell_state
from terminal_agent.kiosk.views import ApplicationView, ProgressView
from terminal_agent.kiosk.visit import GoTo, Visit

TILE: Final = Tile(icon="clock", needs=frozenset({Need.CENTRE}))
PROGRESS: Final = "/v1/progress"
ICONS: Final = {"id_card": "card", "receipt": "print"}
UNKNOWN: Final = frozenset({FailureCode.PROGRESS_UNKNOWN, FailureCode.INPUT_INVALID})
NUMBER: Final = Field("receipt", r"[0-9]{16}", 16)
CHECK: Final = Field("check", r"[0-9]{5}[0-9Xx]", 6, keys="id")


@told
async def run(visit: Visit) -> None:
    if not visit.desk.can(Need.ID_READER):
        await _by_receipt(visit)
        return
    answer = await visit.ask(Screen(name="progress_choice", layout="choice", acts=tuple(ICONS), icons=ICONS))
    if answer.act == "id_card":
        await _by_person(visit)
    else:
        await _by_receipt(visit)


async def _by_person(visit: Visit) -> None:
    person = await identify(visit, purpose="progress", ways=("id_card",))
    holder = await look_up(visit, person)
    if holder.application is not None:
        await _show(visit, holder.application)
    elif holder.cards:
        await tell_state(visit, holder.cards[0], name="progress_none")
    else:
        await visit.tell(Screen(name="progress_unknown"))


async def _by_receipt(visit: Visit) -> None:
    while True:
        receipt = await visit.ask(Screen(name="progress_receipt", layout="keypad", fields=(NUMBER,)))
        check = await visit.ask(Screen(name="progress_check", layout="keypad", fields=(CHECK,), back=True))
        if check.act == "back":
            continue
        question = {"receipt_number": receipt["receipt"], "check": check["check"].upper()}
        looking = Screen(name="progress_looking", layout="wait", acts=())
        try:
            answer = await visit.wait(looking, visit.desk.centre.post(PROGRESS, question), may_leave=True)
        except CentreRefusedError as error:
            if error.failure not in UNKNOWN:
                raise
            await visit.ask(Screen(name="progress_no_match", acts=("again",), tone="warn"))
            continue
        await _show(visit, ProgressView.model_validate(answer))
        return


async def _show(visit: Visit, progress: ProgressView) -> None:
    """What is done, what goes on, and what the person does next."""
    goes_on = isinstance(progress, ApplicationView) and progress.can_continue and "apply" in visit.desk.flows
    acts = ("apply", "understood") if goes_on else ("understood",)
    answer = await visit.ask(
        Screen(
            name="progress_shown",
            acts=acts,
            icons={"apply": "card"},
            facts={"progress": progress},
        )
    )
    if answer.act == "apply":
        raise GoTo("apply")
