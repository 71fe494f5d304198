"""Logging in to other systems: what a scanned code asks for, approved with password and number, or refused."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form
from fastapi.responses import Response

from simulators.wallet.channel import Refused
from simulators.wallet.page import Page, PageOf

router = APIRouter()
LINK: Final = re.compile(r"https?://[^#\s]+/login/link#([A-Za-z0-9_-]{22})")
"""Only the code counts: the app asks its own centre about it, whatever the address in front is."""


def code_in(content: str) -> str:
    """Of a log-in, in what was scanned; empty where it is something else."""
    found = LINK.fullmatch(content)
    return found[1] if found else ""


async def waiting(page: Page) -> list[dict[str, Any]]:
    """Log-ins that somebody asks this holder for by name; none on a phone without an electronic card."""
    if page.phone.link is None:
        return []
    found: list[dict[str, Any]] = (await page.channel.get("/log-ins"))["items"]
    return found


@router.post("/log-ins/{login_id}/claim")
async def claim(page: PageOf, login_id: str, key: Annotated[str, Form(max_length=64)]) -> Response:
    await page.channel.post(f"/log-ins/{login_id}/claim", key=key)
    return page.go(f"/log-ins/{login_id}")


@router.get("/log-ins/{login_id}")
async def asked(page: PageOf, login_id: str) -> Response:
    return _page(page, await page.channel.get(f"/log-ins/{login_id}"))


@router.post("/log-ins/{login_id}")
async def approve(
    page: PageOf,
    login_id: str,
    number: Annotated[int, Form()],
    password: Annotated[str, Form(max_length=16)],
    text: Annotated[str, Form(max_length=8192)],
    key: Annotated[str, Form(max_length=64)],
) -> Response:
    """Signs the text that was on the screen; after a wrong password the page is there again."""
    shown = await page.channel.get(f"/log-ins/{login_id}")
    try:
        await page.channel.log_in(shown | {"text": text.replace("\r\n", "\n")}, number, password, key)
    except Refused as refusal:
        if refusal.code == "LOGIN_NUMBER_WRONG":
            raise
        return _page(page, shown, refusal)
    return page.go("/scan", said="scan.said_at_counter" if shown["at_counter"] else "scan.said_approved")


@router.post("/log-ins/{login_id}/refuse")
async def refuse(page: PageOf, login_id: str, key: Annotated[str, Form(max_length=64)]) -> Response:
    await page.channel.post(f"/log-ins/{login_id}/refuse", key=key)
    return page.go("/scan", said="scan.said_refused")


def _page(page: Page, shown: dict[str, Any], refusal: Refused | None = None) -> Response:
    return page.draw("log_in_asked.html", asked=shown, refusal=refusal, here="scan")
