"""The pages of the kiosk: `/kiosk` is the screen that stands there now, `/kiosk/act` its buttons.

For the machine's own browser alone: the guard keeps other origins out, and a cookie other browsers of this computer
while somebody is being served. No address, title or cookie carries a person's data.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from cardlib.failures import FailureCode
from onecard_ui import TYPE_COOKIE, templates
from onecard_ui.code_picture import picture_of
from terminal_agent.kiosk import forms, slips, staff_pages, voice
from terminal_agent.kiosk.browsers import COOKIE, Browsers, form_of
from terminal_agent.kiosk.desk import KioskDesk
from terminal_agent.kiosk.render import Pages
from terminal_agent.kiosk.screens import Screen
from terminal_agent.kiosk.words import LANGS, Lang
from terminal_agent.pin_page import see_other

LOG = logging.getLogger("terminal_agent.kiosk")
HERE: Final = Path(__file__).parent
POLL_S: Final = 25.0
SEEN_MOST: Final = 2**53


def install(app: FastAPI, desk: KioskDesk) -> None:
    """Add the kiosk's pages to `app`."""
    router = APIRouter(prefix="/kiosk", include_in_schema=False)
    browsers = Browsers(desk)
    speaker = voice.Speaker()
    pages = Pages(desk, templates(HERE / "templates"), speaks=speaker.is_there)
    desk.draw = pages.of

    @router.get("", response_class=HTMLResponse)
    async def show(request: Request) -> Response:
        key = browsers.admit(request)
        if key is None:
            return HTMLResponse(pages.of(Screen(name="in_use", acts=()), number=0), HTTPStatus.CONFLICT)
        if desk.staff.is_open:
            return see_other("/kiosk/staff")
        if desk.agent.dialog.is_wanted:
            return see_other("/pin")
        response = HTMLResponse(page_now())
        if key:
            response.set_cookie(COOKIE, key, path="/kiosk", httponly=True, samesite="strict")
        size = "large" if desk.look.is_large else "normal"
        response.set_cookie(TYPE_COOKIE, size, samesite="strict")  # the PIN dialog is drawn in the same size
        return response

    def page_now() -> str:
        """Where a screen cannot be drawn, a page that can be left: a machine that shows nothing helps nobody."""
        try:
            return pages.present()
        except Exception as error:
            LOG.error("%s cannot be drawn: %s", desk.screen.name, type(error).__name__, exc_info=error)
        fallen = Screen(name="trouble", refusal=FailureCode.INTERNAL, acts=("leave",), tone="bad")
        return pages.of(fallen, number=desk.number)

    @router.post("/act")
    async def act(request: Request) -> Response:
        browsers.demand(request)
        fields = await form_of(request)
        try:
            number = forms.number(fields, "screen")
        except forms.FormError:
            raise HTTPException(HTTPStatus.BAD_REQUEST) from None
        desk.press(number, fields.get("act", ""), fields)
        return see_other("/kiosk")

    @router.post("/tool")
    async def tool(request: Request) -> Response:
        browsers.demand(request)
        fields = await form_of(request)
        use_tool(desk, fields.get("tool", ""))
        return see_other("/kiosk")

    @router.get("/changes")
    async def changes(request: Request, seen: int = -1) -> JSONResponse:
        browsers.demand(request)
        if not -1 <= seen < SEEN_MOST:
            raise HTTPException(HTTPStatus.BAD_REQUEST)
        revision = await desk.until_changed(seen, POLL_S)
        return JSONResponse({"revision": revision, "number": desk.number})

    @router.get("/receipt.pdf")
    async def receipt(request: Request) -> Response:
        browsers.demand(request)
        kept = None if desk.visit is None else desk.visit.receipt
        if kept is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        content = slips.as_pdf(kept, desk.look.lang, desk.settings.kiosk_place)
        name = {"Content-Disposition": 'inline; filename="receipt.pdf"'}
        return Response(content, media_type="application/pdf", headers=name)

    @router.get("/picture/{name}")
    async def picture(request: Request, name: str) -> Response:
        browsers.demand(request)
        found = None if desk.visit is None else desk.visit.pictures.get(name)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return Response(found[0], media_type=found[1])

    @router.get("/qr.svg")
    async def qr(request: Request) -> Response:
        browsers.demand(request)
        if not desk.screen.qr:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return Response(picture_of(desk.screen.qr.encode()).svg(), media_type="image/svg+xml")

    @router.get("/voice/{lang}/{index}.wav")
    async def speak(request: Request, lang: Lang, index: int) -> Response:
        browsers.demand(request)
        if lang not in LANGS or desk.settings.kiosk_voice not in ("auto", "espeak"):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        spoken = await speaker.wav(lang, index)
        if spoken is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return Response(spoken, media_type="audio/wav")

    app.include_router(staff_pages.routes(desk, pages, browsers))
    app.include_router(router)


def use_tool(desk: KioskDesk, tool: str) -> None:
    """What stands on every screen; it changes no answer. An unknown one is nothing."""
    desk.touched()
    look = desk.look
    if tool == "lang":
        desk.choose_look(lang="en" if look.lang == "zh" else "zh")
    elif tool == "large":
        desk.choose_look(is_large=not look.is_large)
    elif tool == "voice":
        desk.choose_look(has_voice=not look.has_voice)
    elif tool == "help":
        desk.call_help()
    elif tool == "unhelp":
        desk.cancel_help()
    elif tool == "leave" and desk.visit is not None:
        desk.visit.take("leave", {})
