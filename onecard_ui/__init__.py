"""The design kit and what pages of every program share: stylesheet, icons, macros, Bootstrap from its wheel."""

from __future__ import annotations

from pathlib import Path

import bootstrap_wrapper  # type: ignore[import-untyped]
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

HERE = Path(__file__).parent
TYPE_COOKIE = "oc_type"
"""`large` or `normal`: the size of type somebody chose; `static/type.js` writes it."""


class RevalidatedFiles(StaticFiles):
    """Browsers may keep these, and ask each time whether they still hold: an updated program shows at once."""

    def __init__(self, *folders: Path | str) -> None:
        super().__init__(directory=folders[0])
        self.all_directories = list(folders)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def mount_static(app: Starlette, own: Path) -> None:
    """`/static/`: the program's own files, then the kit's; Bootstrap below it."""
    app.mount("/static/bootstrap", RevalidatedFiles(bootstrap_wrapper.get_bootstrap_css_dir()))
    app.mount("/static", RevalidatedFiles(own, HERE / "static"))


def templates(own: Path) -> Environment:
    """Templates of `own` with the kit's (`kit.html`) beside them. Everything is escaped; a missing word is an error."""
    return Environment(
        loader=FileSystemLoader([own, HERE / "templates"]), autoescape=select_autoescape(), undefined=StrictUndefined
    )
