"""What is about the example's pages and sessions, and not about logging in."""

import secrets
from html import escape
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from onecard_login import Person

PAGE = (Path(__file__).parents[1] / "example_page.html").read_text("utf-8")
ENTER = """<p>不用记密码，拿手机扫一下。<br>No password to remember: scan with the phone.</p>
<p><a href="/enter">用电子社保卡登录 / Log in by scan</a></p>"""
WELCOME = """<p>您好，<b>{name}</b> / Welcome</p>
<p>您在本站的编号 / your identifier at this site:<br><code>{sub}</code></p>
<p><a href="/leave">退出 / Log out</a></p>"""
REFUSED = '<p role="alert">没有登录 / Not logged in: {error}</p>'


class Sessions:
    """In memory, as is enough for an example; a cookie names them."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Any]] = {}

    def of(self, request: Request) -> dict[str, Any]:
        return self._kept.get(request.cookies.get("example-site", ""), {})

    def go(self, url: str, **session: Any) -> Response:
        """With a new session each time: nobody can prepare one for somebody else."""
        answer, key = RedirectResponse(url, 303), secrets.token_urlsafe()
        self._kept[key] = session
        answer.set_cookie("example-site", key, httponly=True, samesite="lax")
        return answer


def page(person: Person | None, error: str = "") -> Response:
    content = WELCOME.format(name=escape(person.name), sub=escape(person.sub)) if person else ENTER
    if error:
        content = REFUSED.format(error=escape(error)) + content
    status = 403 if error else 200
    return HTMLResponse(PAGE.replace("<!-- content -->", content), status, {"Cache-Control": "no-store"})
