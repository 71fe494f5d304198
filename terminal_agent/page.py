"""The agent's own page and its files, with the design kit (`onecard_ui`)."""

from __future__ import annotations

import tomllib
from http import HTTPStatus
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from onecard_ui import TYPE_COOKIE, mount_static, templates
from terminal_agent import client_failures
from terminal_agent.settings import AgentSettings, Profile

HERE = Path(__file__).parent
TEMPLATES = templates(HERE / "templates")


def words() -> dict[str, dict[str, str]]:
    """The page's words by language."""
    with (HERE / "words.toml").open("rb") as file:
        return tomllib.load(file)


def install(app: FastAPI, settings: AgentSettings) -> None:
    """Add `/`, `/static/` and the scripts for pages of others to `app`."""
    router = APIRouter(include_in_schema=False)
    texts = words()
    template = TEMPLATES.get_template("counter.html")

    @router.get("/", response_class=HTMLResponse)
    async def counter(request: Request, lang: Literal["zh", "en"] = "zh") -> Response:
        if settings.profile is Profile.KIOSK:
            return RedirectResponse("/kiosk", HTTPStatus.SEE_OTHER)
        is_large = request.cookies.get(TYPE_COOKIE) == "large"
        return HTMLResponse(
            template.render(
                w=texts[lang],
                lang=lang,
                type="large" if is_large else "normal",
                profile=settings.profile.value,
                device_number=settings.device_number,
                may_reveal=settings.profile is Profile.COUNTER,
            )
        )

    # At the root, where an address stays for good.
    @router.get("/onecard-agent.js")
    async def client() -> FileResponse:
        return FileResponse(HERE / "static" / "onecard-agent.js", media_type="text/javascript")

    @router.get("/onecard-agent-failures.js")
    async def failures() -> Response:
        return Response(client_failures.script(), media_type="text/javascript")

    app.include_router(router)
    mount_static(app, HERE / "static")
