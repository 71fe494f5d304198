"""Pages that watch over work: queues, dashboard, alerts, the person file, citizens' progress."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path
from typing import Any, get_args
from zipfile import ZipFile

import pytest

from cardlib.wire import SessionKind
from issuance.app import create_app
from issuance.applications.case_schemas import NextAction
from issuance.console import dashboard
from issuance.console.words import words
from issuance.publication.tasks import publish_now
from issuance.supervision.alerts import evaluate_alerts
from issuance.unit import Unit
from tests.issuance.conftest import Centre, application, both_engines, ok
from tests.issuance.console.conftest import Browser, Console
from tests.issuance.console.test_cards import pdf_text
from tests.issuance.supervision import stick

pytestmark = pytest.mark.usefixtures("orders")
PERSON = application(1)["person"]
NUMBER = PERSON["social_security_number"]
REASON = "持卡人到窗口查询"


async def issued(centre: Centre) -> str:
    """Id of the application of an issued card."""
    await centre.stock(blanks=5, numbers=5)
    await centre.issue(1)
    ((found,),) = centre.store.sql("SELECT application_id FROM cards")
    return str(found)


def audited(centre: Centre, act: str) -> list[tuple[Any, ...]]:
    return centre.store.sql(f"SELECT clerk, outcome, reason FROM audit_entries WHERE act = '{act}' ORDER BY id")


# -- queues -----------------------------------------------------------------------------------------------------------


async def test_a_clerk_sees_the_own_queues_and_a_supervisor_all(console: Console, centre: Centre) -> None:
    await centre.stock()
    ok(await centre.apply(1), 201)
    reviewer = await console.log_in("fuhe")
    await reviewer.get("/console/queues")
    tabs = re.findall(r'href="/console/queues\?queue=(\w+)"', reviewer.text)
    assert set(tabs) == {"stuck", "to_identify", "to_review"}
    issuer = await console.log_in("faka")
    await issuer.get("/console/")
    assert "待制卡" in issuer.words
    await issuer.get("/console/queues")
    assert "测*一" in issuer.words
    assert "/console/counter/applications/" in issuer.text
    supervisor = await console.log_in("jianguan")
    await supervisor.get("/console/queues?queue=to_issue")
    tabs = re.findall(r'href="/console/queues\?queue=(\w+)"', supervisor.text)
    assert set(tabs) == {"stuck", "to_identify", "to_approve", "waiting_account", "to_issue"}
    assert "/console/counter/applications/" not in supervisor.text, "a step that is not theirs is no button"


async def test_a_stuck_case_is_taken_on_from_the_queue(console: Console, centre: Centre) -> None:
    await centre.stock(blanks=3, numbers=3)
    stuck = await stick(centre, 1)
    issuer = await console.log_in("faka")
    await issuer.get("/console/queues?queue=stuck")
    assert f'action="/console/queues/cases/{stuck}/reinsert"' in issuer.text
    await issuer.post(f"/console/queues/cases/{stuck}/reinsert")
    assert issuer.path == f"/console/counter/applications/{stuck}"
    assert centre.store.sql("SELECT case_owner FROM applications") == [("faka",)]
    assert audited(centre, "case.reinsert") == [("faka", "ok", "")]


async def test_ending_a_case_asks_first_and_is_done_once(console: Console, centre: Centre) -> None:
    await centre.stock(blanks=3, numbers=3)
    stuck = await stick(centre, 1)
    reviewer = await console.log_in("fuhe")
    await reviewer.get(f"/console/queues/cases/{stuck}/write_off_final")
    assert reviewer.status == 403, "to write cards off is no act of a reviewer"
    issuer = await console.log_in("faka")
    await issuer.get(f"/console/queues/cases/{stuck}")
    assert "作废这张卡，申领到此为止" in issuer.words
    await issuer.get(f"/console/queues/cases/{stuck}/write_off_final")
    assert "申请人要重新申领" in issuer.words
    for _ in range(2):
        page = issuer.text
        await issuer.post(f"/console/queues/cases/{stuck}/write_off_final", reason="芯片坏了")
        issuer.text = page
    assert centre.store.sql("SELECT state FROM applications") == [("written_off",)]
    assert audited(centre, "case.write_off_final") == [("faka", "ok", "")]


async def test_a_case_of_another_region_is_not_there(console: Console, centre: Centre) -> None:
    await centre.stock(blanks=3, numbers=3)
    stuck = await stick(centre, 1)
    centre.store.sql("UPDATE applications SET region = '130000', accepted_region = '130000'")
    issuer = await console.log_in("faka")
    missing = {}
    for key in (stuck, "0" * 32):
        for path in (f"/console/queues/cases/{key}", f"/console/queues/hand-over/{key}", f"/console/files/{key}"):
            await issuer.get(path)
            assert issuer.status == 404, path
            missing[path.replace(key, "")] = missing.get(path.replace(key, ""), issuer.words)
            assert issuer.words == missing[path.replace(key, "")]


def test_every_act_of_a_case_or_a_card_session_has_words() -> None:
    acts = [f"case.{action}" for action in NextAction] + [f"session.{kind}" for kind in get_args(SessionKind)]
    assert {act for act in acts if act not in words("zh")["acts"]} == set()
    asked = {action for action in NextAction if f"effect_{action}" not in words("zh")["queues"]}
    assert asked == {NextAction.ASK_REGISTER}


# -- dashboard --------------------------------------------------------------------------------------------------------


async def test_the_dashboard_tells_todays_numbers(console: Console, centre: Centre) -> None:
    await issued(centre)
    for language, text in (("zh", "今天发卡 1 张"), ("en", "Cards today 1 cards")):
        supervisor = await console.log_in("jianguan", language)
        await supervisor.get("/console/dashboard")
        assert text in supervisor.words
        assert supervisor.text.count('class="oc-chart"') == 4
        await supervisor.get("/console/dashboard?by=office&where=office:/1/")
        assert supervisor.status == 200
    for where in ("region:130000", "office:/9/"):
        await supervisor.get(f"/console/dashboard?where={where}")
        assert supervisor.status in (200, 403)
        assert "Cards today 1 cards" not in supervisor.words
    issuer = await console.log_in("faka")
    await issuer.get("/console/dashboard")
    assert issuer.status == 403


async def test_a_watcher_hears_when_numbers_move(
    console: Console, centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "ROUNDS", 2)
    monkeypatch.setattr(dashboard, "ROUND_S", 0.0)
    supervisor = await console.log_in("jianguan")
    first = await supervisor.http.get("/console/dashboard/events")
    assert first.headers["content-type"].startswith("text/event-stream")
    assert first.text.count("event: here") == 1
    assert "event: changed" not in first.text
    seen = {"Last-Event-ID": re.findall(r"id: (\w+)", first.text)[-1]}
    assert "event:" not in (await supervisor.http.get("/console/dashboard/events", headers=seen)).text
    ok(await centre.apply(1), 201)
    moved = await supervisor.http.get("/console/dashboard/events", headers=seen)
    assert moved.text.count("event: changed") == 1


@pytest.mark.parametrize("how", ["logout", "lock"])
async def test_a_watcher_hears_no_more_when_the_session_is_over(
    console: Console, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(dashboard, "ROUNDS", 1000)
    monkeypatch.setattr(dashboard, "ROUND_S", 0.01)
    supervisor = await console.log_in("jianguan")
    begun = asyncio.Event()
    counted = dashboard._fingerprint

    async def fingerprint(unit: Unit, where: dashboard.Where) -> str:
        begun.set()
        return await counted(unit, where)

    monkeypatch.setattr(dashboard, "_fingerprint", fingerprint)
    watching = asyncio.create_task(supervisor.http.get("/console/dashboard/events"))
    await begun.wait()
    await supervisor.post(f"/console/{how}")
    answer = await asyncio.wait_for(watching, 30)
    assert answer.text.endswith("event: over\ndata: {}\n\n")


async def test_statistics_by_period_and_exports(console: Console, centre: Centre) -> None:
    await issued(centre)
    supervisor = await console.log_in("jianguan")
    await supervisor.get("/console/dashboard/statistics?by=office&first=2026-01-01")
    assert "合计" in supervisor.words
    await supervisor.get("/console/dashboard/statistics?first=2026-02-01&last=2026-01-01")
    assert supervisor.status in (400, 422)
    assert "<tbody>" not in supervisor.text
    await supervisor.get("/console/dashboard/statistics")
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', supervisor.text.partition("<main")[2]))
    for format_ in ("csv", "xlsx"):
        answer = await supervisor.http.post("/console/dashboard/statistics/export", data=fields | {"format": format_})
        assert f"statistics.{format_}" in answer.headers["content-disposition"]
        made = answer.content
        assert "申领" in made.decode("utf-8-sig") if format_ == "csv" else ZipFile(io.BytesIO(made)).namelist()
    assert [row[:2] for row in audited(centre, "statistics.export")] == [("jianguan", "ok")] * 2


async def test_an_alert_is_seen_in_the_menu_and_acknowledged(console: Console, centre: Centre) -> None:
    await centre.stock()
    await evaluate_alerts(centre.app.state.services)
    supervisor = await console.log_in("jianguan")
    assert 'class="con-badge"' in supervisor.text
    await supervisor.get("/console/alerts")
    (path,) = set(re.findall(r'href="(/console/alerts/\d+)"', supervisor.text))
    await supervisor.get(path)
    await supervisor.post(path, note="")
    assert supervisor.status == 400
    await supervisor.post(path, note="已请卡库补号")
    assert "已记下由您处理" in supervisor.words
    assert "已请卡库补号" in supervisor.words
    assert 'class="con-badge"' not in supervisor.text
    auditor = await console.log_in("shenji")
    await auditor.get(path)
    assert auditor.status == 200
    await auditor.post(path, note="not mine to say")
    assert auditor.status == 403
    await auditor.get("/console/alerts/999")
    assert auditor.status == 404


async def test_what_was_published_for_terminals_is_shown(console: Console, centre: Centre, tmp_path: Path) -> None:
    old = centre.app.state.services
    settings = old.settings.model_copy(update={"publication_path": tmp_path / "nothing"})
    centre.old_apps.append(centre.app)
    centre.app = create_app(settings, centre.keys, clock=centre.clock, catalog=old.catalog)
    await publish_now(centre.app.state.services)
    supervisor = await console.log_in("jianguan", "en")
    await supervisor.get("/console/alerts")
    assert "Published for terminals" in supervisor.words
    assert "Signatures and timestamp Not found NOT_FOUND Failed – Never yet" in supervisor.words


# -- person file ------------------------------------------------------------------------------------------------------


async def test_a_file_is_opened_with_a_reason_masked_and_printed(console: Console, centre: Centre) -> None:
    made = await issued(centre)
    collector = await console.log_in("caiji")
    path = f"/console/files/{made}"
    await collector.get(path)
    assert "姓名不会遮住" in collector.words
    await collector.post(path, reason="")
    assert collector.status == 400
    assert audited(centre, "person.file") == []
    await collector.get(path)
    await collector.post(path, reason=REASON)
    for part in ("卡片", "申领", "用卡轨迹", "操作记录", "实体卡", "首次申领", REASON):
        assert part in collector.words, part
    assert NUMBER not in collector.text
    assert "A0000****" in collector.words
    assert not re.search(r"A0000\d{4}", collector.text)
    assert audited(centre, "person.file") == [("caiji", "ok", REASON)]
    answer = await collector.http.post(f"{path}/file.pdf", data=_hidden(collector))
    assert answer.headers["content-type"] == "application/pdf"
    text = pdf_text(answer.content)
    assert "社会保障号码" in text
    assert NUMBER[-4:] in text
    assert NUMBER not in text
    assert REASON in text
    assert len(audited(centre, "person.file")) == 2


def _hidden(browser: Browser) -> dict[str, str]:
    form = re.search(r'<form method="post" action="[^"]*file.pdf".*?</form>', browser.text, re.S)
    assert form is not None
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[0]))


async def test_showing_all_leaves_a_trace_and_says_so(console: Console, centre: Centre) -> None:
    made = await issued(centre)
    path = f"/console/files/{made}/reveal"
    collector = await console.log_in("caiji")
    await collector.get(path)
    assert collector.status == 403
    reviewer = await console.log_in("fuhe")
    await reviewer.get(path)
    await reviewer.post(path, social_security_number="true", reason="短")
    assert reviewer.status == 400
    assert NUMBER not in reviewer.text
    await reviewer.get(path)
    await reviewer.post(path, social_security_number="true", reason=REASON)
    assert NUMBER in reviewer.words
    assert "已留痕" in reviewer.words
    assert audited(centre, "person.reveal") == [("fuhe", "ok", REASON)]


# -- the citizens' page -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "words"), [("zh", "正在制卡"), ("en", "The card is being made")])
async def test_a_citizen_asks_without_logging_in(console: Console, centre: Centre, language: str, words: str) -> None:
    await centre.stock()
    made = ok(await centre.apply(1), 201)
    anyone = console.anyone(language)
    await anyone.get("/progress")
    assert anyone.path == "/progress/"
    await anyone.post("/progress/", receipt_number=made["receipt_number"], check=NUMBER[-6:])
    assert words in anyone.words
    for hidden in (PERSON["name"], NUMBER, made["id"]):
        assert hidden not in anyone.text
    await anyone.post("/progress/", receipt_number=made["receipt_number"], check="000000")
    assert anyone.status == 404
    assert made["receipt_number"] in anyone.text, "what was typed is kept"
    assert "PROGRESS_UNKNOWN" in anyone.words
    await anyone.post("/progress/", receipt_number="1", check="")
    assert anyone.status == 400
    await anyone.get("/progress/nothing")
    assert anyone.status == 404
    assert "/console" not in anyone.text


# -- the lock screen --------------------------------------------------------------------------------------------------


@both_engines
async def test_a_locked_screen_shows_nothing_until_the_password(console: Console, centre: Centre) -> None:
    browser = await console.log_in("caiji")
    await browser.get("/console/me")
    await browser.post("/console/lock")
    assert browser.path == "/console/lock"
    assert "方采集" in browser.words
    centre.clock.advance(3600)
    await browser.get("/console/collect")
    assert browser.path == "/console/lock"
    assert 'name="next" value="/console/collect"' in browser.text
    refused = await browser.http.get("/console/collect", headers={"Accept": "application/json"})
    assert (refused.status_code, refused.json()["code"]) == (401, "SESSION_LOCKED")
    assert (await browser.http.get("/v1/staff/me")).json()["code"] == "SESSION_LOCKED"
    await browser.post("/console/unlock", password="not my password")
    assert browser.status == 401
    await browser.post("/console/unlock", password=console.clerks["caiji"].password)
    assert browser.path == "/console/collect"
    assert [row[1] for row in audited(centre, "clerk.unlock")] == ["LOGIN_REFUSED", "ok"]


async def test_wrong_passwords_at_the_lock_count(console: Console, centre: Centre) -> None:
    browser = await console.log_in("caiji")
    await browser.post("/console/lock")
    for _ in range(5):
        await browser.post("/console/unlock", password="not my password")
    await browser.post("/console/unlock", password=console.clerks["caiji"].password)
    assert browser.status == 401
    assert audited(centre, "clerk.unlock")[-1][1] == "LOCKED"
    await browser.http.post("/console/unlock", data={"password": "x", "csrf": "wrong"})
    assert (await browser.http.post("/console/lock", data={"csrf": "wrong"})).status_code == 403
