"""The two providers that every client logs in at: ours, and npm's oidc-provider, which proves the tests themselves."""

from __future__ import annotations

import asyncio
import io
import re
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urljoin

import httpx
import uvicorn
from fastapi import FastAPI
from PIL import Image

from bench.oidc_provider import PeerProvider
from issuance.login.seam import ACR_SCAN
from onecard_ui.code_picture import codes_in
from simulators.wallet.app import create_app
from simulators.wallet.phone import Link, Phone
from simulators.wallet.settings import WalletSettings
from tests.issuance.conftest import Centre, Clock, ok
from tests.issuance.phone import Phone as Holder
from tests.issuance.unmodified.browser import NOBODY, PATIENCE_S, Browser, Page
from tests.issuance.unmodified.manual import Client

T = TypeVar("T")
SECTOR = "sites.example"
PHONE = "5" * 32
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
COUNTER = "urn:openid:params:grant-type:ciba"
_LINK = re.compile(r"/login/link#([\w-]{22})")
_NUMBER = re.compile(r"<output[^>]*>\s*<span>(\d)</span><span>(\d)</span>")


class RealClock(Clock):
    """Clients look at times by their own clocks."""

    def __call__(self) -> datetime:
        return datetime.now(UTC)


class Provider(Protocol):
    issuer: str
    subject: str
    acr: str | None
    """How strongly the person was known; None where the provider does not tell."""

    def register(self, redirect_uri: str = NOBODY, *, method: str = "client_secret_basic") -> Client: ...

    def log_in(self, browser: Browser, page: Page) -> Page:
        """From the first page that the provider shows to the one where the client shows what it knows."""
        ...

    def log_in_on_screen(self, page: Any) -> None:
        """The same on a page of Playwright's, which runs the scripts."""
        ...


class Loop:
    """An event loop of its own thread: what the tests start runs there, and their clients ask it from outside."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    @contextmanager
    def served(self, app: Any, listener: socket.socket) -> Iterator[str]:
        """Its origin."""
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        ended = asyncio.run_coroutine_threadsafe(server.serve(sockets=[listener]), self._loop)
        try:
            yield origin_of(listener)
        finally:
            server.should_exit = True
            ended.result(PATIENCE_S)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()


def any_port() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def origin_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


class OneCard:
    acr: str | None = ACR_SCAN

    def __init__(self, loop: Loop, centre: Centre, phone: Holder, issuer: str, subject: str) -> None:
        self._loop, self._centre, self._phone = loop, centre, phone
        self._registered = 0
        self.issuer, self.subject = issuer, subject

    def register(self, redirect_uri: str = NOBODY, *, method: str = "client_secret_basic") -> Client:
        self._registered += 1
        body = {
            "id": f"site-{self._registered}",
            "name": "示例网站",
            "redirect_uris": [redirect_uri],
            "logout_uris": [urljoin(redirect_uri, "/")],
            "auth_method": method,
            "grant_types": ["authorization_code", "refresh_token", DEVICE],
            "scopes": ["openid", "profile"],
            "sector": SECTOR,
        }
        told = ok(self._loop.run(self._centre.as_("operator").post("/v1/relying-parties", json=body)), 201)
        return Client(self.issuer, told["client_id"], told["client_secret"] or "")

    @property
    def card_number(self) -> str:
        return self._phone.card_number

    def wallet(self, folder: Path) -> FastAPI:
        """The phone app, whose phone `PHONE` is the holder's."""
        holder = self._phone
        Phone(folder / f"{PHONE}.json").take_link(Link(holder.ecard_no, holder.sign_no, "测*", holder.private))
        return create_app(WalletSettings(self._centre.as_("wallet"), "wallet", folder))

    def register_key(self, client_id: str, jwks: Any) -> None:
        body = {
            "id": client_id,
            "name": "示例窗口",
            "redirect_uris": [NOBODY],
            "auth_method": "private_key_jwt",
            "jwks": jwks,
            "grant_types": ["authorization_code", COUNTER],
            "sector": SECTOR,
        }
        ok(self._loop.run(self._centre.as_("operator").post("/v1/relying-parties", json=body)), 201)

    def approve_at_counter(self, number: int) -> None:
        self._loop.run(self._approve_at_counter(number))

    def log_in(self, browser: Browser, page: Page) -> Page:
        if "/oidc/device" in page.url:
            page = browser.submit(page)
        code, number = _LINK.search(page.text), _NUMBER.search(page.text)
        assert code is not None, page.text
        assert number is not None, page.text
        self._loop.run(self._approve(code[1], int(number[1] + number[2])))
        return browser.open(page.url)

    def log_in_on_screen(self, page: Any) -> None:
        """The page is woken by the approval."""
        page.wait_for_url(f"{self.issuer}/login/*")
        number = page.locator("output span").all_text_contents()
        picture = Image.open(io.BytesIO(page.screenshot())).convert("L")
        (found,) = codes_in(picture)
        self._loop.run(self._approve(found.text.partition("#")[2], int("".join(number))))

    async def _approve(self, code: str, number: int) -> None:
        """On the phone."""
        await self._answer(ok(await self._phone.post("log-ins", {"code": code}), 201), number)

    async def _approve_at_counter(self, number: int) -> None:
        (waiting,) = ok(await self._phone.get("log-ins"))["items"]
        await self._answer(ok(await self._phone.post(f"log-ins/{waiting['id']}/claim"), 201), number)

    async def _answer(self, asked: dict[str, Any], number: int) -> None:
        assert number in asked["choices"], asked
        body = {
            "number": number,
            "signature": self._phone.sign(f"{asked['text']}{number}".encode()).hex(),
            "busi_seq": await self._phone.busi_seq("login"),
        }
        ok(await self._phone.post(f"log-ins/{asked['id']}/approve", body))


class Peer:
    """Its pages for developers take any name and password."""

    acr: str | None = None
    subject = "somebody"

    def __init__(self, process: PeerProvider) -> None:
        self.issuer = process.issuer

    def register(self, redirect_uri: str = NOBODY, *, method: str = "client_secret_basic") -> Client:
        body = {
            "redirect_uris": [redirect_uri],
            "post_logout_redirect_uris": [urljoin(redirect_uri, "/")],
            "token_endpoint_auth_method": method,
            "grant_types": ["authorization_code", "refresh_token", DEVICE],
            "scope": "openid profile offline_access",
        }
        told = ok(httpx.post(f"{self.issuer}/reg", json=body, timeout=PATIENCE_S), 201)
        return Client(self.issuer, told["client_id"], told.get("client_secret", ""))

    def log_in(self, browser: Browser, page: Page) -> Page:
        while page.url.startswith(self.issuer) and page.form is not None:
            page = browser.submit(page, **({"login": self.subject, "password": "any"} if _asks_name(page) else {}))
        return page

    def log_in_on_screen(self, page: Any) -> None:
        page.fill('[name="login"]', self.subject)
        page.fill('[name="password"]', "any")
        page.click('button[type="submit"]')
        page.click('button[type="submit"]')


def _asks_name(page: Page) -> bool:
    return page.form is not None and "login" in page.form.fields
