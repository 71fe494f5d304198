"""The electronic card on this phone: applying for it, its state and channels, its password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import Response

from simulators.wallet.channel import Refused, demand_digits
from simulators.wallet.page import Page, PageOf

router = APIRouter()
Entry = Annotated[str, Form(max_length=64)]
Secret = Annotated[str, Form(max_length=16)]


@router.get("/apply")
async def apply(page: PageOf) -> Response:
    return page.draw("apply.html", form={})


@router.post("/apply")
async def applied(
    page: PageOf, name: Entry, number: Entry, card_number: Entry, password: Secret, again: Secret, key: Entry
) -> Response:
    """Also takes over an electronic card from another phone or channel, with the password it has."""
    form = {"name": name.strip(), "number": number.strip().upper(), "card_number": card_number.strip().upper()}
    if password != again:
        return _differ(page, "apply.html", form)
    try:
        await page.channel.sign_up(form["name"], form["number"], form["card_number"], password, key)
    except Refused as refusal:
        return page.draw("apply.html", refusal=refusal, form=form)
    return page.go("/code", said="apply.said_done")


@router.get("/card")
async def card(page: PageOf) -> Response:
    link = page.channel.link
    return page.draw("card.html", card=await page.channel.card(), holder=link.holder, here="card")


@router.get("/card/password")
async def password_page(page: PageOf) -> Response:
    return page.draw("password.html", form={}, here="card")


@router.post("/card/password")
async def change_password(page: PageOf, old: Secret, password: Secret, again: Secret, key: Entry) -> Response:
    if password != again:
        return _differ(page, "password.html", {}, here="card")
    try:
        demand_digits(old)
        demand_digits(password)
        await page.channel.put("/password", {"old_password": old, "new_password": password}, key)
    except Refused as refusal:
        return page.draw("password.html", refusal=refusal, form={}, here="card")
    return page.go("/card", said="card.said_password")


@router.get("/card/password/reset")
async def reset_page(page: PageOf) -> Response:
    return page.draw("reset.html", form={}, here="card")


@router.post("/card/password/reset")
async def reset_password(
    page: PageOf, name: Entry, number: Entry, card_number: Entry, password: Secret, again: Secret, key: Entry
) -> Response:
    """Forgotten: who the holder is has to be shown again."""
    form = {"name": name.strip(), "number": number.strip().upper(), "card_number": card_number.strip().upper()}
    if password != again:
        return _differ(page, "reset.html", form, here="card")
    claim = {
        "name": form["name"],
        "social_security_number": form["number"],
        "card_number": form["card_number"],
        "new_password": password,
    }
    try:
        demand_digits(password)
        await page.channel.post("/password/reset", claim, key)
    except Refused as refusal:
        return page.draw("reset.html", refusal=refusal, form=form, here="card")
    return page.go("/card", said="card.said_password")


def _differ(page: Page, template: str, form: dict[str, str], here: str = "") -> Response:
    """The password was not typed the same twice; nothing has been sent."""
    response = page.draw(template, form=form, here=here, differs=True)
    response.status_code = 409
    return response
