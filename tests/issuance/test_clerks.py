"""Offices, clerks, log-in, sessions."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from issuance.clerks.login import METHODS, LoginAttempt, PasswordMethod, Proof, shortened
from issuance.clerks.tries import MAX_FAILURES
from tests.issuance.conftest import Centre, both_engines, ok, refused
from tests.issuance.staff import PASSWORD, Staff


@pytest.fixture
async def staff(centre: Centre) -> Staff:
    staff = Staff(centre)
    await staff.office("北京", kind="region")
    await staff.office("朝阳", "110105", "北京")
    await staff.office("河北", "130000", kind="region")
    return staff


# -- offices and clerks -----------------------------------------------------------------------------------------------


@both_engines
async def test_office_tree(staff: Staff) -> None:
    operator = staff.centre.as_("operator")
    beijing, chaoyang = staff.offices["北京"], staff.offices["朝阳"]
    shown = ok(await operator.get(f"/v1/offices/{chaoyang}"))
    assert shown["path"] == f"/{beijing}/{chaoyang}/"
    listed = ok(await operator.get("/v1/offices", params={"parent_id": beijing}))["items"]
    assert [office["id"] for office in listed] == [chaoyang]
    outside = {"parent_id": chaoyang, "kind": "outlet", "region": "130000", "name_zh": "外"}
    headers = {"Idempotency-Key": "office-outside"}
    refused(await operator.post("/v1/offices", json=outside, headers=headers), "INPUT_INVALID", 400)
    refused(await operator.post(f"/v1/offices/{beijing}/close"), "CONFLICT", 409)
    await staff.made("li", "collector", office="朝阳")
    refused(await operator.post(f"/v1/offices/{chaoyang}/close"), "CONFLICT", 409)
    ok(await operator.post(f"/v1/offices/{staff.offices['河北']}/close"))


@both_engines
async def test_regional_operator_sees_its_own_offices_and_clerks(staff: Staff) -> None:
    await staff.centre.register("hebei", ("operator",), "130000")
    hebei = staff.centre.as_("hebei")
    li = (await staff.made("li", "collector", office="朝阳"))["clerk"]["id"]
    assert [office["name_zh"] for office in ok(await hebei.get("/v1/offices"))["items"]] == ["河北"]
    assert ok(await hebei.get("/v1/clerks"))["items"] == []
    elsewhere, missing = await hebei.get(f"/v1/clerks/{li}"), await hebei.get(f"/v1/clerks/{'0' * 32}")
    assert (elsewhere.status_code, elsewhere.content) == (404, missing.content)
    body = {"login": "wang", "name": "w", "office_id": staff.offices["朝阳"], "roles": ["collector"]}
    refused(await hebei.post("/v1/clerks", json=body), "NOT_FOUND", 404)
    refused(await hebei.post(f"/v1/clerks/{li}/reset"), "NOT_FOUND", 404)


async def test_roles_kept_apart_and_names_taken(staff: Staff) -> None:
    operator = staff.centre.as_("operator")
    body: dict[str, Any] = {"login": "li", "name": "李", "office_id": staff.offices["朝阳"]}
    for roles in (["auditor", "collector"], ["administrator", "issuer"], ["administrator", "supervisor"]):
        refused(await operator.post("/v1/clerks", json=body | {"roles": roles}), "INPUT_INVALID", 400)
    made = ok(await operator.post("/v1/clerks", json=body | {"roles": ["collector", "reviewer"]}), 201)
    shown = ok(await operator.get(f"/v1/clerks/{made['clerk']['id']}"))
    assert "temporary_password" not in shown
    refused(await operator.post("/v1/clerks", json=body | {"roles": ["collector"]}), "CONFLICT", 409)
    change = {"version": 1, "roles": ["auditor", "issuer"], "reason": "x"}
    path = f"/v1/clerks/{made['clerk']['id']}/change"
    refused(await operator.post(path, json=change), "INPUT_INVALID", 400)
    changed = ok(await operator.post(path, json=change | {"roles": ["issuer"]}))
    assert (changed["roles"], changed["version"]) == (["issuer"], 2)
    refused(await operator.post(path, json=change | {"roles": ["issuer"]}), "CONFLICT", 409)


async def test_a_clerk_is_made_once_and_the_password_told_once(staff: Staff) -> None:
    operator = staff.centre.as_("operator")
    body = {"login": "li", "name": "李", "office_id": staff.offices["朝阳"], "roles": ["collector"]}
    headers = {"Idempotency-Key": "clerk-li-0001"}
    made = ok(await operator.post("/v1/clerks", json=body, headers=headers), 201)
    again = await operator.post("/v1/clerks", json=body, headers=headers)
    assert ok(again, 201) == made | {"temporary_password": ""}
    assert again.headers["Idempotency-Replayed"] == "true"
    assert made["temporary_password"]
    other = body | {"name": "王"}
    refused(await operator.post("/v1/clerks", json=other, headers=headers), "IDEMPOTENCY_CONFLICT", 409)


def test_database_keeps_no_name_and_no_secret(staff_stored: bytes) -> None:
    for secret in (PASSWORD, "测试zhao"):
        assert secret.encode() not in staff_stored


@pytest.fixture
async def staff_stored(staff: Staff) -> bytes:
    browser = await staff.clerk("zhao", "collector", office="朝阳")
    stored = staff.centre.store.stored()
    assert b"zhao" in stored, "the search works"
    for secret in (browser.secret, browser.http.cookies["__Host-onecard"], browser.me["csrf"]):
        assert secret.encode() not in stored
    return stored


# -- log-in -----------------------------------------------------------------------------------------------------------


@both_engines
async def test_first_log_in_changes_the_password_and_sets_up_codes(staff: Staff) -> None:
    new = await staff.made("li", "collector", office="朝阳")
    browser = staff.browser("li")
    assert ok(await browser.log_in(new["temporary_password"]))["needs"] == ["code", "password"]
    refused(await browser.get("/v1/staff/approvals"), "CLERK_MUST_CHANGE", 403)
    await staff.settle(browser, new["temporary_password"])
    assert browser.me["needs"] == []
    assert "application.collect" in browser.me["acts"]
    ok(await browser.get("/v1/staff/approvals"))
    refused(await browser.post("/v1/staff/codes"), "CONFLICT", 409)
    staff.centre.clock.advance(60)
    again = staff.browser("li")
    again.secret = browser.secret
    refused(await again.log_in(new["temporary_password"]), "LOGIN_REFUSED", 401)
    ok(await again.log_in())


async def test_every_wrong_log_in_gets_the_same_answer(staff: Staff) -> None:
    li = await staff.clerk("li", "collector", office="朝阳")
    staff.centre.clock.advance(60)
    used = li.code
    ok(await li.log_in())
    answers = [
        await li.log_in("wrong password 1"),
        await li.log_in(code="000000"),
        await li.log_in(code=""),
        await li.log_in(code="二"),
        await li.log_in(code=used),
        await staff.browser("nobody").log_in(),
        await staff.browser("x\x00y").log_in(),
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {(401, answers[0].content)}
    assert not any("set-cookie" in answer.headers for answer in answers)
    trail = staff.centre.store.sql("SELECT clerk, outcome FROM audit_entries WHERE act = 'clerk.log_in' ORDER BY id")
    assert ("li", "CODE_USED") in trail
    assert ("", "LOGIN_REFUSED") in trail


@both_engines
async def test_lock_out(staff: Staff) -> None:
    li = await staff.clerk("li", "collector", office="朝阳")
    clock = staff.centre.clock
    clock.advance(60)
    for _ in range(MAX_FAILURES):
        refused(await li.log_in("wrong password 1"), "LOGIN_REFUSED", 401)
    refused(await li.log_in(), "LOGIN_REFUSED", 401)
    clock.advance(14 * 60)
    refused(await li.log_in(), "LOGIN_REFUSED", 401)
    shown = ok(await staff.centre.as_("operator").get("/v1/clerks", params={"login": "li"}))["items"][0]
    assert shown["locked_until"] is not None
    clock.advance(2 * 60)
    ok(await li.log_in())


@both_engines
async def test_strangers_keep_nobody_out_of_a_browser_that_is_known(staff: Staff) -> None:
    li = await staff.clerk("li", "collector", office="朝阳")
    clock = staff.centre.clock
    stranger = staff.browser("li")
    stranger.secret = li.secret
    for _ in range(MAX_FAILURES):
        refused(await stranger.log_in("wrong password 1"), "LOGIN_REFUSED", 401)
    clock.advance(60)
    refused(await stranger.log_in(), "LOGIN_REFUSED", 401)
    ok(await li.log_in())
    clock.advance(60)
    refused(await stranger.log_in(), "LOGIN_REFUSED", 401)
    stolen = li.http.cookies["__Host-onecard-browser"]
    other = await staff.clerk("wang", "collector", office="朝阳")
    other.login, other.secret = "li", li.secret
    refused(await other.log_in(), "LOGIN_REFUSED", 401)
    clock.advance(60)
    for _ in range(MAX_FAILURES):
        refused(await li.log_in("wrong password 1"), "LOGIN_REFUSED", 401)
    refused(await li.log_in(), "LOGIN_REFUSED", 401)
    clock.advance(16 * 60)
    ok(await li.log_in())
    assert li.http.cookies["__Host-onecard-browser"] != stolen


async def test_a_reset_forgets_browsers(staff: Staff) -> None:
    li = await staff.clerk("li", "collector", office="朝阳")
    assert b"browser" in staff.centre.store.stored()
    assert li.http.cookies["__Host-onecard-browser"].encode() not in staff.centre.store.stored()
    operator = staff.centre.as_("operator")
    clerk_id = ok(await operator.get("/v1/clerks", params={"login": "li"}))["items"][0]["id"]
    new = ok(await operator.post(f"/v1/clerks/{clerk_id}/reset"))
    stranger = staff.browser("li")
    for _ in range(MAX_FAILURES):
        refused(await stranger.log_in("wrong password 1"), "LOGIN_REFUSED", 401)
    refused(await li.log_in(new["temporary_password"]), "LOGIN_REFUSED", 401)


@both_engines
async def test_address_is_limited_over_all_processes(staff: Staff) -> None:
    for _ in range(19):
        refused(await staff.browser("nobody").log_in(), "LOGIN_REFUSED", 401)
    staff.centre.restart()
    tries = await asyncio.gather(*(staff.browser("nobody").log_in() for _ in range(3)))
    assert sorted(answer.status_code for answer in tries) == [401, 429, 429]
    staff.centre.clock.advance(61)
    refused(await staff.browser("nobody").log_in(), "LOGIN_REFUSED", 401)


@both_engines
async def test_one_code_logs_in_once(staff: Staff) -> None:
    li = await staff.clerk("li", "collector", office="朝阳")
    staff.centre.clock.advance(60)
    code, other = li.code, staff.browser("li")
    answers = await asyncio.gather(li.log_in(code=code), other.log_in(code=code))
    assert sorted(answer.status_code for answer in answers) == [200, 401]


async def test_temporary_password_ends(staff: Staff) -> None:
    new = await staff.made("li", "collector", office="朝阳")
    staff.centre.clock.advance(timedelta(days=3).total_seconds())
    refused(await staff.browser("li").log_in(new["temporary_password"]), "LOGIN_REFUSED", 401)


async def test_weak_and_same_passwords(staff: Staff) -> None:
    li = await staff.clerk("li-ming", "collector", office="朝阳")
    for weak in ("short", "aaaaaaaaaaaaaaa", "i am LI-MING 123", "长" * 129, PASSWORD):
        refused(await li.post("/v1/staff/password", {"old": PASSWORD, "password": weak}), "INPUT_INVALID", 400)
    new = {"old": "not the old one", "password": "quite another sentence"}
    for _ in range(MAX_FAILURES):
        refused(await li.post("/v1/staff/password", new), "LOGIN_REFUSED", 401)
    locked = new | {"old": PASSWORD}
    refused(await li.post("/v1/staff/password", locked), "LOGIN_REFUSED", 401)


async def test_reset_takes_everything_away(staff: Staff) -> None:
    li = await staff.clerk("li", "collector", office="朝阳")
    operator = staff.centre.as_("operator")
    clerk_id = ok(await operator.get("/v1/clerks", params={"login": "li"}))["items"][0]["id"]
    new = ok(await operator.post(f"/v1/clerks/{clerk_id}/reset"))
    refused(await li.get("/v1/staff/me"), "SESSION_ENDED", 401)
    refused(await li.log_in(), "LOGIN_REFUSED", 401)
    assert ok(await li.log_in(new["temporary_password"]))["needs"] == ["code", "password"]


@both_engines
async def test_what_was_proved_before_a_reset_is_worth_nothing_after_it(
    staff: Staff, monkeypatch: pytest.MonkeyPatch
) -> None:
    li = await staff.clerk("li", "collector", office="朝阳")
    staff.centre.clock.advance(60)
    operator = staff.centre.as_("operator")
    clerk_id = ok(await operator.get("/v1/clerks", params={"login": "li"}))["items"][0]["id"]

    class Slow(PasswordMethod):
        async def prove(self, services: Any, attempt: LoginAttempt) -> Proof:
            proof = await super().prove(services, attempt)
            assert proof.is_good
            ok(await operator.post(f"/v1/clerks/{clerk_id}/reset"))
            return proof

    monkeypatch.setitem(METHODS, "password", Slow())
    refused(await li.log_in(), "LOGIN_REFUSED", 401)


# -- sessions ---------------------------------------------------------------------------------------------------------


async def test_cookie_and_plain_http(staff: Staff) -> None:
    li = await staff.clerk("li", "collector", office="朝阳")
    staff.centre.clock.advance(60)
    cookies = (await li.log_in()).headers.get_list("set-cookie")
    assert [cookie.partition("=")[0] for cookie in cookies] == ["__Host-onecard", "__Host-onecard-browser"]
    for cookie in cookies:
        assert all(part in cookie for part in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"))
    assert ["Max-Age" in cookie for cookie in cookies] == [False, True]
    refused(await staff.browser("li", "http").log_in(), "LOGIN_INSECURE", 403)
    local = staff.browser("li", "http")
    local.http.base_url, local.secret = "http://127.0.0.1:8400", li.secret
    staff.centre.clock.advance(60)
    assert (await local.log_in()).headers["set-cookie"].startswith("onecard=")
    ok(await local.get("/v1/staff/me"))


async def test_csrf(staff: Staff) -> None:
    li = await staff.clerk("li", "collector", office="朝阳")
    other = await staff.clerk("wang", "collector", office="朝阳")
    for wrong in ("", "x", other.me["csrf"], "二"):
        headers = {"X-CSRF-Token": wrong.encode()}
        refused(await li.post("/v1/staff/log-out", headers=headers), "CSRF_REFUSED", 403)
    for headers in (
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://centre"},
        {"Origin": "https://centre:x"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        refused(await li.post("/v1/staff/log-out", headers=headers), "CSRF_REFUSED", 403)
    del li.http.headers["X-CSRF-Token"]
    refused(await li.post("/v1/staff/log-out"), "CSRF_REFUSED", 403)
    form = {"csrf": li.me["csrf"]}
    answer = await li.http.post("/v1/staff/log-out", data=form, headers={"Origin": "https://centre:443"})
    assert answer.status_code == 204
    refused(await li.get("/v1/staff/me"), "SESSION_ENDED", 401)


@both_engines
async def test_sessions_end(staff: Staff) -> None:
    li = await staff.clerk("li", "collector", office="朝阳")
    clock = staff.centre.clock
    clock.advance(60)
    second = staff.browser("li")
    second.secret = li.secret
    ok(await second.log_in())
    mine = ok(await second.get("/v1/staff/sessions"))
    assert [(s["address"], s["agent"]) for s in mine] == [("10.1.2.0/24", "Test/1")] * 2
    assert ok(await second.post(f"/v1/staff/sessions/{mine[1]['id']}/end"))["ended"] == 1
    refused(await li.get("/v1/staff/me"), "SESSION_ENDED", 401)
    for _ in range(3):  # used every ten minutes it lives on
        clock.advance(600)
        ok(await second.get("/v1/staff/me"))
    clock.advance(15 * 60)
    refused(await second.get("/v1/staff/me"), "SESSION_ENDED", 401)
    ok(await second.log_in())
    for _ in range(61):
        clock.advance(595)
        last = await second.get("/v1/staff/me")
    refused(last, "SESSION_ENDED", 401)


@both_engines
async def test_old_sessions_are_forgotten(staff: Staff) -> None:
    li = await staff.clerk("li", "collector", office="朝阳")
    for days, kept in ((179, 2), (2, 2)):
        staff.centre.clock.advance(days * 24 * 3600)
        ok(await li.log_in())
        assert len(ok(await li.get("/v1/staff/sessions"))) == kept


async def test_suspended_clerk_is_out_at_once(staff: Staff) -> None:
    li = await staff.clerk("li", "collector", office="朝阳")
    operator = staff.centre.as_("operator")
    clerk = ok(await operator.get("/v1/clerks", params={"login": "li"}))["items"][0]
    change = {"version": clerk["version"], "status": "suspended", "reason": "离岗"}
    ok(await operator.post(f"/v1/clerks/{clerk['id']}/change", json=change))
    refused(await li.get("/v1/staff/me"), "SESSION_ENDED", 401)
    refused(await li.log_in(), "LOGIN_REFUSED", 401)


async def test_a_cookie_of_nobody(staff: Staff) -> None:
    browser = staff.browser("li")
    for token in ("x", "A" * 43, ""):
        browser.http.cookies.set("__Host-onecard", token)
        refused(await browser.get("/v1/staff/me"), "SESSION_ENDED", 401)


@pytest.mark.parametrize(
    ("address", "network"),
    [("10.1.2.3", "10.1.2.0/24"), ("2001:db8::1:2", "2001:db8::/64"), ("testclient", ""), ("", "")],
)
def test_addresses_are_shortened(address: str, network: str) -> None:
    assert shortened(address) == network
