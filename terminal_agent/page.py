"""The agent's own page and its files: the design kit, the page's module, Bootstrap from its wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import bootstrap_wrapper  # type: ignore[import-untyped]
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from terminal_agent.settings import AgentSettings, Profile

HERE = Path(__file__).parent
TYPE_COOKIE = "oc_type"

TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=select_autoescape(), undefined=StrictUndefined
)


def words() -> dict[str, dict[str, str]]:
    """The page's words by language."""
    with (HERE / "words.toml").open("rb") as file:
        return tomllib.load(file)


class RevalidatedFiles(StaticFiles):
    """Browsers may keep these, and ask each time whether they still hold: an updated agent shows at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def install(app: FastAPI, settings: AgentSettings) -> None:
    """Add `/` and `/static/` to `app`."""
    router = APIRouter(include_in_schema=False)
    texts = words()
    template = TEMPLATES.get_template("counter.html")

    @router.get("/", response_class=HTMLResponse)
    async def counter(request: Request, lang: Literal["zh", "en"] = "zh") -> HTMLResponse:
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

    app.include_router(router)
    app.mount("/static/bootstrap", RevalidatedFiles(directory=bootstrap_wrapper.get_bootstrap_css_dir()))
    app.mount("/static", RevalidatedFiles(directory=HERE / "static"))
