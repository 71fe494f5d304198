"""Collecting applications: adults, minors with their guardian, newborns. Another clerk reviews each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter
from starlette.responses import Response

from cardlib.spec.loader import code_list
from cardlib.wire import HexId
from issuance.applications.schemas import ApplicationRequest, ApplicationView
from issuance.applications.service import ApplicationService
from issuance.clerks.acts import Act
from issuance.console.forms import Form, parse
from issuance.console.holders import RELATIONS
from issuance.console.page import Page, page_for
from issuance.idempotency import once
from issuance.identity.service import ask_register
from issuance.newborns.schemas import NewbornRequest, NewbornView, Registration
from issuance.newborns.service import NewbornService, ask_for_child, ask_for_registered
from issuance.persons.checks import PersonChecker
from issuance.problems import bad_input
from issuance.reviews.service import Reviews
from issuance.unit import Unit

router = APIRouter(prefix="/collect")
Collecting = Annotated[Page, page_for(Act.APPLICATION_COLLECT)]
WHO = ("adult", "minor", "newborn")


@router.get("")
async def show(page: Collecting, who: str = "adult") -> Response:
    return _form(page, who if who in WHO else "adult")


def _form(page: Page, who: str, **context: Any) -> Response:
    template = "collect_newborn.html" if who == "newborn" else "collect.html"
    return page.show(
        template,
        who=who,
        region=page.viewer.region,
        rules=page.desk.rules(page.viewer.region),
        ethnic_groups=sorted(code_list("ethnic_group").codes.items()),
        relations=[(code, page.term("relation", code)) for code in RELATIONS],
        sexes=[(code, page.term("sex", code)) for code in ("1", "2")],
        **context,
    )


@router.post("")
async def collect(page: Collecting) -> Response:
    form = await Form.of(page.request)
    who = "minor" if form.get("who") == "minor" else "adult"
    try:
        request = parse(ApplicationRequest, _application(page, form, who))
        identity = await ask_register(page.desk, request)
        async with page.desk.unit() as unit:

            async def make() -> ApplicationView:
                made = await ApplicationService(unit).apply(request, identity)
                await Reviews(unit).open(made.id, made.region)
                return made

            view = await once(unit, Response(), "console.applications", form.key, request, ApplicationView, make)
    except Exception as error:
        refusal = page.refusal(error)
        is_child = any(name.startswith("guardian") for name in refusal.fields)
        return _form(page, "minor" if is_child else who, form=form, refusal=refusal)
    return page.go(f"/applications/{view.id}", said="application.said_collected")


def _application(page: Page, form: Form, who: str) -> dict[str, Any]:
    parts = ("person", "delivery") + (("guardian",) if who == "minor" else ("agent",) if "agent.name" in form else ())
    data = form.nested(*parts)
    data["person"] = _told_by_number(page, data.get("person", {}))
    return data | {"region": page.viewer.region, "with_ecard": form.get("with_ecard") == "true"}


def _told_by_number(page: Page, person: Mapping[str, Any]) -> dict[str, Any]:
    """Birth date and sex from a citizen's number where the clerk left them out; dates without their hyphens.

    Raises INPUT_INVALID for a number that is none, and leaves it at that: the rest would follow from it.
    """
    made = dict(person) | {"birth_date": _digits(person.get("birth_date"))}
    checker = PersonChecker(page.desk.today)
    number = checker.number(str(person.get("social_security_number", "")), "body.person.social_security_number")
    if number is None:
        raise bad_input(*checker.errors)
    made["birth_date"] = made["birth_date"] or (number.birth_date.strftime("%Y%m%d") if number.birth_date else "")
    return ({"sex": number.sex} if number.sex else {}) | made


def _digits(day: str | None) -> str:
    return (day or "").replace("-", "")


# -- newborns ---------------------------------------------------------------------------------------------------------


@router.post("/newborns")
async def hand_in(page: Collecting) -> Response:
    form = await Form.of(page.request)
    try:
        data = form.nested("certificate_number", "hospital", "child", "mother", "father", "applicant", "delivery")
        child = data.setdefault("child", {})
        child["birth_date"] = _digits(child.get("birth_date"))
        data |= {"region": page.viewer.region, "channel": "counter", "with_ecard": form.get("with_ecard") == "true"}
        request = parse(NewbornRequest, data)
        identity = await ask_for_child(page.desk, request)
        async with page.desk.unit() as unit:

            async def make() -> NewbornView:
                return await _reviewed(unit, await NewbornService(unit).submit(request, identity))

            view = await once(unit, Response(), "console.newborns", form.key, request, NewbornView, make)
    except Exception as error:
        return _form(page, "newborn", form=form, refusal=page.refusal(error))
    return _after(page, view)


@router.get("/newborns/{newborn_id}")
async def waiting(newborn_id: HexId, page: Collecting) -> Response:
    """What the household registration has yet to give."""
    return await _waiting(page, newborn_id)


async def _waiting(page: Page, newborn_id: str, **context: Any) -> Response:
    async with page.desk.unit() as unit:
        view = await NewbornService(unit).view(newborn_id)
    if view.application_id is not None:
        return page.go(f"/applications/{view.application_id}")
    return page.show("newborn.html", view=view, **context)


@router.post("/newborns/{newborn_id}")
async def register(newborn_id: HexId, page: Collecting) -> Response:
    form = await Form.of(page.request)
    try:
        registration = parse(Registration, form.nested("name", "social_security_number"))
        identity = await ask_for_registered(page.desk, newborn_id, registration)
        async with page.desk.unit() as unit:

            async def make() -> NewbornView:
                return await _reviewed(unit, await NewbornService(unit).register(newborn_id, registration, identity))

            scope = f"console.newborn:{newborn_id}"
            view = await once(unit, Response(), scope, form.key, registration, NewbornView, make)
    except Exception as error:
        return await _waiting(page, newborn_id, form=form, refusal=page.refusal(error))
    return _after(page, view)


async def _reviewed(unit: Unit, view: NewbornView) -> NewbornView:
    if view.application_id is not None:
        await Reviews(unit).open(view.application_id, view.region)
    return view


def _after(page: Page, view: NewbornView) -> Response:
    if view.application_id is not None:
        return page.go(f"/applications/{view.application_id}", said="application.said_collected")
    return page.go(f"/collect/newborns/{view.id}", said="collect.said_waiting")
