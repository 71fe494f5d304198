"""Requests of one moment share a transaction: none has what is another's, and none fails for another."""

from __future__ import annotations

import asyncio

from issuance.login.transactions import Transaction
from issuance.login.unit import LoginUnit
from tests.issuance.conftest import both_engines, ok
from tests.issuance.log_ins.stand import LogIns


async def approved(log_ins: LogIns) -> Transaction:
    opened = await log_ins.open()
    ok(await log_ins.approve(await log_ins.scanned(opened), opened.number))
    return opened


@both_engines
async def test_of_pages_loaded_at_once_one_of_each_browser_is_sent_back(log_ins: LogIns) -> None:
    first, second = await approved(log_ins), await approved(log_ins)
    async with log_ins.browser(first) as one, log_ins.browser(second) as other:
        loads = [one.get(first.path) for _ in range(3)] + [other.get(second.path) for _ in range(3)]
        loads += [other.get(first.path)]
        *pages, stolen = await asyncio.gather(*loads)
    sent = [[page.headers["location"] for page in some if page.status_code == 303] for some in (pages[:3], pages[3:])]
    assert [len(some) for some in sent] == [1, 1]
    assert sent[0] != sent[1]
    assert stolen.status_code == 404
    sql = log_ins.centre.store.sql
    assert sql("SELECT count(*) FROM login_codes") == [(2,)]
    assert sql("SELECT act, count(*) FROM audit_entries WHERE act LIKE 'login.%' GROUP BY act ORDER BY act") == [
        ("login.approve", 2),
        ("login.claim", 2),
        ("login.client.register", 1),
        ("login.grant", 2),
        ("login.hand-out", 2),
    ]


async def test_a_failure_undoes_its_own_part_alone(log_ins: LogIns) -> None:
    services = log_ins.services

    async def note(unit: LoginUnit) -> str:
        await unit.audit("login.note", "login:x", region=None)
        return "noted"

    async def fail(unit: LoginUnit) -> str:
        await unit.audit("login.failed", "login:x", region=None)
        raise LookupError

    run = services.login_units.run
    done = await asyncio.gather(*(run(services, act) for act in (note, fail, note)), return_exceptions=True)
    assert done[0] == done[2] == "noted"
    assert isinstance(done[1], LookupError)
    sql = log_ins.centre.store.sql
    assert sql("SELECT act, count(*) FROM audit_entries WHERE subject = 'login:x' GROUP BY act") == [("login.note", 2)]
