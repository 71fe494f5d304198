"""An invented holder of an enabled card, for the phone of `onecard up`: issued once, through the services."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cardlib.identity import citizen_number
from hsm.sealed_store import write_atomically
from onecard_cli.demo import Demo, Progress
from onecard_cli.kiosk_stand import card_folder
from simulators.card import CardStore

if TYPE_CHECKING:
    from onecard_cli.system import System

_FILE = "demo-holder.json"
_FIRST_NUMBER = "D0000001"
_PERSON = {
    "social_security_number": citizen_number("99010119620608203"),
    "name": "测试持卡人",
    "sex": "1",
    "ethnic_group": "01",
    "birthplace": "990100",
    "birth_date": "19620608",
}


def demo_holder(system: System) -> dict[str, str]:
    """What the holder types into the phone: name, number, card_number. Needs the free slot 0 at the first start."""
    path = system.home.path / _FILE
    if not path.exists():
        demo = Demo("3.0", use_pcsc=system.use_pcsc, tear=0, progress=Progress(is_silent=True))
        made = demo.issue(system, system.client("terminal-1"), system.agent_client(), _PERSON, _FIRST_NUMBER)
        made.link.remove()
        chip = made.link.card.state
        CardStore(card_folder(system.home) / f"{chip.historical.hex()[-8:]}.json").save(chip)
        holder = {
            "name": _PERSON["name"],
            "number": _PERSON["social_security_number"],
            "card_number": made.issued["card_number"],
        }
        write_atomically(path, json.dumps(holder, ensure_ascii=False).encode())
    found: dict[str, str] = json.loads(path.read_text("utf-8"))
    return found
