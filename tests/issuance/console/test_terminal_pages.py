"""Pages of terminals: states as they are, silence with its last words, locking by a reason, diagnosis, live."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from typing import Any

import pytest

from issuance.console import terminals
from tests.issuance.conftest import REGION, Centre, both_engines, ok, reset
from tests.issuance.console.conftest import Console
from tests.issuance.console.scenery import KIOSK, _terminals
from tests.issuance.furnished import furnished

KIOSK_PAGE = "/console/terminals/kiosk-hall-01"


@pytest.fixture
async def fleet(console: Console, centre: Centre) -> Console:
    await furnished(centre, "fleet", lambda: _terminals(centre))
    return console


def rows(text: str) -> list[str]:
    return re.findall(r'<a href="/console/terminals/([\w-]+)">', text)


@both_engines
async def test_the_list_by_state_and_kind(fleet: Console) -> None:
    supervisor = await fleet.log_in("jianguan")
    await supervisor.get("/console/terminals")
    assert rows(supervisor.text) == ["counter-hall-03", "gate-east-01", "kiosk-hall-01", "kiosk-hall-02"]
    for words in ("全部 4", "有故障 2", "失去联系 1", "已停用 1", "白卡 6 张", "有人等工作人员", "凭条纸快用完"):
        assert words in supervisor.words, words
    for query, shown in (
        ("state=silent", ["kiosk-hall-02"]),
        ("profile=transit", ["gate-east-01"]),
        ("profile=kiosk&state=trouble", ["kiosk-hall-01"]),
        ("region=130000", []),
        ("state=drop&profile=x&region=y", ["counter-hall-03", "gate-east-01", "kiosk-hall-01", "kiosk-hall-02"]),
    ):
        await supervisor.get(f"/console/terminals?{query}")
        assert rows(supervisor.text) == shown, query


async def test_the_last_words_before_silence(fleet: Console) -> None:
    english = await fleet.log_in("jianguan", "en")
    await english.get("/console/terminals/kiosk-hall-02")
    assert "What it said last before the silence" in english.words
    assert "Nothing since 2026-01-05 08:20" in english.words
    assert "jam" in english.words.lower()
    assert "Receipt paper runs low" in english.words
    assert "2026.1 · got 44 min ago" in english.words, "what it said of ages was true when it said so"
    await english.get("/console/terminals/gate-east-01")
    assert "Fare rules 2026.1" in english.words


async def test_locking_is_confirmed_with_a_reason(fleet: Console, centre: Centre) -> None:
    issuer = await fleet.log_in("faka")
    await issuer.get(f"{KIOSK_PAGE}/lock")
    await issuer.post(f"{KIOSK_PAGE}/lock", reason="", contact="12333")
    assert (issuer.status, "停用原因" in issuer.words) == (400, True)
    for _ in range(2):
        page = issuer.text
        await issuer.post(f"{KIOSK_PAGE}/lock", reason="机器检修", contact="示例市社保中心 12333")
        issuer.text = page
    told = ok(await centre.as_("operator").get("/v1/terminals/kiosk-hall-01"))
    assert (told["terminal"]["lock"]["reason"], told["locked_by"]) == ("机器检修", "faka")
    await issuer.get(KIOSK_PAGE)
    assert "机器检修" in issuer.words
    await issuer.get("/console/terminals")
    assert "马上停用" in issuer.words, "until its next heartbeat"
    await issuer.get(f"{KIOSK_PAGE}/unlock")
    await issuer.post(f"{KIOSK_PAGE}/unlock")
    assert issuer.path == KIOSK_PAGE
    trail = centre.store.sql("SELECT act, clerk, reason FROM audit_entries WHERE subject = 'client:kiosk-hall-01'")
    assert [entry for entry in trail if entry[0] != "client.register"] == [
        ("terminal.lock", "faka", "机器检修"),
        ("terminal.unlock", "faka", ""),
    ]
    for login, path, status in (("kuguan", KIOSK_PAGE, 200), ("kuguan", f"{KIOSK_PAGE}/lock", 403)):
        browser = await fleet.log_in(login)
        await browser.get(path)
        assert browser.status == status, (login, path)
    reviewer = await fleet.log_in("fuhe")
    await reviewer.get("/console/terminals")
    assert reviewer.status == 403


async def test_a_diagnosis_is_asked_for_once_and_downloaded(fleet: Console, centre: Centre) -> None:
    supervisor = await fleet.log_in("jianguan")
    await supervisor.get(KIOSK_PAGE)
    for _ in range(2):
        await supervisor.post(f"{KIOSK_PAGE}/diagnose")
        assert "已要求，等终端下次报平安" in supervisor.words
    order = ok(await centre.as_("operator").get("/v1/terminals/kiosk-hall-01"))["diagnosis_order"]
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as made:
        made.writestr("versions.txt", "0.1.0")
    body = {"order": order, "content": base64.b64encode(bundle.getvalue()).decode()}
    ok(await centre.as_("kiosk-hall-01").post("/v1/terminals/diagnoses", json=body))
    response = await supervisor.http.get(f"{KIOSK_PAGE}/diagnosis")
    assert response.content == bundle.getvalue()
    assert response.headers["content-disposition"] == 'attachment; filename="kiosk-hall-01.zip"'
    issuer = await fleet.log_in("faka")
    await issuer.get(f"{KIOSK_PAGE}/diagnosis")
    assert issuer.status == 403
    acts = centre.store.sql(
        "SELECT act FROM audit_entries WHERE subject = 'client:kiosk-hall-01' AND clerk = 'jianguan'"
    )
    assert acts == [("terminal.diagnose",), ("terminal.read_diagnosis",)]


@pytest.mark.parametrize("path", ["/console/terminals/events", f"{KIOSK_PAGE}/events"])
async def test_a_page_hears_what_changes_and_no_heartbeat_that_says_the_same(
    fleet: Console, centre: Centre, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminals, "ROUNDS", 2)
    monkeypatch.setattr(terminals, "ROUND_S", 0.0)
    supervisor = await fleet.log_in("jianguan")

    async def beat(**change: Any) -> None:
        body = {"sent_at": centre.clock().isoformat(), "version": "0.1.0", "api_level": 2, "up_s": 86_460}
        body |= {"device_number": "OC1100000000", "journal": {"state": "sent", "waiting": 0}} | KIOSK | change
        ok(await centre.as_("kiosk-hall-01").post("/v1/terminals/heartbeats", json=body))

    async def told(seen: str) -> str:
        return (await supervisor.http.get(path, headers={"Last-Event-ID": seen})).text

    first = await told("")
    assert (first.count("event: here"), "changed" in first) == (1, False)
    (seen,) = re.findall(r"id: (\w+)", first)
    centre.clock.advance(60)
    await beat(sent_at=centre.clock().isoformat(), catalog_age_s=300)
    assert "event" not in await told(seen)
    await beat(supplies={"hopper": 5})
    assert (await told(seen)).count("event: changed") == 1


async def test_the_hopper_is_a_place_of_the_stock(fleet: Console, centre: Centre) -> None:
    await centre.stock(blanks=8, numbers=0)
    operator, headers = centre.as_("operator"), {"Idempotency-Key": "hopper-place"}
    supervisor = await fleet.log_in("jianguan")
    await supervisor.get(KIOSK_PAGE)
    assert "账上" not in supervisor.words
    place = {"id": "kiosk-hall-01", "kind": "outlet", "name": "政务大厅自助机", "region": REGION}
    ok(await operator.post("/v1/stock/places", json=place, headers=headers), 201)
    await supervisor.get(KIOSK_PAGE)
    assert "账上有 0 张，到机器前清点" in supervisor.words
    cards = [reset(serial) for serial in range(1, 7)]
    sending = {"from_place": f"depot-{REGION}", "to_place": "kiosk-hall-01", "kind": "blank", "cards": cards}
    sent = ok(await operator.post("/v1/stock/transfers", json=sending, headers=headers), 201)
    receipt = {"version": sent["version"]}
    ok(await operator.post(f"/v1/stock/transfers/{sent['id']}/receipt", json=receipt, headers=headers))
    await supervisor.get(KIOSK_PAGE)
    assert "和账上的 6 张一致" in supervisor.words
