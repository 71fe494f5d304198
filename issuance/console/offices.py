"""The office tree: one office with those above it and the next below, new ones, closing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Path
from pydantic import BaseModel
from sqlalchemy import func, select
from starlette.responses import Response

from issuance.clerks.acts import Act
from issuance.clerks.models import ClerkRow
from issuance.clerks.schemas import AskedAct
from issuance.console.acting import Confirm, ask_second, attempt, confirm
from issuance.console.forms import Form, parse
from issuance.console.lists import following, rows_of
from issuance.console.page import ROOT, Page, page_for
from issuance.console.refusals import Refusal
from issuance.console.words import words
from issuance.offices.models import OfficeRow
from issuance.offices.schemas import OfficeKind, OfficeRequest, OfficeView
from issuance.offices.service import OfficeService, office_view
from issuance.paging import PageQuery, PageRequest
from issuance.unit import Unit

router = APIRouter(prefix="/staff/offices")
Reading = Annotated[Page, page_for(Act.OFFICE_READ)]
Managing = Annotated[Page, page_for(Act.OFFICE_MANAGE)]
Passwords = Annotated[Page, page_for(Act.OFFICE_PASSWORD)]
OfficeId = Annotated[int, Path(ge=1, le=2**31 - 1)]
KINDS: tuple[str, ...] = get_args(OfficeKind)
MOST_CHOICES = 500


class Nothing(BaseModel):
    """An act that needs no more than its address."""


@dataclass(frozen=True, slots=True)
class Branch:
    office: OfficeView
    depth: int
    clerks: int


def depth_of(office: OfficeView | OfficeRow) -> int:
    path = office.path if isinstance(office, OfficeView) else office.office
    return path.count("/") - 2


@router.get("")
async def own(page: Reading, asked: PageQuery) -> Response:
    return await _show(page, page.desk.who.office_id, asked)


@router.get("/{office_id}")
async def show(office_id: OfficeId, page: Reading, asked: PageQuery) -> Response:
    return await _show(page, office_id, asked)


async def _show(page: Page, office_id: int, asked: PageRequest) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        service = OfficeService(unit)
        office = await service.get(office_id)
        above = await _above(unit, office)
        below = await service.find(office.id, None, rows_of(asked))
        shown = [*above, office, *below.items]
        counts = await _clerks_at(unit, [one.id for one in shown])
    top = depth_of(shown[0])
    branches = [Branch(one, depth_of(one) - top, counts.get(one.id, 0)) for one in shown]
    path = f"/staff/offices/{office.id}"
    return page.show("office.html", office=office, branches=branches, following=following(path, below.next_cursor))


async def _above(unit: Unit, office: OfficeView) -> list[OfficeView]:
    """Offices the clerk's own scope has above this one, from the top."""
    ids = [int(part) for part in office.path.strip("/").split("/")][:-1]
    rows = await unit.session.scalars(select(OfficeRow).where(OfficeRow.id.in_(ids)))
    return sorted((office_view(row) for row in rows), key=depth_of)


async def _clerks_at(unit: Unit, ids: Sequence[int]) -> dict[int, int]:
    query = select(ClerkRow.office_id, func.count()).where(ClerkRow.office_id.in_(ids), ClerkRow.status == "active")
    return {row[0]: row[1] for row in await unit.session.execute(query.group_by(ClerkRow.office_id))}


async def office_choices(unit: Unit, language: str) -> list[tuple[str, str]]:
    """Open offices in the order of the tree, indented, for a list to choose from."""
    found = await OfficeService(unit).find(None, "open", PageRequest(MOST_CHOICES))
    tree = sorted(found.items, key=lambda office: [int(part) for part in office.path.strip("/").split("/")])
    top = min((depth_of(office) for office in tree), default=0)
    return [(str(one.id), "\u3000" * (depth_of(one) - top) + name_of(one, language)) for one in tree]


def name_of(office: OfficeView, language: str) -> str:
    return (office.name_en if language == "en" else "") or office.name_zh


# -- acts -------------------------------------------------------------------------------------------------------------


@router.get("/{office_id}/new")
async def ask_new(office_id: OfficeId, page: Managing) -> Response:
    return await _new(page, office_id)


async def _new(page: Page, office_id: int, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        office = await OfficeService(unit).get(office_id)
    kinds = [(kind, words(page.language)["staff"][f"kind_{kind}"]) for kind in KINDS if kind != "region"]
    return page.show("office_new.html", office=office, kinds=kinds, **context)


@router.post("/{office_id}/new")
async def make(office_id: OfficeId, page: Managing) -> Response:
    form = await Form.of(page.request)

    def read() -> OfficeRequest:
        return parse(OfficeRequest, form.nested("kind", "region", "name_zh", "name_en") | {"parent_id": office_id})

    async def run(unit: Unit, order: OfficeRequest) -> OfficeView:
        return await OfficeService(unit).create(order)

    done = await attempt(page, form, "office", read, OfficeView, run)
    if isinstance(done, Refusal):
        return await _new(page, office_id, form=form, refusal=done)
    return page.go(f"/staff/offices/{done.id}", said="staff.said_office")


@router.get("/{office_id}/password")
async def ask_password(office_id: OfficeId, page: Passwords) -> Response:
    return await _password(page, office_id)


async def _password(page: Page, office_id: int, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        office = await OfficeService(unit).get(office_id)
    known, here = words(page.language)["staff"], f"{ROOT}/staff/offices/{office_id}"
    act = "password_off" if office.takes_password else "password_on"
    ask = Confirm(
        title=known[act],
        thing=name_of(office, page.language),
        effects=known[f"effect_{act}"].split("\n"),
        action=f"{here}/password",
        button=known["ask_second"],
        back=here,
        icon="key",
        is_grave=office.takes_password,
        reason=known["reason"],
        kept={"takes_password": "false" if office.takes_password else "true"},
    )
    return confirm(page, ask, "staff", **context)


@router.post("/{office_id}/password")
async def set_password_use(office_id: OfficeId, page: Passwords) -> Response:
    form = await Form.of(page.request)

    def read() -> AskedAct:
        body = form.nested("takes_password") | {"office_id": office_id}
        return parse(AskedAct, form.nested("reason") | {"act": Act.OFFICE_PASSWORD, "body": body})

    done = await ask_second(page, form, f"office.password:{office_id}", read)
    if isinstance(done, Refusal):
        return await _password(page, office_id, form=form, refusal=done)
    return page.go("/approvals", said="staff.said_asked")


@router.get("/{office_id}/close")
async def ask_close(office_id: OfficeId, page: Managing) -> Response:
    return await _close(page, office_id)


async def _close(page: Page, office_id: int, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        office = await OfficeService(unit).get(office_id)
    known, here = words(page.language)["staff"], f"{ROOT}/staff/offices/{office_id}"
    ask = Confirm(
        title=known["close"],
        thing=name_of(office, page.language),
        effects=known["effect_close"].split("\n"),
        action=f"{here}/close",
        button=known["close"],
        back=here,
        facts=[(known["kind"], known[f"kind_{office.kind}"]), (known["region"], office.region)],
    )
    return confirm(page, ask, "staff", **context)


@router.post("/{office_id}/close")
async def close(office_id: OfficeId, page: Managing) -> Response:
    form = await Form.of(page.request)

    async def run(unit: Unit, _order: Nothing) -> OfficeView:
        return await OfficeService(unit).close(office_id)

    done = await attempt(page, form, f"office.close:{office_id}", Nothing, OfficeView, run)
    if isinstance(done, Refusal):
        return await _close(page, office_id, form=form, refusal=done)
    return page.go(f"/staff/offices/{office_id}", said="staff.said_closed")
