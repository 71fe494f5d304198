"""The simulated bank: each operation once, its own books, faults as ordered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulators.bank import BankEventError, SimBank

HOLDER = {"name": "测试甲", "number": "990100199001010012"}


@pytest.fixture
async def bank() -> AsyncIterator[tuple[SimBank, httpx.AsyncClient]]:
    bank = SimBank()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(bank.app), base_url="http://bank.example") as http:
        yield bank, http
    bank.close()


async def _ask(http: httpx.AsyncClient, key: str, kind: str, card: str = "A00000011") -> httpx.Response:
    body: dict[str, Any] = {"operation_key": key, "kind": kind, "card_number": card, "region": "110000"}
    return await http.post("/v1/operations", json=body | ({"holder": HOLDER} if kind == "open" else {}))


async def test_each_operation_is_done_once(bank: tuple[SimBank, httpx.AsyncClient]) -> None:
    sim, http = bank
    first = (await _ask(http, "k1", "open")).json()
    assert (first["result"], first["account"]["state"]) == ("done", "inactive")
    assert (await _ask(http, "k1", "open")).json() == first
    assert (await _ask(http, "k2", "open")).json()["result"] == "already"
    assert (await http.get("/v1/operations/k1")).json() == first
    assert (await http.get("/v1/operations/k9")).status_code == 404
    sim.desk("A00000011", "activate")
    assert (await _ask(http, "k3", "lose")).json()["account"]["state"] == "lost"
    assert (await _ask(http, "k4", "release")).json()["account"]["state"] == "active"
    assert (await _ask(http, "k5", "close")).json()["result"] == "done"
    assert (await _ask(http, "k6", "lose")).json()["reason"] == "closed"
    assert (await _ask(http, "k7", "open")).json()["reason"] == "closed"
    assert sim.operations == 4


async def test_faults(bank: tuple[SimBank, httpx.AsyncClient]) -> None:
    sim, http = bank
    assert (await http.put("/sim/faults", json={"rain": 1})).status_code == 400
    await http.put("/sim/faults", json={"timeout_before": 1, "closed": 1})
    closed = await _ask(http, "k1", "open")
    assert (closed.status_code, closed.headers["Retry-After"]) == (503, "60")
    assert ((await _ask(http, "k1", "open")).status_code, sim.states()) == (504, {})
    sim.faults["timeout_after"] = 1
    assert ((await _ask(http, "k1", "open")).status_code, sim.states()) == (504, {"A00000011": "inactive"})
    sim.faults["duplicate"] = 1
    assert (await _ask(http, "k2", "lose")).json()["operation_key"] == "k1"
    sim.faults["wrong_account"] = 1
    assert (await _ask(http, "k3", "release")).json()["account"]["card_number"] != "A00000011"


async def test_the_statement_comes_in_order_and_pages(bank: tuple[SimBank, httpx.AsyncClient]) -> None:
    _, http = bank
    cards = [f"A0000{n:03d}X" for n in (7, 3, 5)]
    for card in cards:
        await _ask(http, f"key-{card}", "open", card)
    first = (await http.get("/v1/accounts", params={"after": "", "limit": 2})).json()["accounts"]
    rest = (await http.get("/v1/accounts", params={"after": first[-1]["card_number"], "limit": 2})).json()["accounts"]
    assert [account["card_number"] for account in first + rest] == sorted(cards)
    assert len({account["account_number"] for account in first + rest}) == 3


async def test_only_who_has_the_token_is_served() -> None:
    sim = SimBank(token="secret-token")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(sim.app), base_url="http://bank.example") as http:
        for path in ("/v1/operations/k1", "/v1/accounts", "/v1/accounts/A00000011"):
            assert (await http.get(path)).status_code == 401
        assert (await _ask(http, "k1", "open")).status_code == 401
        allowed = await http.get("/v1/accounts", headers={"Authorization": "Bearer secret-token"})
        assert allowed.json() == {"accounts": []}
    sim.close()


def test_the_books_outlive_the_bank(tmp_path: Path) -> None:
    first = SimBank(tmp_path / "bank.db")
    first.perform("k1", "open", "A00000011", HOLDER)
    with pytest.raises(BankEventError):
        first.desk("A00000011", "unfreeze")
    with pytest.raises(BankEventError):
        first.desk("A00000011", "dance")
    assert first.desk("A00000011", "activate") == "active"
    first.close()
    second = SimBank(tmp_path / "bank.db")
    assert second.states() == {"A00000011": "active"}
    assert second.perform("k1", "open", "A00000011", HOLDER)["result"] == "done"
    second.close()
