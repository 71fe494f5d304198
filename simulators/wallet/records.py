"""Who used what of the holder's data, who may, and what was asked for."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from simulators.wallet.channel import Refused
from simulators.wallet.page import Page, PageOf

router = APIRouter()


@router.get("/uses")
async def uses(page: PageOf, cursor: str = "") -> Response:
    found = await page.channel.get(f"/uses?limit=20&cursor={cursor}" if cursor else "/uses?limit=20")
    return page.draw("uses.html", uses=found["items"], cursor=found.get("next_cursor"), here="records")


@router.get("/consents")
async def consents(page: PageOf) -> Response:
    waiting = (await page.channel.get("/consent-requests"))["items"]
    given = (await page.channel.get("/consents"))["items"]
    return page.draw("consents.html", waiting=waiting, given=given, here="records")


@router.get("/consents/asked/{request_id}")
async def asked(page: PageOf, request_id: str) -> Response:
    return page.draw("consent_asked.html", asked=await _asked(page, request_id), here="records")


@router.post("/consents/asked/{request_id}")
async def approve(
    page: PageOf,
    request_id: str,
    password: Annotated[str, Form(max_length=16)],
    text: Annotated[str, Form(max_length=8192)],
    key: Annotated[str, Form(max_length=64)],
) -> Response:
    """Signs the text that was on the screen, not one that has changed since: the centre refuses any other."""
    shown = await _asked(page, request_id)
    try:
        await page.channel.approve(shown | {"text": text.replace("\r\n", "\n")}, password, key)
    except Refused as refusal:
        return page.draw("consent_asked.html", asked=shown, refusal=refusal, here="records")
    return page.go("/consents", said="records.said_approved")


@router.get("/consents/given/{consent_id}")
async def given(page: PageOf, consent_id: str) -> Response:
    items = (await page.channel.get("/consents"))["items"]
    uses = (await page.channel.get(f"/consents/{consent_id}/uses"))["items"]
    return page.draw("consent.html", consent=_by_id(items, consent_id), uses=uses, here="records")


@router.get("/consents/given/{consent_id}/proof")
async def evidence(page: PageOf, consent_id: str) -> Response:
    """A file that somebody else can check without the centre (docs/consent.md)."""
    proof = await page.channel.get(f"/consents/{consent_id}/proof")
    name = f"attachment; filename=consent-{consent_id}.json"
    return JSONResponse(proof, headers={"Content-Disposition": name})


async def _asked(page: Page, request_id: str) -> dict[str, Any]:
    return _by_id((await page.channel.get("/consent-requests"))["items"], request_id)


def _by_id(items: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    for item in items:
        if item["id"] == wanted:
            return item
    raise HTTPException(404)
