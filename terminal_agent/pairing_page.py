"""For the person at the terminal: `/pair`, where a page is agreed to, and `/permission`, what the browser asks."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, Literal
from urllib.parse import parse_qsl

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from onecard_ui import TYPE_COOKIE
from terminal_agent.page import TEMPLATES, words
from terminal_agent.pairing import Pairings

END_TONES: Final = {"allowed": "check", "refused": "cross", "stale": "warn", "none": "info"}
PairEnd = Literal["allowed", "refused", "stale", "none"]


def install(app: FastAPI, pairings: Pairings) -> None:
    """Add the pages to `app`."""
    router = APIRouter(include_in_schema=False)
    texts = words()

    def look(request: Request) -> dict[str, object]:
        is_large = request.cookies.get(TYPE_COOKIE) == "large"
        return {"zh": texts["zh"], "en": texts["en"], "type": "large" if is_large else "normal"}

    @router.get("/pair", response_class=HTMLResponse)
    async def ask(request: Request) -> HTMLResponse:
        question = pairings.open()
        if question is None:
            return await ended(request, "none")
        return HTMLResponse(TEMPLATES.get_template("pair.html").render(question=question, **look(request)))

    @router.post("/pair")
    async def answer(request: Request) -> RedirectResponse:
        """The answer is a redirection, so that a browser keeps no form it could send again."""
        form = dict(parse_qsl((await request.body()).decode("latin-1")))
        is_agreed = form.get("act") == "allow"
        is_current = pairings.answer(form.get("key", ""), is_agreed=is_agreed)
        end = "stale" if not is_current else "allowed" if is_agreed else "refused"
        return RedirectResponse(f"/pair/end/{end}", HTTPStatus.SEE_OTHER)

    @router.get("/pair/end/{end}", response_class=HTMLResponse)
    async def ended(request: Request, end: PairEnd) -> HTMLResponse:
        page = TEMPLATES.get_template("pair_end.html").render(end=end, icon_name=END_TONES[end], **look(request))
        return HTMLResponse(page)

    @router.get("/permission", response_class=HTMLResponse)
    async def permission(request: Request, lang: Literal["zh", "en"] = "zh") -> HTMLResponse:
        page = TEMPLATES.get_template("permission.html")
        return HTMLResponse(page.render(w=texts[lang], lang=lang, type=look(request)["type"]))

    app.include_router(router)
