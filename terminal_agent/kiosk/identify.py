"""Who stands at the machine: by ID card, by the own card with its PIN, or by the phone. Known for this visit alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from apdu.errors import CardAbsentError
from apdu.serial.idcard import CardKind, IdCard
from cardlib.identity import mask_id, mask_name
from cardlib.transit_code import CHINA
from terminal_agent.kiosk.card import citizen_card
from terminal_agent.kiosk.holders import ToldError
from terminal_agent.kiosk.phone import phone_log_in
from terminal_agent.kiosk.pins import verified_pin
from terminal_agent.kiosk.screens import Answer, Need, Screen

if TYPE_CHECKING:
    from terminal_agent.kiosk.views import HolderView
    from terminal_agent.kiosk.visit import Visit

Way = Literal["id_card", "card_pin", "ecard"]
WAYS: Final[tuple[Way, ...]] = ("id_card", "card_pin", "ecard")
ID_CARD_WAIT_S: Final = 20.0
_MEMORY: Final = "persons"
_ICONS: Final = {"id_card": "file", "card_pin": "card", "ecard": "phone"}
_NEEDS: Final = {
    "id_card": (Need.ID_READER,),
    "card_pin": (Need.CARD_SLOT, Need.PIN_ENTRY),
    "ecard": (Need.CENTRE,),
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the machine saw of a person; `card_number` of an own card."""

    kind: Way
    card_number: str = field(default="", repr=False)

    def body(self) -> dict[str, str]:
        return {"kind": self.kind} | ({"card_number": self.card_number} if self.card_number else {})


@dataclass(frozen=True, slots=True)
class Person:
    """`holder` is what the centre said with a log-in by phone, which shows name and number only masked."""

    name: str = field(repr=False)
    number: str = field(repr=False)
    evidence: Evidence
    id_card: IdCard | None = field(default=None, repr=False)
    holder: HolderView | None = field(default=None, repr=False)

    @property
    def masked_name(self) -> str:
        return self.name if self.evidence.kind == "ecard" else mask_name(self.name)

    @property
    def masked_number(self) -> str:
        return self.number if self.evidence.kind == "ecard" else mask_id(self.number)

    def body(self) -> dict[str, Any]:
        """As `POST /v1/self-service/holders` takes it."""
        named = {"name": self.name, "social_security_number": self.number}
        return {**named, "evidence": [self.evidence.body()]}


async def identify(
    visit: Visit, purpose: str, ways: tuple[Way, ...] = ("id_card",), *, step: int = 0, steps: tuple[str, ...] = ()
) -> Person:
    """One who has shown who they are by one of `ways` is not asked again in the same visit. `purpose` is for the log.

    Raises VisitOver, and what the way raises; DeviceNotConfiguredError where this machine has none of the ways.
    """
    known: dict[str, Person] = visit.memory.setdefault(_MEMORY, {})
    for way in ways:
        if way in known:
            return known[way]
    way = await _chosen(visit, ways, step, steps)
    person = await _WAYS[way](visit, step, steps)
    known[person.evidence.kind] = person
    return person


async def _chosen(visit: Visit, ways: tuple[Way, ...], step: int, steps: tuple[str, ...]) -> Way:
    able: list[Way] = [way for way in ways if all(visit.desk.can(need) for need in _NEEDS[way])]
    if len(able) < 2:
        return able[0] if able else ways[0]
    answer = await visit.ask(
        Screen(name="identify", layout="choice", acts=tuple(able), icons=_ICONS, step=step, steps=steps)
    )
    return next(way for way in able if way == answer.act)


async def _by_id_card(visit: Visit, step: int, steps: tuple[str, ...]) -> Person:
    """Waits as long as the visit lasts; what was laid there before is lifted first. Raises ToldError for one that is
    out of date."""
    screen = Screen(name="lay_id_card", acts=(), step=step, steps=steps)
    card = await visit.wait(screen, _id_card(visit), may_leave=True)
    if card.text.valid_to is not None and card.text.valid_to < datetime.now(CHINA).date():
        await visit.tell(Screen(name="id_card_expired", tone="warn", step=step, steps=steps))
        raise ToldError
    visit.id_card = card
    name = "id_card_read" if card.text.kind is CardKind.RESIDENT else "permit_read"
    seen: Answer = await visit.ask(Screen(name=name, acts=("taken",), tone="ok", step=step, steps=steps))
    assert seen.act == "taken"
    return Person(card.text.name, card.text.number, Evidence("id_card"), card)


async def _id_card(visit: Visit) -> IdCard:
    while True:
        with suppress(CardAbsentError):
            return await visit.desk.agent.devices.read_id_card(ID_CARD_WAIT_S)
        await asyncio.sleep(0)


async def _by_card(visit: Visit, step: int, steps: tuple[str, ...]) -> Person:
    async with citizen_card(visit) as card:
        basic = card.basic
        with await verified_pin(visit, card, step=step, steps=steps):
            pass  # the card has said yes; the digits are wiped
    return Person(basic.name, basic.social_security_number, Evidence("card_pin", basic.card_number))


async def _by_phone(visit: Visit, step: int, steps: tuple[str, ...]) -> Person:
    holder = await phone_log_in(visit, step=step, steps=steps)
    shown = holder.holder
    name, number = (shown.name, shown.social_security_number) if shown else ("", "")
    return Person(name, number, Evidence("ecard"), holder=holder)


_WAYS: Final = {"id_card": _by_id_card, "card_pin": _by_card, "ecard": _by_phone}
