"""A console for tests: the real pages over a centre, with clerks who are logged in through the real log-in."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from issuance.clerks.passwords import use_hasher
from onecard_cli.demo_staff import DemoClerk, make_staff
from tests.issuance.conftest import REGION, Centre
from tests.issuance.furnished import furnished

ORIGIN = "http://127.0.0.1"
_INPUT = re.compile(r"<input\b[^>]*>")
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')


@dataclass
class Browser:
    """One clerk's browser. `text` is the page it shows now; a form's hidden fields are taken from there."""

    http: httpx.AsyncClient
    text: str = ""
    status: int = 0
    path: str = ""

    async def get(self, path: str) -> str:
        return self._shown(await self.http.get(path))

    async def post(self, path: str, files: dict[str, Any] | None = None, **fields: str) -> str:
        """Sends the form of the page that is shown, with `fields` filled in; `__` in a name is a dot."""
        named = {name.replace("__", "."): value for name, value in fields.items()}
        data = hidden_fields(self.text) | named
        return self._shown(await self.http.post(path, data=data, files=files))

    async def send(self, method: str, path: str) -> str:
        return self._shown(await self.http.request(method, path))

    def _shown(self, response: httpx.Response) -> str:
        self.text, self.status, self.path = response.text, response.status_code, response.url.path
        if response.headers.get("content-type", "").startswith("text/html"):
            obeys_policy(response)
        return self.text

    @property
    def words(self) -> str:
        """What a reader sees, without tags."""
        body = self.text.partition("<main")[2] or self.text
        return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", "<main" + body)))


def hidden_fields(page: str) -> dict[str, str]:
    """Of the first form of the page's main part; the token is in the frame, too."""
    token = re.search(r'name="csrf" value="([^"]*)"', page)
    found = {"csrf": token[1]} if token else {}
    form = re.search(r"<form.*?</form>", page.partition("<main")[2], re.S)
    for tag in _INPUT.findall(form[0] if form else ""):
        attributes = dict(_ATTRIBUTE.findall(tag))
        if attributes.get("type") == "hidden":
            found[attributes["name"]] = html.unescape(attributes.get("value", ""))
    return found


def obeys_policy(response: httpx.Response) -> None:
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers.get_list("referrer-policy") == ["same-origin"]
    assert not re.search(r"<script(?![^>]*\bsrc=)", response.text)
    assert not re.search(r"<style|\bstyle=|\son\w+=|javascript:", response.text)
    for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", response.text, re.S):
        has_session = not re.search(r'action="(/console/login|/console/login/scan|/progress/)"', form)
        assert 'name="csrf"' in form or not has_session, form


@dataclass
class Console:
    centre: Centre
    clerks: dict[str, DemoClerk]
    browsers: list[httpx.AsyncClient] = field(default_factory=list)

    def anyone(self, language: str = "zh") -> Browser:
        http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.centre.app),
            base_url=ORIGIN,
            headers={"Origin": ORIGIN},
            cookies={"oc_lang": language},
            follow_redirects=True,
        )
        self.browsers.append(http)
        return Browser(http)

    async def log_in(self, login: str, language: str = "zh") -> Browser:
        """`caiji` collects and issues, `fuhe` reviews, `faka` issues, and the others of `demo_staff`."""
        browser, clerk = self.anyone(language), self.clerks[login]
        self.centre.clock.advance(30)  # a one-time code is good once
        await browser.get("/console/login")
        code = clerk.code(self.centre.clock().timestamp())
        await browser.post("/console/login", login=login, password=clerk.password, code=code)
        assert browser.path == "/console/", browser.words
        return browser


@pytest.fixture(scope="session", autouse=True)
def quick_hasher() -> Iterator[None]:
    use_hasher(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    yield
    use_hasher(None)


@pytest.fixture
async def console(centre: Centre) -> AsyncIterator[Console]:
    staff = await furnished(centre, "staff", lambda: make_staff(centre.app.state.services, REGION))
    made = Console(centre, {clerk.login: clerk for clerk in staff})
    yield made
    for browser in made.browsers:
        await browser.aclose()
