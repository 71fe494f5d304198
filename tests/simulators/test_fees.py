"""The simulated fee system: each key once, its own books, faults as ordered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.fees import SimFees, _order


@pytest.fixture
async def fees() -> AsyncIterator[tuple[SimFees, httpx.AsyncClient]]:
    fees = SimFees()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(fees.app), base_url="http://fees.example") as http:
        yield fees, http
    fees.close()


async def _ask(http: httpx.AsyncClient, act: str, key: str, amount_fen: Any = 1600) -> httpx.Response:
    body = {"key": key, "application_id": "a1", "amount_fen": amount_fen}
    return await http.post(f"/v1/payments/{act}", json=body)


async def test_each_key_is_done_once(fees: tuple[SimFees, httpx.AsyncClient]) -> None:
    sim, http = fees
    assert (await _ask(http, "cancel", "k0")).json() == {"result": "refused", "reason": "NOT_REGISTERED"}
    assert (await _ask(http, "register", "k1")).json() == {"result": "done"}
    assert (await _ask(http, "register", "k1")).json() == {"result": "already"}
    assert (await _ask(http, "register", "k2")).json()["result"] == "refused"
    assert (await http.get("/sim/fees")).json() == sim.booked == {"a1": 1600}
    assert (await _ask(http, "cancel", "k3", 1500)).json()["result"] == "refused"
    assert (await _ask(http, "cancel", "k3")).json() == {"result": "done"}
    assert sim.booked == {}
    assert (await _ask(http, "double", "k4")).status_code == 400
    assert (await _ask(http, "register", "k5", "1600")).status_code == 400


async def test_faults(fees: tuple[SimFees, httpx.AsyncClient]) -> None:
    sim, http = fees
    sim.faults.update(timeout_before=1, timeout_after=1, refuse=1)
    assert (await _ask(http, "register", "k1")).status_code == 504
    assert sim.booked == {}
    assert (await _ask(http, "register", "k1")).json()["result"] == "refused"
    assert (await _ask(http, "register", "k1")).status_code == 504
    assert (await _ask(http, "register", "k1")).json() == {"result": "already"}
    assert sim.booked == {"a1": 1600}


async def test_books_outlive_a_restart_and_strangers_are_refused(tmp_path: Path) -> None:
    first = SimFees(tmp_path / "fees")
    first.perform("register", "k1", "a1", 1600)
    first.close()
    again = SimFees(tmp_path / "fees", token="right")
    assert again.perform("register", "k1", "a1", 1600) == {"result": "already"}
    transport = httpx.ASGITransport(again.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://fees.example") as http:
        assert (await _ask(http, "cancel", "k2")).status_code == 401
        assert (await http.get("/sim/fees")).status_code == 401
        http.headers["Authorization"] = "Bearer right"
        assert (await http.get("/sim/fees")).json() == {"a1": 1600}
    again.close()


@given(st.binary(max_size=200))
@settings(max_examples=60)
def test_what_is_no_order_is_none(body: bytes) -> None:
    found = _order(body)
    assert found is None or found[2] > 0
