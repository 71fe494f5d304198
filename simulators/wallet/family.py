"""Members of the family: whose code this phone may show, and who asks to show the holder's."""

from __future__ import annotations

import base64
import io
from typing import Annotated, Final

from fastapi import APIRouter, File, Form, UploadFile
from fastapi.responses import Response

from simulators.wallet.channel import Refused
from simulators.wallet.page import PageOf

router = APIRouter()
RELATIONS: Final = ("parent", "child", "spouse", "other")
LIVE: Final = ("asked", "active")
PORTRAIT: Final = (358, 441)
MAX_PORTRAIT: Final = 40_000
MAX_PIXELS: Final = 60_000_000
Entry = Annotated[str, Form(max_length=64)]


@router.get("/family")
async def family(page: PageOf) -> Response:
    members = [found for found in (await page.channel.get("/family"))["items"] if found["state"] in LIVE]
    others = [found for found in (await page.channel.get("/family-requests"))["items"] if found["state"] in LIVE]
    return page.draw("family.html", members=members, others=others, here="code")


@router.get("/family/add")
async def add_page(page: PageOf) -> Response:
    return page.draw("family_add.html", form={}, relations=RELATIONS, here="code")


@router.post("/family/add")
async def add(
    page: PageOf,
    relation: Entry,
    name: Entry,
    number: Entry,
    card_number: Entry,
    password: Annotated[str, Form(max_length=16)],
    key: Entry,
    portrait: Annotated[UploadFile | None, File()] = None,
) -> Response:
    """A child is there at once, with a photo; an adult confirms on the own phone."""
    form = {
        "relation": relation,
        "name": name.strip(),
        "number": number.strip().upper(),
        "card_number": card_number.strip().upper(),
    }
    photo = portrait_of(await portrait.read()) if portrait is not None and portrait.size else b""
    body = {
        "relation": relation,
        "name": form["name"],
        "social_security_number": form["number"],
        "card_number": form["card_number"],
    } | ({"portrait": base64.b64encode(photo).decode()} if photo else {})
    try:
        busi_seq = await page.channel.password_given(password, "family")
        await page.channel.post("/family", body | {"busi_seq": busi_seq}, key)
    except Refused as refusal:
        return page.draw("family_add.html", form=form, relations=RELATIONS, refusal=refusal, here="code")
    return page.go("/family", said="family.said_added")


def portrait_of(file: bytes) -> bytes:
    """A photo as the telephone took it, cut and made as small as a card's portrait; what is no picture goes as it is,
    and the centre says so."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(file)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                return file[:MAX_PORTRAIT]
            if opened.size == PORTRAIT and len(file) <= MAX_PORTRAIT:
                return file
            upright = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return file[:MAX_PORTRAIT]
    picture = ImageOps.fit(upright, PORTRAIT)
    for quality in range(95, 20, -5):
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=quality, dpi=(350, 350))
        if out.tell() <= MAX_PORTRAIT:
            break
    return out.getvalue()
