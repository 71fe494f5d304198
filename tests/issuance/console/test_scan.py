"""The console as a relying party: log-in by scan, cards bound to accounts, offices without passwords, log-out."""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from issuance.login import subjects
from issuance.login.seam import ACR_NATIONAL
from issuance.offices.service import OfficeService
from issuance.unit import system_unit
from onecard_cli.demo_staff import DemoClerk, make_staff
from tests.issuance.conftest import REGION, Centre, ok, refused
from tests.issuance.console.conftest import ORIGIN, Browser, Console
from tests.issuance.furnished import furnished
from tests.issuance.log_ins.stand import LogIns
from tests.issuance.phone import Phone, signed_phone

REFRESH = re.compile(r'http-equiv="refresh" content="0; url=([^"]+)"')


@dataclass
class Stand:
    """A console that is registered at the centre's own provider, and people with phones."""

    console: Console
    phones: dict[str, Phone]

    async def arrive(self, browser: Browser) -> str:
        """At the log-in page; its path."""
        await self.follow(browser)
        assert browser.path.startswith("/login/"), browser.words
        return browser.path

    async def follow(self, browser: Browser) -> str:
        while found := REFRESH.search(browser.text):
            await browser.get(html.unescape(found[1]))
        return browser.path

    async def approve(self, browser: Browser, who: str) -> None:
        """At the log-in page, by this person's phone; then where the browser is led."""
        path = await self.arrive(browser)
        log_ins = LogIns(self.console.centre)
        log_ins.phone = self.phones[who]
        link = ok(await browser.http.get(f"{path}/link"))["url"]
        asked = ok(await log_ins.scan(link.partition("#")[2]), 201)
        ((number,),) = self.sql("SELECT number FROM logins WHERE id = :id", id=asked["id"])
        ok(await log_ins.approve(asked, number))
        await browser.get(path)
        await self.follow(browser)

    async def log_in(self, who: str, language: str = "zh") -> Browser:
        browser = self.console.anyone(language)
        await browser.get("/console/login")
        await browser.post("/console/login/scan")
        await self.approve(browser, who)
        return browser

    async def bind(self, browser: Browser, who: str, password: str) -> None:
        await browser.get("/console/me")
        await browser.post("/console/me/scan")
        await self.approve(browser, who)
        assert browser.path == "/console/me/scan", browser.words
        await browser.post("/console/me/scan/confirm", password=password)

    def sql(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return self.console.centre.store.sql(statement, **values)

    def outcomes(self, act: str) -> list[str]:
        return [row[0] for row in self.sql("SELECT outcome FROM audit_entries WHERE act = :act ORDER BY id", act=act)]


async def ready(centre: Centre) -> tuple[list[DemoClerk], dict[str, Phone], dict[str, Any]]:
    """Clerks, two people with phones, and what the operator was told when the console was registered."""
    clerks = await make_staff(centre.app.state.services, REGION)
    await centre.stock(blanks=2, numbers=2)
    phones = {"wang": await signed_phone(centre), "li": await signed_phone(centre, 2)}
    party = {
        "id": "console",
        "name": "经办工作台",
        "sector": "console",
        "redirect_uris": [f"{ORIGIN}/console/login/back"],
        "logout_uris": [f"{ORIGIN}/console/login/left"],
    }
    return clerks, phones, ok(await centre.as_("operator").post("/v1/relying-parties", json=party), 201)


@pytest.fixture
async def stand(centre: Centre, tmp_path: Path) -> AsyncIterator[Stand]:
    file = tmp_path / "console.json"
    clerks, phones, told = await furnished(centre, "console by scan", lambda: ready(centre))
    file.write_text(json.dumps(told), "utf-8")
    provider = centre.app.state.services.login_provider
    provider.path, provider.transport = file, httpx.ASGITransport(centre.app)
    made = Stand(Console(centre, {clerk.login: clerk for clerk in clerks}), phones)
    yield made
    for browser in made.console.browsers:
        await browser.aclose()


@pytest.fixture
async def bound(stand: Stand) -> Stand:
    """`caiji` has bound the card of `wang`."""
    browser = await stand.console.log_in("caiji")
    await stand.bind(browser, "wang", stand.console.clerks["caiji"].password)
    assert "已绑定，下次可以扫码登录" in browser.words
    return stand


async def test_bound_with_the_password_then_in_and_out_by_scan(stand: Stand) -> None:
    stranger = await stand.log_in("wang")
    assert (stranger.status, "LOGIN_UNBOUND" in stranger.words) == (403, True)
    browser = await stand.console.log_in("caiji")
    await stand.bind(browser, "wang", "not the password")
    assert (browser.status, "LOGIN_REFUSED" in browser.words) == (401, True)
    await stand.bind(browser, "wang", stand.console.clerks["caiji"].password)
    assert browser.path == "/console/me"

    scanned = await stand.log_in("wang")
    assert scanned.path == "/console/"
    assert "方采集，您好" in scanned.words
    await scanned.get("/console/me")
    assert "扫码 127.0.0" in scanned.words
    assert "密码 127.0.0" in scanned.words
    ((acr, amr, token),) = stand.sql("SELECT acr, amr, sealed_id_token FROM clerk_sessions WHERE method = 'scan'")
    assert (acr, json.loads(amr)) == ("urn:onecard:acr:scan", ["hwk", "pin"])
    assert b"eyJ" not in token
    assert stand.outcomes("clerk.bind") == ["LOGIN_REFUSED", "ok"]

    await scanned.post("/console/logout")
    await stand.follow(scanned)
    assert (scanned.path, "已退出" in scanned.words) == ("/console/login", True)
    ((revoked,),) = stand.sql("SELECT count(*) FROM login_grants WHERE revoked_at IS NOT NULL")
    assert revoked == 1, "the log-in at the provider has ended, too"
    assert stand.sql("SELECT count(*) FROM clerk_sessions WHERE sealed_id_token IS NOT NULL") == [(0,)]


async def test_what_keeps_a_clerk_out_keeps_out_who_scans(bound: Stand) -> None:
    async def refusal() -> tuple[str, str]:
        browser = await bound.log_in("wang")
        found = re.search(r"LOGIN_[A-Z]+", browser.words)
        return found[0] if found else browser.path, bound.outcomes("clerk.log_in")[-1]

    bound.sql("UPDATE clerks SET status = 'suspended' WHERE login = 'caiji'")
    assert await refusal() == ("LOGIN_REFUSED", "SUSPENDED")
    bound.sql("UPDATE clerks SET status = 'active', must_change = true WHERE login = 'caiji'")
    assert await refusal() == ("/console/me/password", "ok")
    bound.sql("UPDATE clerks SET must_change = false")
    for _ in range(5):
        body = {"login": "caiji", "password": "guessed", "code": ""}
        refused(await bound.console.anyone().http.post("/v1/staff/log-in", json=body), "LOGIN_REFUSED", 401)
    assert await refusal() == ("LOGIN_REFUSED", "LOCKED")
    bound.console.centre.clock.advance(900)
    assert await refusal() == ("/console/", "ok")

    browser = await bound.console.log_in("caiji")
    await browser.get("/console/me")
    await browser.post("/console/me/scan/end")
    assert "已解除绑定" in browser.words
    open_now = "SELECT method FROM clerk_sessions WHERE ended_at IS NULL"
    assert bound.sql(open_now) == [("password",)], "what a lost phone opened is shut"
    assert await refusal() == ("LOGIN_UNBOUND", "LOGIN_UNBOUND")
    await bound.bind(browser, "wang", bound.console.clerks["caiji"].password)
    assert await refusal() == ("/console/", "ok")
    ((clerk_id,),) = bound.sql("SELECT id FROM clerks WHERE login = 'caiji'")
    ok(await bound.console.centre.as_("operator").post(f"/v1/clerks/{clerk_id}/reset"))
    assert await refusal() == ("LOGIN_UNBOUND", "LOGIN_UNBOUND")


async def test_one_card_is_one_account_s(bound: Stand) -> None:
    browser = await bound.console.log_in("fuhe")
    await bound.bind(browser, "wang", bound.console.clerks["fuhe"].password)
    assert (browser.status, "另一个工号" in browser.words) == (409, True)
    scanned = await bound.log_in("wang")
    await scanned.get("/console/me")
    assert "扫码绑定" not in scanned.words
    response = await scanned.http.post("/console/me/scan", data={"csrf": csrf(scanned)})
    assert response.status_code == 409, "who came by scan proves by password before another card takes its place"


# -- what comes back -------------------------------------------------------------------------------------------------


async def come_back(stand: Stand, change: Callable[[dict[str, str]], Any], browser: Browser | None = None) -> Browser:
    """A log-in that was approved, whose way back is changed; and, if given, takes place in another browser."""
    own = stand.console.anyone()
    await own.get("/console/login")
    await own.post("/console/login/scan")
    path = await stand.arrive(own)
    own.http.follow_redirects = False
    log_ins = LogIns(stand.console.centre)
    log_ins.phone = stand.phones["wang"]
    asked = ok(await log_ins.scan(ok(await own.http.get(f"{path}/link"))["url"].partition("#")[2]), 201)
    ((number,),) = stand.sql("SELECT number FROM logins WHERE id = :id", id=asked["id"])
    ok(await log_ins.approve(asked, number))
    answer = dict(parse_qsl(urlsplit((await own.http.get(path)).headers["location"]).query))
    change(answer)
    own.http.follow_redirects = True
    used = browser or own
    used._shown(await used.http.get("/console/login/back", params=answer))
    return used


CHANGES: dict[str, Callable[[dict[str, str]], Any]] = {
    "state": lambda answer: answer.update(state="another"),
    "no state": lambda answer: answer.pop("state"),
    "mix-up": lambda answer: answer.update(iss="https://evil.example"),
    "no iss": lambda answer: answer.pop("iss"),
    "code": lambda answer: answer.update(code="guessed"),
    "no code": lambda answer: answer.pop("code"),
}


async def test_an_answer_that_is_not_to_this_browser_s_question(bound: Stand) -> None:
    for name, change in CHANGES.items():
        browser = await come_back(bound, change)
        assert (browser.status, "LOGIN_CLOSED" in browser.words) == (409, True), name
        assert "onecard" not in browser.http.cookies, name


async def test_an_answer_to_an_older_question_leaves_the_newer_one_open(bound: Stand) -> None:
    """Two windows of one browser, or another site that sends it to the way back."""
    browser, pages = bound.console.anyone(), []
    for _ in range(2):
        await browser.get("/console/login")
        await browser.post("/console/login/scan")
        pages.append(await bound.arrive(browser))
    for page, ends in zip(pages, ("/console/login/back", "/console/"), strict=True):
        await browser.get(page)
        await bound.approve(browser, "wang")
        assert browser.path == ends, browser.words


async def test_nobody_is_logged_in_with_somebody_else_s_answer(bound: Stand) -> None:
    victim = bound.console.anyone()
    await victim.get("/console/login")
    for has_begun in (False, True):
        if has_begun:
            await victim.post("/console/login/scan")
        await come_back(bound, lambda _: None, victim)
        assert "LOGIN_CLOSED" in victim.words, has_begun
    for _ in range(2):
        browser = await come_back(bound, lambda _: None)
        assert "onecard" in browser.http.cookies


async def test_a_weaker_way_than_asked_for_is_no_log_in(bound: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "ACR_SCAN", ACR_NATIONAL)
    monkeypatch.setattr(subjects, "AMR_SCAN", ("mca",))
    assert "LOGIN_CLOSED" in (await bound.log_in("wang")).words


async def test_a_provider_that_is_away_leaves_the_password(stand: Stand) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    provider = stand.console.centre.app.state.services.login_provider
    provider.transport = httpx.MockTransport(away)
    browser = stand.console.anyone()
    await browser.get("/console/login")
    await browser.post("/console/login/scan")
    assert (browser.status, "SERVICE_UNREACHABLE" in browser.words) == (502, True)
    assert 'name="password"' in browser.text
    provider.path = None
    await browser.get("/console/login")
    assert "扫码登录" not in browser.words


# -- two clerks -------------------------------------------------------------------------------------------------------


def csrf(browser: Browser) -> str:
    found = re.search(r'name="csrf" value="([^"]*)"', browser.text)
    assert found is not None
    return found[1]


async def approved(stand: Stand, browser: Browser) -> None:
    """The newest approval, by the supervisor `browser`."""
    ((approval_id,),) = stand.sql("SELECT id FROM clerk_approvals ORDER BY asked_at DESC LIMIT 1")
    await browser.get(f"/console/approvals/{approval_id}")
    await browser.post(f"/console/approvals/{approval_id}/approve", reason="材料齐全")


async def test_an_administrator_binds_a_card_with_a_second_clerk(stand: Stand) -> None:
    ((clerk_id,),) = stand.sql("SELECT id FROM clerks WHERE login = 'caiji'")
    administrator = await stand.console.log_in("guanli")
    await administrator.get(f"/console/staff/clerks/{clerk_id}")
    await administrator.post(f"/console/staff/clerks/{clerk_id}/scan")
    await stand.approve(administrator, "li")
    assert administrator.path == f"/console/staff/clerks/{clerk_id}/scan"
    await administrator.post(f"/console/staff/clerks/{clerk_id}/scan/confirm", reason="换手机", login="caiji")
    assert "已申请，等监管岗位批准" in administrator.words
    assert "LOGIN_UNBOUND" in (await stand.log_in("li")).words
    supervisor = await stand.console.log_in("jianguan")
    await approved(stand, supervisor)
    assert "已批准并办好" in supervisor.words
    assert (await stand.log_in("li")).path == "/console/"
    assert stand.sql("SELECT access_by FROM clerks WHERE login = 'caiji'") == [("guanli",)]
    response = await administrator.http.get("/console/me/scan")
    assert response.status_code == 409, "scanned for somebody else, not for the own account"
    await administrator.get(f"/console/staff/clerks/{clerk_id}")
    await administrator.post(f"/console/staff/clerks/{clerk_id}/unbind")
    assert "LOGIN_UNBOUND" in (await stand.log_in("li")).words


async def test_without_passwords_only_who_scans_comes_in_until_the_server_says_otherwise(stand: Stand) -> None:
    administrator = await stand.console.log_in("guanli")
    ((top,),) = stand.sql("SELECT id FROM offices WHERE parent_id IS NULL")
    path = f"/console/staff/offices/{top}/password"
    await administrator.get(path)
    await administrator.post(path, reason="全部扫码")
    assert (administrator.status, "先绑定自己的电子社保卡" in administrator.words) == (409, True)
    await stand.bind(administrator, "wang", stand.console.clerks["guanli"].password)
    await administrator.get(path)
    await administrator.post(path, reason="全部扫码")
    supervisor = await stand.console.log_in("jianguan")
    await approved(stand, supervisor)
    assert "已批准并办好" in supervisor.words

    anyone = stand.console.anyone()
    assert 'name="password"' not in await anyone.get("/console/login")
    clerk = stand.console.clerks["guanli"]
    for _ in range(6):
        stand.console.centre.clock.advance(30)
        body = {"login": "guanli", "password": clerk.password, "code": clerk.code(now(stand))}
        refused(await anyone.http.post("/v1/staff/log-in", json=body), "LOGIN_REFUSED", 401)
    assert stand.outcomes("clerk.log_in")[-6:] == ["PASSWORD_OFF"] * 6
    scanned = await stand.log_in("wang")
    assert scanned.path == "/console/", "and nobody who guesses passwords has locked the account"

    await scanned.post("/console/lock")
    assert (scanned.path, 'name="password"' in scanned.text) == ("/console/lock", False)
    response = await scanned.http.post(
        "/console/unlock", data={"csrf": csrf(scanned), "password": clerk.password}, headers={"Accept": "text/html"}
    )
    assert response.status_code == 401
    await scanned.post("/console/login/unlock", csrf=csrf(scanned))
    await stand.approve(scanned, "li")
    assert "LOGIN_REFUSED" in scanned.words, "another person's card"
    for until, failed in (("2100-01-01 00:00:00.000000", 5), (None, 0)):
        stand.sql("UPDATE clerks SET locked_until = :until WHERE scan_subject IS NOT NULL", until=until)
        stand.sql("UPDATE clerk_sessions SET browser_failed = :failed", failed=failed)
        await scanned.get("/console/lock")
        await scanned.post("/console/login/unlock", csrf=csrf(scanned))
        await stand.approve(scanned, "wang")
        assert (scanned.path == "/console/") is (until is None), "an account that is locked is so for everybody"
    await scanned.get("/console/me")
    response = await scanned.http.post("/console/me/scan/end", data={"csrf": csrf(scanned)})
    assert response.status_code == 409, "nothing else would let the clerk in"

    async with system_unit(stand.console.centre.app.state.services) as unit:
        assert await OfficeService(unit).allow_passwords() == 1
    assert (await stand.console.log_in("guanli")).path == "/console/"
    assert stand.outcomes("office.password") == ["ok", "ok"]


async def test_who_begins_too_often_waits(stand: Stand) -> None:
    browser = stand.console.anyone()
    for _ in range(20):
        response = await browser.http.post("/console/login/scan")
        assert response.status_code == 200
    response = await browser.http.post("/console/login/scan")
    assert (response.status_code, "LOGIN_LIMITED" in response.text) == (429, True)


def now(stand: Stand) -> float:
    return stand.console.centre.clock().timestamp()
