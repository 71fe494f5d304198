"""The pages of the PIN dialog: `/pin` and what is below it, for the agent's own origin alone (see the guard)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from apdu.serial.pinpad import BETWEEN_DIGITS_S, MAX_DIGITS, MIN_DIGITS
from onecard_ui import TYPE_COOKIE
from terminal_agent.page import TEMPLATES, words
from terminal_agent.pin_dialog import PinDialog, PinEnd, PinForm

MAX_FORM: Final = 512
_TONES: Final = {PinEnd.SENT: "ok", PinEnd.CANCELLED: "idle", PinEnd.NONE: "info"}
_STATUSES: Final = {PinEnd.STALE: HTTPStatus.GONE, PinEnd.NONE: HTTPStatus.NOT_FOUND}


def install(app: FastAPI, dialog: PinDialog, *, home: str | None = None) -> None:
    """Add the dialog's pages to `app`. `home`: the page that goes on after one has ended, whatever its end."""
    router = APIRouter(include_in_schema=False)
    texts = words()
    page, end_page = TEMPLATES.get_template("pin.html"), TEMPLATES.get_template("pin_end.html")

    def look(request: Request) -> dict[str, object]:
        is_large = request.cookies.get(TYPE_COOKIE) == "large"
        return {"zh": texts["zh"], "en": texts["en"], "type": "large" if is_large else "normal"}

    @router.get("/pin")
    async def begin() -> RedirectResponse:
        ticket = dialog.take_ticket()
        return see_other(f"/pin/{ticket}" if ticket else f"/pin/end/{PinEnd.NONE}")

    @router.get("/pin/{ticket}", response_class=HTMLResponse)
    async def show(request: Request, ticket: str) -> Response:
        opened = dialog.open(ticket)
        if opened is None:
            return await ended(request, PinEnd.STALE)
        if opened.subject.look is not None:
            return HTMLResponse(opened.subject.look(opened))
        limits = {"min_digits": MIN_DIGITS, "max_digits": MAX_DIGITS, "pause_s": BETWEEN_DIGITS_S}
        return HTMLResponse(page.render(opened=opened, **limits, **look(request)))

    @router.post("/pin")
    async def send(request: Request) -> RedirectResponse:
        """The answer is a redirection, so that a browser keeps no form it could send again."""
        with PinForm(await _body(request)) as form:
            return see_other(f"/pin/end/{dialog.answer(form)}")

    @router.get("/pin/end/{end}", response_class=HTMLResponse)
    async def ended(request: Request, end: PinEnd) -> Response:
        if home is not None:
            return see_other(home)
        status = _STATUSES.get(end, HTTPStatus.OK)
        return HTMLResponse(end_page.render(end=end.value, tone=_TONES.get(end, "warn"), **look(request)), status)

    app.include_router(router)


def see_other(path: str) -> RedirectResponse:
    """After a form: the browser asks for this page."""
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


async def _body(request: Request) -> bytearray:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            body[:] = bytes(len(body))
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return body
