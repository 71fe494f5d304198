"""Showing a code: for identity, for a gate, for payment, for a member of the family; and looking at somebody else's."""

from __future__ import annotations

import io
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, File, Form, UploadFile
from fastapi.responses import JSONResponse, Response

from onecard_ui.code_picture import picture_of
from simulators.wallet.channel import NO_RIGHT, UNREACHABLE, Refused
from simulators.wallet.log_ins import code_in, waiting
from simulators.wallet.page import Page, PageOf

router = APIRouter()
NEXT: Final = "/code/next"
SCENES: Final = ("identity", "transit", "payment")
MAX_PIXELS: Final = 20_000_000
MAX_SCANNED: Final = 2048


@router.get("/")
async def start(page: PageOf) -> Response:
    return page.go("/code" if page.phone.link else "/welcome")


@router.get("/welcome")
async def welcome(page: PageOf) -> Response:
    return page.draw("welcome.html")


@router.get("/code")
async def code(page: PageOf, scene: str = "identity", member: str = "", over: bool = False) -> Response:
    """The page with its first code; payment asks for the password before. `over`: where no script renews it, the code
    has run out, and the next one waits for a touch."""
    chosen = scene if scene in SCENES else "identity"
    card = await _card(page, chosen)
    context = _context(chosen, card) | {"member": member, "over": over}
    if member:
        context["member_view"] = await _member(page, member)
    if over or chosen == "payment" or (card and not card["usable"]):
        return page.draw("code.html", shown=None, **context)
    try:
        shown = await _shown(page, chosen, member)
    except Refused as refusal:
        return page.draw("code.html", shown=None, refusal=refusal, **context)
    if chosen == "identity":
        context["last_use"] = await _last_use(page)
    return page.draw("code.html", shown=shown, **context)


@router.post("/code")
async def pay(page: PageOf, password: Annotated[str, Form(max_length=16)]) -> Response:
    """One payment code; the next one needs the password again."""
    context = _context("payment", await page.channel.card())
    try:
        shown = _drawn(page, await page.channel.code("payment", password=password))
    except Refused as refusal:
        return page.draw("code.html", shown=None, refusal=refusal, **context)
    return page.draw("code.html", shown=shown, **context)


@router.get(NEXT)
async def renew(page: PageOf, scene: str = "identity", member: str = "") -> Response:
    """For the page's script: the next code's picture and how long it lives."""
    return JSONResponse(await _shown(page, "transit" if scene == "transit" else "identity", member))


def _context(scene: str, card: dict[str, Any] | None) -> dict[str, Any]:
    return {"scene": scene, "card": card, "member": "", "over": False, "last_use": None, "here": "code"}


async def _card(page: Page, scene: str) -> dict[str, Any] | None:
    """None without a network, which a transit code does not need."""
    try:
        return await page.channel.card()
    except Refused as refusal:
        if scene != "transit" or refusal.code != UNREACHABLE:
            raise
        return None


async def _shown(page: Page, scene: str, member: str) -> dict[str, Any] | None:
    if scene == "transit":
        return await _transit(page)
    return _drawn(page, await page.channel.code(scene, member=member))


def _drawn(page: Page, issued: dict[str, Any]) -> dict[str, Any]:
    left = datetime.fromisoformat(issued["expires_at"]).timestamp() - page.settings.clock()
    return _picture(issued["code"].encode()) | {"seconds": max(1, min(int(issued["ttl_s"]), round(left)))}


async def _transit(page: Page) -> dict[str, Any] | None:
    """None where nobody lets phones make transit codes."""
    try:
        made = await page.channel.transit_code()
    except Refused as refusal:
        if refusal.code == NO_RIGHT:
            return None
        raise
    right = page.phone.transit
    return _picture(made) | {"seconds": right.validity_s if right else 0}


def _picture(content: bytes) -> dict[str, Any]:
    picture = picture_of(content)
    return {"size": picture.size, "path": picture.path()}


async def _last_use(page: Page) -> dict[str, Any] | None:
    uses = (await page.channel.get("/uses?limit=1"))["items"]
    return uses[0] if uses else None


async def _member(page: Page, member: str) -> dict[str, Any] | None:
    members = (await page.channel.get("/family"))["items"]
    return next((found for found in members if found["id"] == member), None)


# -- scanning ---------------------------------------------------------------------------------------------------------


@router.get("/scan")
async def scan(page: PageOf) -> Response:
    return page.draw("scan.html", found=None, waiting=await waiting(page), here="scan")


@router.post("/scan")
async def scanned(
    page: PageOf, text: Annotated[str, Form()] = "", picture: Annotated[UploadFile | None, File()] = None
) -> Response:
    """What a code or link is, before anything is done with it."""
    content = text.strip()[:MAX_SCANNED]
    if not content and picture is not None and picture.size:
        content = _read(await picture.read())
    if code := code_in(content):
        return page.go(f"/log-ins/{(await page.channel.scan(code))['id']}")
    return page.draw("scan.html", found=_kind(content), text=content, here="scan")


def _read(file: bytes) -> str:
    """Text of the code in a picture, "" where there is none."""
    from PIL import Image

    from onecard_ui.code_picture import codes_in

    try:
        with Image.open(io.BytesIO(file)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                return ""
            codes = codes_in(opened.convert("L"))
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    return str(codes[0].text)[:MAX_SCANNED] if codes else ""


def _kind(content: str) -> str:
    """`own`: a code that somebody shows, which a phone has no business scanning."""
    if not content:
        return "nothing"
    if content.startswith("OC1."):
        return "own"
    return "link" if content.startswith("https://") else "other"
