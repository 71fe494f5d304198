"""The design kit and what pages of every program share: stylesheet, icons, macros, Bootstrap from its wheel."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Final

import bootstrap_wrapper  # type: ignore[import-untyped]
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

HERE = Path(__file__).parent
STYLES: Final = "onecard.css"
TYPE_COOKIE = "oc_type"
"""`large` or `normal`: the size of type somebody chose; `static/type.js` writes it."""


class KitFiles(StaticFiles):
    """Browsers may keep these, and ask each time whether they still hold: an updated program shows at once.

    The kit's stylesheet comes behind Bootstrap's as one file: no style is ever computed from Bootstrap alone, whose
    pictures in `data:` addresses the kit replaces and a page's policy forbids.
    """

    def __init__(self, own: Path) -> None:
        super().__init__(directory=own)
        self.all_directories = [own, HERE / "static"]

    @cached_property
    def _styles(self) -> tuple[bytes, str]:
        """The file and its tag. Read when a browser first asks: a terminal whose page nobody opens need not keep it."""
        bootstrap = Path(bootstrap_wrapper.get_bootstrap_css_dir()) / "bootstrap.min.css"
        content = bootstrap.read_bytes() + b"\n" + (HERE / "static" / STYLES).read_bytes()
        return content, f'"{hashlib.sha256(content).hexdigest()}"'

    async def get_response(self, path: str, scope: Scope) -> Response:
        is_styles = path == STYLES and scope["method"] in ("GET", "HEAD")
        response = self._of_styles(scope) if is_styles else await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response

    def _of_styles(self, scope: Scope) -> Response:
        content, tag = self._styles
        response = Response(content, media_type="text/css", headers={"ETag": tag})
        is_known = self.is_not_modified(response.headers, Headers(scope=scope))
        return NotModifiedResponse(response.headers) if is_known else response


def mount_static(app: Starlette, own: Path) -> None:
    """`/static/`: the program's own files, then the kit's."""
    app.mount("/static", KitFiles(own))


def templates(own: Path) -> Environment:
    """Templates of `own` with the kit's (`kit.html`) beside them. Everything is escaped; a missing word is an error."""
    environment = Environment(
        loader=FileSystemLoader([own, HERE / "templates"]),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        auto_reload=False,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "ensure_ascii": False}
    return environment
