"""A log-in from the request to the outcome."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from issuance.login import watch as watch_module
from issuance.login.origin import agent_of, network_of
from issuance.login.phone import _choices
from issuance.login.seam import ACR_SCAN, Refused, Subject
from tests.issuance.conftest import both_engines, ok, refused
from tests.issuance.log_ins.stand import AGENT, AT_HOME, NAME, LogIns, refusal_of


@both_engines
async def test_a_log_in_from_request_to_subject(log_ins: LogIns) -> None:
    opened = await log_ins.open(scopes=("openid", "profile", "social_security"))
    assert (await log_ins.look(opened)).request == opened.request
    asked = await log_ins.scanned(opened)
    assert (asked["name"], asked["host"], asked["network"]) == (NAME, "jobs.example", "203.0.113.*")
    assert asked["agent"] == "Chrome, Windows"
    assert [item["name"] for item in asked["items"]] == ["name", "social_security_number"]
    assert len(set(asked["choices"])) == 3
    assert opened.number in asked["choices"]
    for part in (NAME, "jobs.example", "203.0.113.*", log_ins.phone.ecard_no, opened.id, "social_security_number"):
        assert part in asked["text"]
    assert await log_ins.outcome(opened) is None, "nothing is given out before somebody approves"
    assert (await log_ins.look(opened)).stage == "claimed"
    assert ok(await log_ins.approve(asked, opened.number))["state"] == "approved"
    subject = await log_ins.outcome(opened)
    assert isinstance(subject, Subject)
    assert subject.ecard_no == log_ins.phone.ecard_no
    assert (subject.acr, subject.amr) == (ACR_SCAN, ("hwk", "pin"))
    assert subject.claims == {"name", "social_security_number"}
    assert subject.auth_time == log_ins.centre.clock.now
    assert await log_ins.outcome(opened) is None, "an outcome is handed out once"


async def test_what_is_not_asked_for_is_not_consented_to(log_ins: LogIns) -> None:
    opened = await log_ins.open(scopes=("openid",))
    asked = await log_ins.scanned(opened)
    assert asked["items"] == []
    ok(await log_ins.approve(asked, opened.number))
    subject = await log_ins.outcome(opened)
    assert isinstance(subject, Subject)
    assert subject.claims == frozenset()


async def test_a_refusal_reaches_the_relying_party(log_ins: LogIns) -> None:
    opened = await log_ins.open()
    asked = await log_ins.scanned(opened)
    ok(await log_ins.phone.post(f"log-ins/{asked['id']}/refuse"))
    refused(await log_ins.approve(asked, opened.number), "LOGIN_CLOSED", 409)
    assert await log_ins.outcome(opened) == Refused("access_denied")


async def test_nothing_of_it_is_stored_in_the_clear(log_ins: LogIns) -> None:
    opened = await log_ins.open(state="state-of-the-relying-party")
    code = await log_ins.code(opened)
    asked = ok(await log_ins.scan(code), 201)
    ok(await log_ins.approve(asked, opened.number))
    stored = log_ins.centre.store.stored()
    for secret in (code, opened.browser, "state-of-the-relying-party", "203.0.113.7", "登录确认书"):
        assert secret.encode() not in stored
    assert opened.browser not in repr(opened)


async def test_a_new_process_goes_on_where_the_old_one_stopped(log_ins: LogIns) -> None:
    opened = await log_ins.open()
    asked = await log_ins.scanned(opened)
    store = log_ins.services.one_time
    log_ins.centre.restart()
    assert (await log_ins.look(opened)).stage == "claimed"
    ok(await log_ins.approve(asked, opened.number))
    assert isinstance(await log_ins.outcome(opened), Subject)
    assert log_ins.services.one_time is not store


async def test_the_code_is_the_same_until_it_is_renewed(log_ins: LogIns) -> None:
    opened, clock = await log_ins.open(), log_ins.centre.clock
    first = await log_ins.code(opened)
    clock.advance(49)
    assert await log_ins.code(opened) == first
    clock.advance(2)
    second = await log_ins.code(opened)
    assert second != first
    refused(await log_ins.scan(first), "LOGIN_LINK_INVALID", 404)
    ok(await log_ins.scan(second), 201)


async def test_a_page_is_woken_at_once(log_ins: LogIns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "_LOOKS_UNTIL_ALL", 1_000_000)  # by the quick look, which is enough
    opened = await log_ins.open()
    asked = await log_ins.scanned(opened)
    watch = log_ins.services.login_watch
    waiting = asyncio.create_task(watch.changed(opened.id, "claimed", 60))
    others = [asyncio.create_task(watch.changed(opened.id, "claimed", 0.01)) for _ in range(3)]
    assert await asyncio.gather(*others) == ["claimed"] * 3
    busi_seq = await log_ins.phone.busi_seq("login")
    ok(await log_ins.approve(asked, opened.number, busi_seq=busi_seq))
    approved_at = time.monotonic()
    assert await waiting == "approved"
    assert time.monotonic() - approved_at < 30, "of a minute; docs/login.md has the figure of a quiet machine"
    await asyncio.sleep(0)
    assert watch.waiting == 0


async def test_a_page_at_another_replica_is_woken_and_led_on(log_ins: LogIns) -> None:
    opened = await log_ins.open()
    asked = await log_ins.scanned(opened)
    first = log_ins.centre.app
    log_ins.centre.restart()
    waiting = asyncio.create_task(log_ins.services.login_watch.changed(opened.id, "claimed", 60))
    other, log_ins.centre.app = log_ins.centre.app, first
    log_ins.centre.open_clients.clear()
    ok(await log_ins.approve(asked, opened.number))
    assert await waiting == "approved"
    log_ins.centre.app = other
    assert isinstance(await log_ins.outcome(opened), Subject)


async def test_nobody_who_waits_is_forgotten_when_the_time_is_over(log_ins: LogIns) -> None:
    opened = await log_ins.open()
    waiting = asyncio.create_task(log_ins.services.login_watch.changed(opened.id, "open", 60))
    await asyncio.sleep(0)
    log_ins.centre.clock.advance(601)
    assert await waiting == "over"
    assert await refusal_of(log_ins.code(opened)) == "LOGIN_CLOSED"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("203.0.113.7", "203.0.113.*"),
        ("192.168.1.9", "local"),
        ("127.0.0.1", "local"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("", ""),
        ("no address", ""),
    ],
)
def test_a_network_is_shown_coarse(address: str, shown: str) -> None:
    assert network_of(address) == shown


def test_a_browser_is_shown_in_words_of_ours() -> None:
    assert agent_of(AGENT) == "Chrome, Windows"
    assert agent_of("Mozilla/5.0 (iPhone) Version/18 Mobile Safari/604") == "Safari, iOS"
    assert agent_of("<b>您的奖金已到账</b>") == ""


def test_the_choices_are_far_apart() -> None:
    for number in range(10, 100):
        choices = _choices(number)
        assert number in choices
        assert len({choice // 10 for choice in choices}) == len({choice % 10 for choice in choices}) == 3


async def test_a_browser_keeps_its_secret_over_several_log_ins(log_ins: LogIns) -> None:
    first = await log_ins.open()
    second = await log_ins.open(replace(AT_HOME, secret=first.browser))
    assert second.browser == first.browser
    assert await log_ins.code(second) != await log_ins.code(first)


async def test_what_is_long_over_is_forgotten_with_all_its_stages(log_ins: LogIns) -> None:
    opened = await log_ins.open()
    ok(await log_ins.approve(await log_ins.scanned(opened), opened.number))
    log_ins.centre.clock.advance(86_400 + 601)
    latest = await log_ins.open()
    sql = log_ins.centre.store.sql
    assert sql("SELECT id FROM logins") == [(latest.id,)]
    assert sql("SELECT login_id FROM login_claims") == sql("SELECT login_id FROM login_approvals") == []
