"""办新卡: from the ID card on the reader to the finished card in the hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from apdu.serial.idcard import CardKind, IdCard
from cardlib.failures import FailureCode
from cardlib.identity import mask_id, mask_name
from terminal_agent.kiosk.flows.making import Wanted, agree_to_fee, grouped, make, until_paid
from terminal_agent.kiosk.holders import LOOKING_UP, ToldError, look_up, told
from terminal_agent.kiosk.identify import Person, identify
from terminal_agent.kiosk.photos import choose_photo
from terminal_agent.kiosk.screens import Field, Need, Row, Screen, Tile
from terminal_agent.kiosk.states import tell_state
from terminal_agent.kiosk.views import ApplicationView, HolderView
from terminal_agent.kiosk.visit import GoTo, Visit

TILE: Final = Tile(icon="card", kind="main", needs=frozenset({Need.CENTRE, Need.ID_READER, Need.CARD_MACHINE}))
STEPS: Final = ("id_card", "check", "photo", "make", "take")
PHONE: Final = Field("phone", r"1[3-9][0-9]{9}", 11)
OFFER: Final = "/v1/self-service"
APPLICATIONS: Final = "/v1/applications"
CONTINUATIONS: Final = "/v1/self-service/continuations"


@dataclass(frozen=True, slots=True)
class Wishes:
    phone: str
    with_ecard: bool


@told
async def run(visit: Visit) -> None:
    person = await identify(visit, purpose="apply", ways=("id_card",), step=1, steps=STEPS)
    holder = await look_up(visit, person)
    if holder.application is not None:
        await go_on(visit, person, holder, holder.application)
        return
    card = await _demand_first(visit, person, holder)
    region = await _region(visit)
    wishes = await _confirmed(visit, person, card)
    photo = await choose_photo(visit, holder, region, is_required=holder.photo_required, steps=STEPS, step=3)
    await agree_to_fee(visit, holder.apply.fee_fen, STEPS, 3)
    order = application_of(card, region, wishes, photo)
    sending = visit.desk.centre.post(APPLICATIONS, order, seen=holder.visit)
    found = await visit.wait(Screen(name="apply_sending", layout="wait", acts=(), steps=STEPS, step=3), sending)
    wanted = wanted_of(person, found["id"], found["receipt_number"], "apply_done")
    if found["state"] == "submitted":  # the population register has not answered
        await visit.done(
            Screen(name="apply_waiting", tone="warn"), wanted.receipt("apply_waiting", "apply_waiting_next")
        )
        return
    await until_paid(visit, wanted, holder.apply.fee_fen)
    await make(visit, wanted)


async def go_on(visit: Visit, person: Person, holder: HolderView, application: ApplicationView) -> None:
    """With an application that is open already: its card is made now, or it is told how far it is."""
    number = application.receipt_number or ""
    values = {"receipt_number": grouped(number)}
    facts = {"application": application}
    if application.id is None or not application.can_continue or visit.desk.maker.trouble() is not None:
        ways = ("progress",) if "progress" in visit.desk.flows else ()
        screen = Screen(name="apply_open", acts=(*ways, "understood"), values=values, facts=facts)
        if (await visit.ask(screen)).act == "progress":
            raise GoTo("progress")
        return
    await visit.ask(Screen(name="apply_go_on", acts=("make",), icons={"make": "card"}, values=values, facts=facts))
    if not application.is_mine:
        order = {"visit": holder.visit, "application_id": application.id}
        await visit.wait(LOOKING_UP, visit.desk.centre.post(CONTINUATIONS, order))
    wanted = wanted_of(person, application.id, number, "apply_done")
    await until_paid(visit, wanted, 0 if application.is_paid else application.fee_fen)
    await make(visit, wanted)


def wanted_of(person: Person, application_id: str, receipt_number: str, done: str) -> Wanted:
    return Wanted(application_id, receipt_number, done, STEPS, person.masked_name, person.masked_number)


async def _demand_first(visit: Visit, person: Person, holder: HolderView) -> IdCard:
    """The ID card of one who may have a first card here. Raises ToldError, GoTo."""
    card = person.id_card
    if card is None or card.text.kind is not CardKind.RESIDENT:
        await visit.tell(Screen(name="apply_permit", tone="info"))
    elif holder.guardian_needed:
        await visit.tell(Screen(name="apply_minor", tone="info"))
    elif holder.apply.possible:
        return card
    elif holder.cards:
        await tell_state(visit, holder.cards[0], name="apply_has_card")
    else:
        await visit.tell(Screen(name="apply_not", facts={"why": holder.apply}, tone="warn"))
    raise ToldError


async def _region(visit: Visit) -> str:
    """Where this machine issues. Raises ToldError."""
    region = (await visit.desk.centre.get(OFFER)).get("region")
    if not region:
        await visit.refuse(FailureCode.REGION_UNKNOWN)
        raise ToldError
    return str(region)


async def _confirmed(visit: Visit, person: Person, card: IdCard) -> Wishes:
    """What the person says is right; telephone and electronic card may be changed until then."""
    phone = await _telephone(visit)
    with_ecard = await _ecard(visit)
    while True:
        answer = await visit.ask(_data(card, Wishes(phone, with_ecard)))
        match answer.act:
            case "change-phone":
                phone = await _telephone(visit)
            case "change-ecard":
                with_ecard = await _ecard(visit)
            case "wrong":
                await visit.tell(Screen(name="apply_wrong_data", tone="warn"))
                raise ToldError
            case _:
                return Wishes(phone, with_ecard)


async def _telephone(visit: Visit) -> str:
    while True:
        entered = await visit.ask(
            Screen(name="apply_phone", layout="keypad", fields=(PHONE,), steps=STEPS, step=2, tone="info")
        )
        phone = entered["phone"]
        values = {"phone": f"{phone[:3]} {phone[3:7]} {phone[7:]}"}
        check = Screen(name="apply_phone_check", acts=("right", "change"), values=values, steps=STEPS, step=2)
        if (await visit.ask(check)).act == "right":
            return phone


async def _ecard(visit: Visit) -> bool:
    icons = {"with": "phone", "without": "card"}
    screen = Screen(name="apply_ecard", layout="choice", acts=("with", "without"), icons=icons, steps=STEPS, step=2)
    return (await visit.ask(screen)).act == "with"


def _data(card: IdCard, wishes: Wishes) -> Screen:
    text, phone = card.text, wishes.phone
    until = Row("valid_to", "", word="long") if text.valid_to is None else Row("valid_to", f"{text.valid_to:%Y-%m-%d}")
    return Screen(
        name="apply_confirm",
        layout="check",
        acts=("ok", "wrong"),
        rows=(
            Row("name", mask_name(text.name)),
            Row("number", mask_id(text.number)),
            Row("birth", f"{text.birth_date:%Y-%m}"),
            until,
            Row("phone", f"{phone[:3]}****{phone[-4:]}", act="change-phone"),
            Row("ecard", "", word="with" if wishes.with_ecard else "without", act="change-ecard"),
        ),
        steps=STEPS,
        step=2,
        tone="warn",
    )


def application_of(card: IdCard, region: str, wishes: Wishes, photo_id: str | None) -> dict[str, Any]:
    """What `POST /v1/applications` takes. The place of birth is the one in the number (GB 11643, 6)."""
    text = card.text
    return {
        "region": region,
        "channel": "kiosk",
        "with_ecard": wishes.with_ecard,
        "photo_id": photo_id,
        "person": {
            "social_security_number": text.number,
            "name": text.name,
            "sex": text.sex,
            "ethnic_group": text.nation or "99",
            "birthplace": text.number[:6],
            "birth_date": f"{text.birth_date:%Y%m%d}",
            "telephone": wishes.phone,
        },
    }
