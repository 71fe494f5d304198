"""Pages of journeys and takings: a day that agrees and one that does not, the records behind, one purse, exports."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from tests.issuance.conftest import Centre
from tests.issuance.console.conftest import Console
from tests.issuance.console.scenery import _journeys, _terminals
from tests.issuance.furnished import furnished
from tests.issuance.transit_days import Purse

GATE = "/console/journeys?terminal=gate-east-01"
FACE = Purse(1).serial[1:]


@pytest.fixture
async def gates(console: Console, centre: Centre) -> Console:
    async def make() -> None:
        await _terminals(centre)
        await _journeys(centre)

    await furnished(centre, "gates", make)
    return console


async def test_a_day_and_the_gate_that_does_not_agree(gates: Console) -> None:
    supervisor = await gates.log_in("jianguan")
    await supervisor.get("/console/journeys")
    for words in ("7.00 元", "刷卡 4 次，扫码 1 次", "少收 2.00 元", "待判定 1 次 2.00 元", "没说清", "余额不足"):
        assert words in supervisor.words, words
    assert re.search(r'data-tone="bad"><th scope="row"><a href="[^"]*terminal=gate-east-01"', supervisor.text)
    await supervisor.get(GATE)
    for words in (
        "终端报 还没报全天 6 9.50",
        "说不清，要查 – -0.50",
        "可疑交易，等这张卡下次刷卡才知道扣没扣",
        "账上 5 7.00",
    ):
        assert words in supervisor.words, words
    assert "099900000001" in supervisor.words, "the record behind"
    assert "joint-transport-free-ride" in supervisor.words
    assert re.search(r"要留意的卡 时间 原因 锁卡 [\d :-]+ 此卡已挂失或停用 没锁成", supervisor.words)
    await supervisor.get("/console/journeys?day=2026-01-04")
    assert "这一天没有行程" in supervisor.words
    for day in ("0001-01-01", "9999-12-31"):
        await supervisor.get(f"/console/journeys?day={day}&terminal=x")
        assert supervisor.status == 200
    await supervisor.get("/console/journeys?day=2026-02-30")
    assert supervisor.status == 400


async def test_in_english(gates: Console) -> None:
    supervisor = await gates.log_in("jianguan", "en")
    await supervisor.get(GATE)
    assert "Not explained: look into it" in supervisor.words
    assert not re.search(r"[一-鿿]", supervisor.words.replace("东站一号闸机", "").partition("Locked")[0])


async def test_a_purse_is_looked_at_on_record(gates: Console, centre: Centre) -> None:
    supervisor = await gates.log_in("jianguan")
    await supervisor.get("/console/journeys/purse")
    await supervisor.post("/console/journeys/purse", face_number="12")
    assert supervisor.status == 400
    assert "卡面上的 19 位数字" in supervisor.words
    await supervisor.post("/console/journeys/purse", face_number=f"{FACE[:4]} {FACE[4:]}")
    assert "进站 2/5 gate-east-01 出站 2/5 gate-east-01" in supervisor.words
    assert FACE not in supervisor.path
    seen = centre.store.sql("SELECT clerk, subject FROM audit_entries WHERE act = 'journeys.purse'")
    assert seen == [("jianguan", f"purse:{FACE}")]
    await supervisor.post("/console/journeys/purse", face_number="0" * 19)
    assert "没有这张卡的行程" in supervisor.words


async def test_a_day_leaves_as_a_table(gates: Console, centre: Centre, tmp_path: Path) -> None:
    auditor = await gates.log_in("shenji")
    await auditor.get("/console/journeys")
    day = re.search(r'name="day" value="([\d-]+)"', auditor.text)
    assert day
    assert "/console/journeys/purse" not in auditor.text, "an auditor sees takings, not where people went"
    await auditor.post("/console/journeys/export", day=day[1])
    rows = list(csv.reader(io.StringIO(auditor.text.removeprefix("\ufeff"))))
    assert ["gate-east-01", "东站一号闸机", "9.5", "7.0", "-2.5", "没说清"] in rows
    assert any(row[:1] == ["student-half"] and row[2:] == ["1", "2.0", "2.0"] for row in rows)
    assert centre.store.sql("SELECT clerk FROM audit_entries WHERE act = 'journeys.export'") == [("shenji",)]
    await auditor.get("/console/journeys/purse")
    assert auditor.status == 403
    issuer = await gates.log_in("faka")
    await issuer.get("/console/journeys")
    assert issuer.status == 403
