"""The bank link: what is decided here reaches the bank once, what happened there is taken over, doubts are asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from issuance.bank.accounts import resolution_of
from issuance.bank.link import BankAccount, BankClosedError, BankReply, BankSilentError, HttpBank
from issuance.bank.models import AccountRow
from issuance.bank.reconciliation import reconcile_daily, reconcile_now
from issuance.clients.auth import Caller
from issuance.clients.schemas import Role
from issuance.outbox.delivery import LEASE, Envelope, deliver_due
from issuance.outbox.repository import OutboxRepository
from issuance.scope import EVERYWHERE
from issuance.unit import Desk
from tests.issuance.bank_stand import BankStand, stand
from tests.issuance.conftest import START, both_engines, ok, refused

__all__ = ["stand"]
JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
NAMES = ["operation_key", "kind", "card_number", "result", "account", "accounts", "state", "account_number"]


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(NAMES), inner)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


DAY = 24 * 3600


async def _account(stand: BankStand, number: str) -> str:
    return str((await stand.view(number))["account"]["state"])


@both_engines
@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after", "duplicate", "wrong_account", "closed"])
async def test_every_fault_ends_in_one_account(stand: BankStand, fault: str) -> None:
    await stand.card()
    stand.bank.faults[fault] = 2
    number = await stand.card()
    await stand.settle()
    card = await stand.view(number)
    assert (card["account"]["state"], stand.bank.states()[number]) == ("inactive", "inactive")
    assert card["account"]["number"].endswith(stand.bank.account(number)["account_number"][-4:])
    assert stand.bank.operations == 2
    assert await stand.reconcile() == 0


@both_engines
async def test_a_replica_that_died_while_sending(stand: BankStand) -> None:
    """The bank did it, nobody here knows: asked first, not told again."""
    number = await stand.card()
    ok(await stand.act(number, "loss", kind="formal"))
    dying = stand.replica()
    async with dying.database.transaction(scope=EVERYWHERE) as session:
        (row,) = await OutboxRepository(session).claim(["bank"], dying.clock(), LEASE, 10)
    await dying.receivers["bank"].deliver(_envelope(row))
    done = stand.bank.operations
    assert await deliver_due(stand.services) == 0
    stand.centre.clock.advance(LEASE.total_seconds())
    assert await deliver_due(stand.services) == 1
    assert (stand.bank.operations, stand.bank.states()[number]) == (done, "lost")


def _envelope(row: Any) -> Any:
    return Envelope(row.message_id, row.topic, row.key, row.region, row.body, row.attempts, row.owner)


async def test_a_refusal_waits_for_its_owner(stand: BankStand) -> None:
    """The bank closed an account of this card before: it opens none again, and says so."""
    stand.bank.faults["timeout_before"] = 1
    number = await stand.card()
    stand.bank.perform("by-hand", "open", number, {"name": "x", "number": "y"})
    stand.bank.desk(number, "close")
    await stand.settle()
    assert await _account(stand, number) == "none"
    (dead,) = ok(await stand.centre.as_("operator").get("/v1/outbox", params={"state": "dead"}))["items"]
    assert (dead["topic"], dead["reason"], dead["owner"]) == ("bank.open", "refused:closed", "terminal")
    assert await stand.reconcile() == 0


@both_engines
async def test_notices_are_taken_once(stand: BankStand) -> None:
    number = await stand.card()
    stand.bank.desk(number, "activate")
    assert ok(await stand.notice(number, "activate", "n-1")) == {"result": "done", "state": "active"}
    assert ok(await stand.notice(number, "activate", "n-1"))["result"] == "already"
    assert ok(await stand.notice(number, "activate", "n-2"))["result"] == "already"
    refused(await stand.notice(number, "freeze", "n-1"), "CONFLICT", 409)
    refused(await stand.centre.as_("operator").post("/v1/bank/notices", json={}), "CLIENT_FORBIDDEN", 403)


async def test_a_notice_that_does_not_fit_is_asked_about(stand: BankStand) -> None:
    """The activation overtakes the answer to the opening."""
    stand.bank.faults["timeout_before"] = 1
    number = await stand.card()
    assert await _account(stand, number) == "opening"
    stand.bank.perform("by-hand", "open", number, {"name": "x", "number": "y"})
    stand.bank.desk(number, "activate")
    assert ok(await stand.notice(number, "activate"))["result"] == "queried"
    await stand.settle()
    assert await _account(stand, number) == "active"


async def test_a_loss_at_the_bank_stays_when_the_card_is_released(stand: BankStand) -> None:
    number = await stand.card()
    stand.bank.desk(number, "lose")
    ok(await stand.notice(number, "lose"))
    ok(await stand.act(number, "loss", kind="temporary"))
    ok(await stand.act(number, "release"))
    await stand.settle()
    assert (await _account(stand, number), stand.bank.states()[number]) == ("lost", "lost")


@both_engines
async def test_the_daily_reconciliation_tells_and_mends_every_difference(stand: BankStand) -> None:
    adopted, resent, closed, same = [await stand.card() for _ in range(4)]
    stand.bank.desk(adopted, "activate")
    ok(await stand.act(resent, "loss", kind="formal"))
    await stand.settle()
    stand.bank.desk(resent, "release")
    stand.bank.perform("stranger", "open", "Z00000001", {"name": "x", "number": "y"})
    stand.bank.desk(closed, "close")
    # Three in the morning in China, once for all replicas.
    stand.centre.clock.advance((18 - 1) * 3600)
    other = stand.replica()
    assert [await _daily(stand.services), await _daily(other)] == [4, 0]
    operator = stand.centre.as_("operator")
    (run,) = ok(await operator.get("/v1/bank/reconciliations"))["items"]
    assert (run["day"], run["state"], run["compared"], run["differences"]) == ("2026-01-06", "done", 4, 4)
    found = ok(await operator.get(f"/v1/bank/reconciliations/{run['id']}/differences"))["items"]
    assert {(d["card_number"], d["ours"], d["theirs"], d["resolution"]) for d in found} == {
        (adopted, "inactive", "active", "adopt"),
        (resent, "lost", "inactive", "resend:lose"),
        (closed, "inactive", "closed", "adopt"),
        ("Z00000001", "none", "inactive", "unknown_card"),
    }
    await stand.settle()
    assert stand.bank.states()[resent] == "lost"
    assert await _account(stand, same) == "inactive"
    again = ok(await operator.post("/v1/bank/reconciliations", json={"reason": "look again"}), 201)
    assert (again["day"], again["differences"]) == (None, 1)
    await stand.centre.register("elsewhere", ("operator",), region="120000")
    refused(await stand.centre.as_("elsewhere").post("/v1/bank/reconciliations", json={}), "CLIENT_FORBIDDEN", 403)


async def test_a_clerk_compares_the_own_regions_only(stand: BankStand) -> None:
    """The API refuses it to those of one region; a clerk's button does the own part, and touches no other card."""
    number = await stand.card()
    stand.bank.desk(number, "activate")
    stand.bank.perform("stranger", "open", "Z00000001", {"name": "x", "number": "y"})
    for region, differences, state in (("120000", 0, "inactive"), ("110000", 1, "active")):
        caller = Caller("console", frozenset({Role.OPERATOR}), region, "jianguan", "/1/")
        desk = Desk(stand.services, caller, "POST /exchange/bank", (Role.OPERATOR,))
        run = await reconcile_now(desk, "bank was down")
        assert (run.state, run.compared, run.differences) == ("done", differences, differences)
        assert await _account(stand, number) == state
    trail = stand.centre.store.sql("SELECT region FROM audit_entries WHERE act = 'bank.reconcile' ORDER BY id")
    assert trail == [("120000",), ("110000",)]


async def _daily(services: Any) -> int:
    return await reconcile_daily(services)


async def test_a_reconciliation_that_broke_off_is_begun_anew(stand: BankStand) -> None:
    class Broken(HttpBank):
        async def statement(self, after: str) -> list[BankAccount]:
            raise BankSilentError("down")

    await stand.card()
    stand.centre.clock.advance(DAY)
    broken = replace(stand.services, bank=Broken("http://bank.example", stand.centre.clock))
    assert await _daily(broken) == 0
    assert stand.centre.store.sql("SELECT state, reason FROM bank_reconciliations") == [("failed", "BankSilentError")]
    assert await _daily(stand.services) == 0
    stand.centre.clock.advance(10 * 60)
    assert await _daily(stand.services) == 0
    assert stand.centre.store.sql("SELECT state, attempts FROM bank_reconciliations") == [("done", 2)]


async def test_what_is_on_its_way_is_left_alone(stand: BankStand) -> None:
    number = await stand.card()
    ok(await stand.act(number, "loss", kind="formal"))
    assert await stand.reconcile() == 1
    assert stand.centre.store.sql("SELECT resolution FROM bank_differences") == [("in_flight",)]
    await stand.settle()
    assert await stand.reconcile() == 0


async def test_the_holder_is_told_to_the_bank_only_and_sealed_till_then(stand: BankStand) -> None:
    stand.bank.faults["timeout_before"] = 1
    name = "测试隐名甲"
    await stand.card(person={"name": name})
    assert stand.centre.store.sql("SELECT topic, body FROM outbox_messages") == [("bank.open", None)]
    assert name.encode() not in stand.centre.store.stored()
    await stand.settle()
    assert stand.centre.store.sql("SELECT sealed_body FROM outbox_messages") == [(None,)]


@pytest.mark.parametrize(
    ("ours", "operation", "with_card", "theirs", "expected"),
    [
        ("none", None, False, None, ("agree", None)),
        ("none", None, False, "active", ("resend", "close")),
        ("closed", "close", False, "lost", ("resend", "close")),
        ("closed", "close", False, None, ("agree", None)),
        ("opening", "open", False, None, ("resend", "open")),
        ("opening", "open", False, "active", ("adopt", None)),
        ("active", "open", False, "inactive", ("adopt", None)),
        ("active", "release", False, "lost", ("resend", "release")),
        ("active", "open", False, "lost", ("adopt", None)),
        ("lost", "lose", True, "active", ("resend", "lose")),
        ("lost", "open", False, "active", ("adopt", None)),
        ("lost", "lose", True, "closed", ("adopt", None)),
        ("lost", "lose", True, "lost", ("agree", None)),
        ("active", "open", False, None, ("resend", "open")),
    ],
)
def test_who_is_right(ours: str, operation: str | None, with_card: bool, theirs: Any, expected: Any) -> None:
    row = AccountRow(card_number="A00000011", state=ours, operation=operation, is_lost_with_card=with_card)
    found = theirs and BankAccount(card_number="A00000011", account_number="629900000000000001", state=theirs)
    assert resolution_of(row, found) == expected


@settings(max_examples=60)
@given(
    st.sampled_from([200, 200, 200, 201, 204, 302, 404, 500, 503]),
    st.one_of(st.binary(max_size=60), st.recursive(JSON, lambda inner: st.lists(inner) | _objects(inner)).map(_json)),
    st.text("0123456789abc", max_size=9),
)
def test_whatever_a_bank_answers_is_an_answer_or_silence(status: int, body: bytes, wait: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=body, headers={"Retry-After": wait})

    async def ask() -> None:
        bank = HttpBank("http://bank.example", lambda: START, transport=httpx.MockTransport(answer))
        for call in (bank.operation("k"), bank.account("A00000011"), bank.statement(""), bank.perform("k", "lose", {})):
            with contextlib.suppress(BankSilentError, BankClosedError):
                await call
        await bank.aclose()

    asyncio.run(ask())


def test_an_account_number_shows_in_no_repr() -> None:
    account = BankAccount(card_number="A00000011", account_number="629900000000000001", state="active")
    reply = BankReply(operation_key="k", kind="open", card_number="A00000011", result="done", account=account)
    assert "629900" not in repr(reply)
