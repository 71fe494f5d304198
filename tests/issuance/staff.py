"""Offices and clerks for tests, and clerks at their browsers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
import pyotp
from argon2 import PasswordHasher

from issuance.clerks import passwords
from tests.issuance.conftest import REGION, Centre, ok

passwords.use_hasher(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
PASSWORD = "一个足够长的测试口令 1a"


@dataclass
class Browser:
    """One clerk's cookie jar over https, the CSRF token sent with everything."""

    centre: Centre
    http: httpx.AsyncClient
    login: str
    secret: str = field(default="", repr=False)
    me: dict[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> str:
        return pyotp.TOTP(self.secret).at(self.centre.clock()) if self.secret else ""

    async def log_in(self, password: str = PASSWORD, code: str | None = None) -> httpx.Response:
        body = {"login": self.login, "password": password, "code": self.code if code is None else code}
        answer = await self.http.post("/v1/staff/log-in", json=body)
        if answer.is_success:
            self.me = answer.json()
            self.http.headers["X-CSRF-Token"] = self.me["csrf"]
        return answer

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.http.get(path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        return await self.http.post(path, json=body, **more)


@dataclass
class Staff:
    centre: Centre
    offices: dict[str, int] = field(default_factory=dict)

    async def office(self, name: str, region: str = REGION, parent: str | None = None, kind: str = "office") -> int:
        above = None if parent is None else self.offices[parent]
        body = {"parent_id": above, "kind": kind, "region": region, "name_zh": name, "name_en": name}
        headers = {"Idempotency-Key": f"office-{len(self.offices):04d}"}
        made = ok(await self.centre.as_("operator").post("/v1/offices", json=body, headers=headers), 201)
        self.offices[name] = made["id"]
        return int(made["id"])

    async def made(self, login: str, *roles: str, office: str) -> dict[str, Any]:
        body = {"login": login, "name": f"测试{login}", "office_id": self.offices[office], "roles": list(roles)}
        new: dict[str, Any] = ok(await self.centre.as_("operator").post("/v1/clerks", json=body), 201)
        return new

    def browser(self, login: str, scheme: str = "https") -> Browser:
        transport = httpx.ASGITransport(self.centre.app, client=("10.1.2.3", 4000))
        http = httpx.AsyncClient(transport=transport, base_url=f"{scheme}://centre", headers={"User-Agent": "Test/1"})
        return Browser(self.centre, http, login)

    async def clerk(self, login: str, *roles: str, office: str) -> Browser:
        """A clerk who has done what the first log-in demands."""
        new = await self.made(login, *roles, office=office)
        browser = self.browser(login)
        await self.settle(browser, new["temporary_password"])
        return browser

    async def settle(self, browser: Browser, temporary: str) -> None:
        ok(await browser.log_in(temporary))
        begun = ok(await browser.post("/v1/staff/codes"))
        browser.secret = begun["secret"]
        first = {"ticket": begun["ticket"], "code": browser.code}
        assert (await browser.post("/v1/staff/codes/confirm", first)).status_code == 204
        change = {"old": temporary, "password": PASSWORD}
        assert (await browser.post("/v1/staff/password", change)).status_code == 204
        browser.me = ok(await browser.get("/v1/staff/me"))
