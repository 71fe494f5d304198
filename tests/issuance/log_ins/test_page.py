"""The log-in page, as browsers with and without a script see it."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from issuance.audit.refusals import MinuteLimit
from issuance.direct import DirectRoutes
from issuance.login.seam import LOGIN_COOKIE
from issuance.login.transactions import Browser, Transaction, begin, login_cookie
from issuance.problems import ProblemError
from tests.issuance.conftest import ok
from tests.issuance.log_ins.stand import AGENT, CALLBACK, NAME, ORIGIN, LogIns

CSRF = re.compile(r'name="csrf" value="([^"]+)"')


def asking(scheme: str = "https", host: str = "login.example", cookie: str = "") -> Request:
    headers = [(b"host", host.encode()), (b"user-agent", AGENT.encode()), (b"cookie", cookie.encode())]
    return Request(
        {
            "type": "http",
            "method": "GET",
            "scheme": scheme,
            "server": (host, 443),
            "path": "/oidc/authorize",
            "query_string": b"",
            "headers": headers,
            "client": ("203.0.113.7", 5000),
        }
    )


def answer_of(response: httpx.Response) -> dict[str, list[str]]:
    assert response.status_code == 303, response.text
    assert response.headers["location"].startswith(f"{CALLBACK}?")
    return parse_qs(urlsplit(response.headers["location"]).query)


async def csrf_of(browser: httpx.AsyncClient, opened: Transaction) -> str:
    found = CSRF.search((await browser.get(opened.path)).text)
    assert found
    return found[1]


async def test_both_ways_to_the_page_answer_alike(log_ins: LogIns, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = await log_ins.open()
    by_the_short_way = await _answers(log_ins, opened)

    async def past(self: DirectRoutes, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    monkeypatch.setattr(DirectRoutes, "__call__", past)
    assert by_the_short_way == await _answers(log_ins, opened)
    assert [status for status, *_ in by_the_short_way] == [200, 200, 404, 404, 307, 404, 404, 404]


async def _answers(log_ins: LogIns, opened: Transaction) -> list[tuple[int, dict[str, str], str]]:
    strange = [f"/login/{'a' * 32}", f"{opened.path}%0A", f"{opened.path}/", opened.path.upper()]
    asked = [("GET", opened.path), ("GET", f"{opened.path}?lang=en"), *(("GET", path) for path in strange)]
    asked += [("HEAD", opened.path), ("POST", opened.path)]
    async with log_ins.browser(opened) as browser:
        answers = [await browser.request(method, path) for method, path in asked]
    return [(one.status_code, {**one.headers, "x-request-id": ""}, one.text) for one in answers]


async def test_a_log_in_at_the_page(log_ins: LogIns) -> None:
    opened = await log_ins.open()
    async with log_ins.browser(opened) as browser:
        page = await browser.get(opened.path)
        assert page.status_code == 200
        assert NAME in page.text
        assert "jobs.example" in page.text
        assert f"核对数字 {opened.number}" in page.text
        assert "<noscript><meta http-equiv=" in page.text
        link = ok(await browser.get(f"{opened.path}/link"))
        assert link["path"] in page.text
        asked = ok(await log_ins.scan(link["url"].partition("/login/link#")[2]), 201)
        assert "已经扫到" in (await browser.get(opened.path)).text
        ok(await log_ins.approve(asked, opened.number))
        answer = answer_of(await browser.get(opened.path))
        assert answer["state"] == ["s1"]
        assert answer["code"]
        after = await browser.get(opened.path)
        assert "已经确认" in after.text
        assert after.headers["cache-control"] == "no-store"


async def test_a_refusal_and_a_wrong_number_lead_back_with_the_error_s_name(log_ins: LogIns) -> None:
    for number_is_wrong in (False, True):
        opened = await log_ins.open()
        asked = await log_ins.scanned(opened)
        if number_is_wrong:
            await log_ins.approve(asked, next(one for one in asked["choices"] if one != opened.number))
        else:
            ok(await log_ins.phone.post(f"log-ins/{asked['id']}/refuse"))
        async with log_ins.browser(opened) as browser:
            answer = answer_of(await browser.get(opened.path))
        assert answer["error"] == ["access_denied"]
        assert answer["state"] == ["s1"]
        assert "code" not in answer


async def test_giving_up_leads_back_also_when_the_time_is_over(log_ins: LogIns) -> None:
    for waits_s in (0, 700):
        opened = await log_ins.open()
        log_ins.centre.clock.advance(waits_s)
        async with log_ins.browser(opened) as browser:
            form = {"csrf": await csrf_of(browser, opened)}
            left = await browser.post(f"{opened.path}/cancel", data=form, headers={"Origin": ORIGIN})
            assert left.status_code == 200
            assert "error=access_denied" in left.text
            assert "已经取消登录" in (await browser.get(opened.path)).text


@pytest.mark.parametrize(
    ("headers", "csrf"),
    [
        ({"Origin": "https://evil.example"}, None),
        ({"Sec-Fetch-Site": "cross-site"}, None),
        ({"Origin": ORIGIN}, ""),
        ({"Origin": ORIGIN}, "A" * 43),
    ],
)
async def test_another_site_cannot_give_up_a_log_in(log_ins: LogIns, headers: dict[str, str], csrf: str | None) -> None:
    opened = await log_ins.open()
    async with log_ins.browser(opened) as browser:
        form = {"csrf": await csrf_of(browser, opened) if csrf is None else csrf}
        assert (await browser.post(f"{opened.path}/cancel", data=form, headers=headers)).status_code == 403
    assert (await log_ins.look(opened)).stage == "open"


async def test_another_browser_sees_nothing_of_it(log_ins: LogIns) -> None:
    opened, other = await log_ins.open(), await log_ins.open()
    for browser in (log_ins.browser(), log_ins.browser(other)):
        async with browser:
            for path in ("", "/link", "/events?stage=open"):
                answer = await browser.get(opened.path + path)
                assert answer.status_code == 404
                assert NAME not in answer.text
                assert "这次登录已经结束" in answer.text
    async with log_ins.browser(other) as browser:
        form = {"csrf": await csrf_of(browser, other)}
        refused = await browser.post(f"{opened.path}/cancel", data=form, headers={"Origin": ORIGIN})
        assert refused.status_code == 404


async def test_a_page_without_a_script_hears_of_too_many_codes(log_ins: LogIns) -> None:
    log_ins.services.login_limits.codes = MinuteLimit(0)
    opened = await log_ins.open()
    async with log_ins.browser(opened) as browser:
        page = await browser.get(f"{opened.path}?lang=en")
    assert page.status_code == 429
    assert "Too many log-ins" in page.text


async def test_events_wake_the_page(log_ins: LogIns) -> None:
    opened = await log_ins.open()
    async with log_ins.browser(opened) as browser:
        waiting = asyncio.create_task(browser.get(f"{opened.path}/events?stage=open"))
        await asyncio.sleep(0.05)
        await log_ins.scanned(opened)
        told = await asyncio.wait_for(waiting, 30)
    assert told.headers["content-type"].startswith("text/event-stream")
    assert "event: go" in told.text


async def test_pages_speak_the_language_the_site_or_the_person_wants(log_ins: LogIns) -> None:
    opened = await log_ins.open(ui_locales="en-GB zh")
    async with log_ins.browser(opened) as browser:
        assert "Log in with your electronic card" in (await browser.get(opened.path)).text
        assert "用电子社保卡登录" in (await browser.get(f"{opened.path}?lang=zh")).text
        assert "用电子社保卡登录" in (await browser.get(opened.path)).text
        assert "电子社保卡" in (await browser.get("/login/link")).text


async def test_a_log_in_begins_with_a_cookie_of_this_host_alone(log_ins: LogIns) -> None:
    opened = await log_ins.open()
    answer = begin(opened, asking())
    assert (answer.status_code, answer.headers["location"]) == (303, opened.path)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{LOGIN_COOKIE}={opened.browser};")
    for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
        assert part in cookie
    assert "Domain" not in cookie
    assert login_cookie(asking("http", "127.0.0.1")) == "onecard-login"
    with pytest.raises(ProblemError, match="LOGIN_INSECURE"):
        login_cookie(asking("http", "login.example"))


def test_a_cookie_that_is_none_of_ours_is_not_taken() -> None:
    for cookie in ("short", "a" * 44, "密" * 43):
        value = cookie.encode().decode("latin-1")
        assert Browser.of(asking(cookie=f"{LOGIN_COOKIE}={value}")).secret == ""
    kept = Browser.of(asking(cookie=f"{LOGIN_COOKIE}={'a' * 43}"))
    assert (kept.secret, kept.address) == ("a" * 43, "203.0.113.7")
