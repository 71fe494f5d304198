"""A relying party, a browser at the log-in page and a holder with a phone. The protocol between the relying party and
the centre is not part of it: requests are put in, and outcomes taken out, where that protocol does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from issuance.login.relying_parties import RelyingPartyRegistration, RelyingPartyService
from issuance.login.seam import LOGIN_COOKIE, AuthorizationRequest, Refused, Subject
from issuance.login.transactions import Browser, Transaction, finished, link_code, look_up, open_transaction
from issuance.login.unit import login_unit
from issuance.problems import ProblemError
from issuance.services import Services
from tests.issuance.conftest import Centre, ok
from tests.issuance.phone import Phone, signed_phone

CALLBACK = "https://jobs.example/callback"
ORIGIN = "https://login.example"
NAME = "临江市就业服务网"
AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/147.0 Safari/537.36"
ASKED = AuthorizationRequest("jobs", CALLBACK, ("openid", "profile"), state="s1", nonce="n1", code_challenge="c" * 43)
AT_HOME = Browser("", "203.0.113.7", AGENT)


@dataclass
class LogIns:
    centre: Centre
    phone: Phone = field(init=False)

    async def ready(self) -> LogIns:
        await self.centre.stock(blanks=2, numbers=2)
        self.phone = await signed_phone(self.centre)
        party = RelyingPartyRegistration(
            id="jobs", name=NAME, redirect_uris=(CALLBACK,), scopes=("openid", "profile", "social_security")
        )
        async with login_unit(self.services) as unit:
            await RelyingPartyService(unit).register(party)
        return self

    @property
    def services(self) -> Services:
        services: Services = self.centre.app.state.services
        return services

    async def open(self, browser: Browser = AT_HOME, **change: Any) -> Transaction:
        async with login_unit(self.services) as unit:
            return await open_transaction(unit, replace(ASKED, **change), browser)

    async def code(self, opened: Transaction) -> str:
        """What the page draws at this moment."""
        return (await link_code(self.services, await self.look(opened), opened.browser)).code

    async def look(self, opened: Transaction, browser: str | None = None) -> Transaction:
        async with login_unit(self.services, is_reading=True) as unit:
            return await look_up(unit, opened.id, opened.browser if browser is None else browser)

    async def outcome(self, opened: Transaction, browser: str | None = None) -> Subject | Refused | None:
        async with login_unit(self.services) as unit:
            return await finished(unit, opened.id, opened.browser if browser is None else browser)

    async def scan(self, code: str, phone: Phone | None = None) -> httpx.Response:
        return await (phone or self.phone).post("log-ins", {"code": code})

    async def scanned(self, opened: Transaction) -> dict[str, Any]:
        asked: dict[str, Any] = ok(await self.scan(await self.code(opened)), 201)
        return asked

    async def approve(self, asked: dict[str, Any], number: int, **change: Any) -> httpx.Response:
        """`phone`, `signature`, `busi_seq`, `key`, `login` in place of the right ones."""
        phone: Phone = change.get("phone", self.phone)
        signature = change.get("signature", phone.sign(f"{asked['text']}{number}".encode()).hex())
        busi_seq = change["busi_seq"] if "busi_seq" in change else await phone.busi_seq("login")
        body = {"number": number, "signature": signature, "busi_seq": busi_seq}
        return await phone.post(f"log-ins/{change.get('login', asked['id'])}/approve", body, key=change.get("key", ""))

    def browser(self, opened: Transaction | None = None) -> httpx.AsyncClient:
        """With the cookie that `opened` was begun with, if any."""
        made = httpx.AsyncClient(transport=httpx.ASGITransport(self.centre.app), base_url=ORIGIN)
        if opened is not None:
            made.cookies.set(LOGIN_COOKIE, opened.browser, domain="login.example")
        return made

    async def second_phone(self) -> Phone:
        """Of another person."""
        return await signed_phone(self.centre, 2)


async def refusal_of(awaitable: Any) -> str:
    try:
        await awaitable
    except ProblemError as error:
        return error.failure
    return ""
