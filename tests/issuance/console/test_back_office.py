"""Pages of stock, batches, staff, approvals, found cards, bank, messages and audit: who sees them, and what they do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from issuance.audit.sequencer import sequence_due
from issuance.console import batch_files
from issuance.console.words import words
from issuance.production import jobs
from issuance.production.schemas import JobView
from tests.issuance.conftest import REGION, Centre, reset
from tests.issuance.console.conftest import Browser, Console
from tests.issuance.console.scenery import DEPOT, OUTLET, Scenery, furnish
from tests.issuance.production import roster

pytestmark = pytest.mark.usefixtures("orders")
ROLES = ("caiji", "fuhe", "faka", "kuguan", "jianguan", "shenji", "guanli")
MOST_STATEMENTS = 30


@pytest.fixture
async def see(console: Console) -> Scenery:
    return await furnish(console)


def pages(see: Scenery) -> dict[str, str]:
    """Who may open a page, by the first letters of their log-ins."""
    acts = {f"/stock/acts/{name}": "k" for name in ("deliver", "send", "count", "spoil", "return", "destroy")}
    stock = ("/stock", "/stock/movements", "/stock/transfers", f"/stock/transfers/{see.short}", "/stock/numbers")
    production = ("/batches", f"/batches/{see.batch}", f"/batches/{see.batch}/lines", f"/batches/{see.batch}/events")
    return (
        acts
        | dict.fromkeys((*stock, "/stock/balance", *production, f"/batches/files/{see.refused_file}/rejects"), "cakj")
        | dict.fromkeys(("/batches/new", f"/batches/{see.batch}/applications", "/stock/places/new"), "k")
        | {"/found": "cfakj", f"/found/{see.found}/returned": "ca", f"/found/{see.found}/destroyed": "k"}
        | {"/approvals": "cfakjsg", f"/approvals/{see.cancel}": "cfakjsg"}
        | dict.fromkeys(("/exchange/bank", f"/exchange/bank/{see.bank_run}", "/exchange/messages"), "j")
        | dict.fromkeys(("/staff/offices", "/staff/offices/2", "/staff/clerks", f"/staff/clerks/{see.clerk}"), "jsg")
        | dict.fromkeys(("/staff/offices/1/new", "/staff/offices/2/close", "/staff/clerks/new"), "g")
        | dict.fromkeys((f"/staff/clerks/{see.clerk}/reset", f"/staff/clerks/{see.clerk}/standing/suspend"), "g")
        | dict.fromkeys(("/audit", f"/audit/entries/{see.entry}", "/audit/log"), "js")
        | {f"/audit/entries/{see.entry}/proof.json": "s"}
    )


LETTERS = {"caiji": "c", "fuhe": "f", "faka": "a", "kuguan": "k", "jianguan": "j", "shenji": "s", "guanli": "g"}


@contextmanager
def counted(centre: Centre) -> Iterator[list[str]]:
    statements: list[str] = []

    def on_execute(_c: Any, _k: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    engine = centre.app.state.services.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", on_execute)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", on_execute)


async def test_each_page_for_its_roles_within_a_budget_of_statements(console: Console, see: Scenery) -> None:
    wrong = []
    for login in ROLES:
        browser = await console.log_in(login)
        for path, who in pages(see).items():
            with counted(console.centre) as statements:
                await browser.get(f"/console{path}")
            wanted = 200 if LETTERS[login] in who else 403
            if browser.status != wanted:
                wrong.append(f"{login} {path}: {browser.status}, not {wanted}")
            if len(statements) > MOST_STATEMENTS:
                wrong.append(f"{login} {path}: {len(statements)} statements")
            if see.card_number in browser.text:
                wrong.append(f"{login} {path}: shows the card's number")
    assert wrong == []


def test_words_are_there_in_both_languages() -> None:
    chinese, english = words("zh"), words("en")
    assert {area: set(known) for area, known in chinese.items()} == {a: set(known) for a, known in english.items()}


# -- stock ------------------------------------------------------------------------------------------------------------


async def test_a_transfer_arrives_short_and_is_settled(console: Console, see: Scenery) -> None:
    keeper = await console.log_in("kuguan")
    path = f"/console/stock/transfers/{see.transfer}"
    await keeper.get(path)
    await keeper.post(f"{path}/receive", cards=f"{reset(11)}\n{reset(99)}")
    assert keeper.status == 400
    assert reset(99) in keeper.text, "what was typed is kept"
    await keeper.post(f"{path}/receive", cards=reset(11))
    assert "少了 3 张" in keeper.words
    await keeper.get(path)
    await keeper.post(f"{path}/settle", outcome="returned", reason="装错箱")
    assert "已了结" in keeper.words
    await keeper.get("/console/stock/balance")
    assert "账实相符" in keeper.words


async def test_no_office_has_such_a_number(console: Console, see: Scenery) -> None:
    keeper = await console.log_in("kuguan")
    await keeper.get("/console/stock/places/new")
    for office, status in (("9" * 30, 400), ("x", 400), ("999999", 404)):
        await keeper.post(
            "/console/stock/places/new", id="hall-9", kind="outlet", name="x", region=REGION, office_id=office
        )
        assert keeper.status == status


async def test_a_wrong_card_in_a_list_is_named_by_its_place(console: Console, see: Scenery) -> None:
    keeper = await console.log_in("kuguan")
    await keeper.get("/console/stock/acts/spoil")
    cards = f"{reset(21)}\nnot-a-card"
    await keeper.post("/console/stock/acts/spoil", place_id=DEPOT, kind="blank", cards=cards, reason="x")
    assert keeper.status == 400
    assert "第 2 项：" in keeper.words


async def test_the_count_of_people_goes_before_the_books(console: Console, see: Scenery) -> None:
    keeper = await console.log_in("kuguan")
    found = " ".join(reset(serial) for serial in (15, 16))
    await keeper.get("/console/stock/acts/count")
    await keeper.post("/console/stock/acts/count", place_id=OUTLET, kind="blank", cards=found, reason="月末")
    assert "有出入" in keeper.words
    assert reset(17) in keeper.text
    await keeper.get("/console/stock/balance")
    assert "账实不符" in keeper.words


async def test_destruction_takes_a_second_clerk(console: Console, see: Scenery) -> None:
    keeper, supervisor = await console.log_in("kuguan"), await console.log_in("jianguan")
    path = f"/console/approvals/{see.destroy}"
    await keeper.get(path)
    assert "批准销毁卡片" not in keeper.words
    await keeper.post(f"{path}/approve", reason="我自己批")
    assert keeper.status in (403, 409)
    await supervisor.get("/console/approvals")
    assert f'href="{path}"' in supervisor.text
    await supervisor.get(path)
    assert "裂损，不能再用" in supervisor.words
    await supervisor.post(f"{path}/approve", reason="")
    assert supervisor.status == 400
    await supervisor.post(f"{path}/approve", reason="已清点")
    assert "已批准并办好" in supervisor.words
    await keeper.get("/console/stock/movements")
    assert "见证：li.si, wang.wu" in keeper.words


@pytest.mark.parametrize(
    ("login", "word", "said"), [("jianguan", "refuse", "没有批准"), ("faka", "withdraw", "已撤回")]
)
async def test_what_was_asked_for_is_refused_or_withdrawn(
    console: Console, see: Scenery, login: str, word: str, said: str
) -> None:
    browser = await console.log_in(login)
    await browser.get(f"/console/approvals/{see.cancel}")
    await browser.post(f"/console/approvals/{see.cancel}/{word}", reason="材料不全")
    assert said in browser.words
    await browser.get(f"/console/cards/{see.card}")
    assert "正常" in browser.words, "the card is as it was"


async def test_numbers_are_added_and_locked_by_two(console: Console, see: Scenery) -> None:
    keeper = await console.log_in("kuguan")
    await keeper.get("/console/stock/numbers")
    await keeper.post("/console/stock/numbers/range", region=REGION, body_from="A0009001", count="5")
    assert "卡号已更新" in keeper.words
    await keeper.get("/console/stock/numbers?state=free")
    number = re.findall(r"A0000\d{3}[0-9X]", keeper.words)[0]
    await keeper.post("/console/stock/numbers/change", act="lock", numbers=number, reason="印在样卡上")
    assert "等另一位同事批准" in keeper.words


# -- batches ----------------------------------------------------------------------------------------------------------


async def test_a_batch_from_roster_to_the_bank(
    console: Console, see: Scenery, centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = await console.log_in("kuguan")
    await keeper.get("/console/batches/new")
    await keeper.post("/console/batches/new", unit_name="示例中学", region=REGION)
    path, headers = keeper.path, {"Accept": "application/json", "X-CSRF-Token": token(keeper)}
    opened = await keeper.http.post(f"{path}/files/roster", json={"name": "a.csv"}, headers=headers)
    below = f"/console/batches/files/{opened.json()['id']}"
    data = roster(30)[: opened.json()["part_bytes"]]
    assert (await keeper.http.put(f"{below}/parts/0", content=data, headers=headers)).status_code == 204
    done = await keeper.http.post(f"{below}/complete", headers=headers)
    await keeper.get(done.json()["next"])
    assert "文件已收到" in keeper.words
    assert f'data-events="{path}/events"' in keeper.text
    begun, tells = asyncio.Event(), batch_files._told

    def telling(job: JobView) -> dict[str, object]:
        begun.set()
        return tells(job)

    monkeypatch.setattr(batch_files, "_told", telling)
    watching = asyncio.create_task(keeper.http.get(f"{path}/events"))
    await asyncio.wait_for(begun.wait(), 30)
    await work_off(centre)
    told = await watching
    assert told.text.startswith('data: [{"id"')
    assert told.text.endswith("event: end\ndata: {}\n\n")
    await keeper.get(path)
    await keeper.post(f"{path}/send/bank", version=form_value(keeper, "version"))
    await work_off(centre)
    await keeper.get(path)
    (file,) = re.findall(r'href="(/console/batches/files/[0-9a-f]{32})" download', keeper.text)
    fetched = await keeper.http.get(file)
    assert int(fetched.headers["content-length"]) == len(fetched.content)
    assert fetched.content.count(b"\n") == 7, "six are new, the others of the roster have cards under way"
    assert centre.store.sql(
        "SELECT count(*) FROM audit_entries WHERE act = 'production.fetch' AND clerk = 'kuguan'"
    ) == [(1,)]


async def test_a_batch_from_waiting_applications(console: Console, see: Scenery) -> None:
    keeper = await console.log_in("kuguan")
    await keeper.get("/console/batches/new")
    await keeper.post("/console/batches/new", region=REGION)
    path = keeper.path
    await keeper.get(f"{path}/applications")
    assert "测试二" not in keeper.words, "who may not read persons sees no names"
    await keeper.post(f"{path}/applications", **{f"take_{see.waiting}": "true"})
    assert "已放入批次" in keeper.words
    await keeper.get(f"{path}/applications")
    assert "没有等制卡的申领" in keeper.words


async def test_a_file_of_another_kind_is_refused_in_words(console: Console, see: Scenery) -> None:
    keeper = await console.log_in("kuguan")
    await keeper.get(f"/console/batches/{see.batch}")
    headers = {"Accept": "application/json", "X-CSRF-Token": token(keeper)}
    path = f"/console/batches/{see.batch}/files/factory"
    answer = await keeper.http.post(path, json={"name": "a.txt"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "BATCH_STATE")
    forged = await keeper.http.post(path, json={"name": "a.txt"}, headers={"Accept": "application/json"})
    assert forged.json()["code"] == "CSRF_REFUSED"


async def work_off(centre: Centre) -> None:
    while await jobs.step(centre.app.state.services) is not None:
        pass


def token(browser: Browser) -> str:
    return form_value(browser, "csrf")


def form_value(browser: Browser, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', browser.text)
    assert found is not None, browser.words
    return found[1]


# -- staff ------------------------------------------------------------------------------------------------------------


async def test_a_clerk_is_made_moved_locked_and_given_new_access(console: Console) -> None:
    admin = await console.log_in("guanli")
    await admin.get("/console/staff/clerks/new")
    await admin.post(
        "/console/staff/clerks/new",
        name="测新人",
        login="ce.xin",
        office_id="2",
        roles_auditor="true",
        roles_issuer="true",
    )
    assert admin.status == 400
    assert 'value="ce.xin"' in admin.text
    await admin.post("/console/staff/clerks/new", name="测新人", login="ce.xin", office_id="2", roles_issuer="true")
    (first,) = re.findall(r"<code>([a-z0-9]{5}-[a-z0-9]{5}-[a-z0-9]{5})</code>", admin.text)
    (path,) = re.findall(r'href="(/console/staff/clerks/[0-9a-f]{32})"', admin.text)
    await admin.get(path)
    assert first not in admin.text
    await admin.post(f"{path}/change", office_id="1", reason="调岗", roles_issuer="true", roles_collector="true")
    assert "采集、发卡" in admin.words
    assert "示例社保中心" in admin.words
    for act, said in (("suspend", "账号已停用"), ("resume", "账号已恢复")):
        await admin.get(f"{path}/standing/{act}")
        await admin.post(f"{path}/standing/{act}", reason="休假")
        assert said in admin.words
    await admin.get(f"{path}/reset")
    form = admin.text
    await admin.post(f"{path}/reset")
    assert first not in admin.text
    assert "临时密码只显示这一次" in admin.words
    (second,) = re.findall(r"<code>([a-z0-9]{5}-[a-z0-9]{5}-[a-z0-9]{5})</code>", admin.text)
    admin.text = form
    await admin.post(f"{path}/reset")
    assert second not in admin.text
    assert "临时密码已经显示过" in admin.words


async def test_nobody_changes_their_own_access(console: Console) -> None:
    admin = await console.log_in("guanli")
    await admin.get("/console/staff/clerks")
    await admin.post("/console/staff/clerks", login="guanli")
    own = admin.path
    assert f"{own}/reset" not in admin.text
    await admin.get(f"{own}/reset")
    await admin.post(f"{own}/reset")
    assert admin.status == 409


async def test_an_office_is_added_and_closed(console: Console) -> None:
    admin = await console.log_in("guanli")
    await admin.get("/console/staff/offices/2/new")
    await admin.post("/console/staff/offices/2/new", name_zh="示例窗口", kind="outlet", region=REGION)
    assert "机构已新增" in admin.words
    path = admin.path
    await admin.get(f"{path}/close")
    await admin.post(f"{path}/close")
    assert "机构已撤销" in admin.words
    await admin.get("/console/staff/offices/2/close")
    await admin.post("/console/staff/offices/2/close")
    assert admin.status == 409, "clerks are left"


# -- found cards, bank, messages ---------------------------------------------------------------------------------------


async def test_a_found_card_goes_back_to_its_holder(console: Console, see: Scenery) -> None:
    clerk = await console.log_in("faka")
    await clerk.get(f"/console/found/{see.found}/returned")
    assert "测试一" in clerk.words
    await clerk.post(f"/console/found/{see.found}/returned")
    assert "已交还本人" in clerk.words
    keeper = await console.log_in("kuguan")
    await keeper.get(f"/console/found/{see.found}/destroyed")
    assert "测试一" not in keeper.words
    await keeper.post(f"/console/found/{see.found}/destroyed")
    assert keeper.status == 409


async def test_a_dead_message_is_sent_again(console: Console, see: Scenery, centre: Centre) -> None:
    supervisor = await console.log_in("jianguan")
    await supervisor.get("/console/exchange/messages")
    await supervisor.post(f"/console/exchange/messages/{see.message}/retry")
    assert "没有发不出去的消息" in supervisor.words
    sql = f"SELECT state, owner FROM outbox_messages WHERE message_id = '{see.message}'"
    assert centre.store.sql(sql) == [("pending", "jianguan")]


async def test_comparing_without_a_bank_says_so(console: Console, see: Scenery) -> None:
    supervisor = await console.log_in("jianguan")
    await supervisor.get(f"/console/exchange/bank/{see.bank_run}")
    assert "重新通知银行" in supervisor.words
    await supervisor.get("/console/exchange/bank")
    await supervisor.post("/console/exchange/bank", reason="x")
    assert supervisor.status == 502


# -- audit ------------------------------------------------------------------------------------------------------------


async def test_the_trail_is_searched_and_an_entry_proved(console: Console, see: Scenery, centre: Centre) -> None:
    auditor = await console.log_in("shenji")
    await auditor.get("/console/audit")
    await auditor.post("/console/audit", kind="card", id=see.card_number)
    assert auditor.path == "/console/audit"
    assert "登记拾获卡" in auditor.words
    assert see.card_number not in auditor.text.replace(f'value="{see.card_number}"', "")
    await auditor.post("/console/audit", kind="", id="", clerk="kuguan")
    assert "调拨出库" in auditor.words
    assert "登记拾获卡" not in auditor.words
    await auditor.post("/console/audit", kind="", id="", clerk="kuguan", before="1" * 30)
    assert "调拨出库" in auditor.words, "no number of an entry is no page"
    await auditor.get(f"/console/audit/entries/{see.entry}")
    assert "这条记录没有被改过" in auditor.words
    await auditor.get("/console/audit/log")
    assert "最近的签名有效" in auditor.words
    record = (await auditor.http.get(f"/console/audit/entries/{see.entry}/proof.json")).json()
    assert record["entry"]["act"] == "stock.send"


async def test_a_changed_entry_and_a_new_one_show(console: Console, see: Scenery, centre: Centre) -> None:
    auditor = await console.log_in("shenji")
    ((newest,),) = centre.store.sql("SELECT max(id) FROM audit_entries")
    await auditor.get(f"/console/audit/entries/{newest}")
    assert "还没有编入日志" in auditor.words
    await sequence_due(centre.app.state.services)
    for (trigger,) in centre.store.sql(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_entries'"
    ):
        centre.store.sql(f"DROP TRIGGER {trigger}")
    centre.store.sql(f"UPDATE audit_entries SET clerk = 'faka' WHERE id = {see.entry}")
    await auditor.get(f"/console/audit/entries/{see.entry}")
    assert "这条记录和日志对不上" in auditor.words


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
async def test_what_was_found_is_exported_on_record(console: Console, see: Scenery, centre: Centre, kind: str) -> None:
    auditor = await console.log_in("shenji")
    await auditor.get("/console/audit")
    data = {"csrf": token(auditor), "kind": "card", "id": see.card_number, "format": kind}
    answer = await auditor.http.post("/console/audit/export", data=data)
    assert answer.headers["content-disposition"].endswith(f'.{kind}"')
    if kind == "csv":
        assert "登记拾获卡" in answer.text
        assert see.card_number not in answer.text
    assert centre.store.sql("SELECT clerk FROM audit_entries WHERE act = 'audit.export'") == [("shenji",)]
