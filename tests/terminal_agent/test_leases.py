"""Several programs at one counter: one drives, the others wait in line, and who dies holds up nobody."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import websockets

from apdu.inprocess import InProcessReaders
from simulators.card import Algorithm
from terminal_agent import leases
from terminal_agent.server import Ready, running_agent
from tests.cardlib.driver_stand import card
from tests.terminal_agent.stand import READER, settings, until

PAGES = ("https://one.example", "https://two.example")
LEASE = f"/v1/readers/{READER}/lease"
READ = f"/v1/readers/{READER}/basic-information"
SOON_S = 20.0
"""A busy computer's second; without what is tested here it is half a minute or more."""


@pytest.fixture(scope="module")
def readers() -> InProcessReaders:
    made = InProcessReaders([READER])
    made.insert(READER, card(Algorithm.TRIPLE_DES))
    return made


@pytest.fixture(scope="module")
def where(readers: InProcessReaders) -> Iterator[Ready]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "RENEW_S", 60.0)
        with running_agent(settings(port=0, ws_port=0, allowed_origins=PAGES), readers) as ready:
            yield ready


@pytest.fixture
async def api(where: Ready) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=where.url, timeout=60, headers={"Origin": PAGES[0]}) as client:
        yield client


async def lease(api: httpx.AsyncClient, owner: str = "A", **more: Any) -> dict[str, Any]:
    answer = await api.post(LEASE, json={"owner": owner, **more})
    assert answer.status_code == 201, answer.text
    return {"X-OneCard-Lease": answer.json()["lease"]}


async def holder(api: httpx.AsyncClient) -> dict[str, Any] | None:
    (reader,) = (await api.get("/v1/readers")).json()
    shown: dict[str, Any] | None = reader["holder"]
    return shown


async def reads(api: httpx.AsyncClient, headers: dict[str, str] | None = None) -> str:
    """READER_LEASED, LEASE_LOST, or what the card without PSAM answers."""
    code: str = (await api.post(READ, json={}, headers=headers)).json()["code"]
    return code


@asynccontextmanager
async def watching(api: httpx.AsyncClient, headers: dict[str, str]) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    async with api.stream("GET", "/v1/events", headers=headers) as stream:

        async def changes() -> AsyncIterator[dict[str, Any]]:
            name = ""
            async for line in stream.aiter_lines():
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: ") and name == "lease_changed":
                    yield json.loads(line[6:])

        yield changes()


async def test_one_drives_and_all_others_see_who(api: httpx.AsyncClient) -> None:
    mine = await lease(api, "窗口 3")
    assert await reads(api, mine) == "PSAM_ABSENT"
    refused = await api.post(READ, json={})
    assert (refused.status_code, refused.json()["code"]) == (423, "READER_LEASED")
    shown = await holder(api)
    assert shown is not None
    assert refused.json()["holder"] == shown
    assert (shown["owner"], shown["origin"], shown["kind"], shown["waiting"]) == ("窗口 3", PAGES[0], "lease", 0)
    assert "lease" not in shown
    assert (await api.put(LEASE, headers=mine)).json()["seconds_left"] > 290
    assert (await api.delete(LEASE, headers=mine)).status_code == 204
    assert await holder(api) is None
    assert (await reads(api), await reads(api, mine)) == ("PSAM_ABSENT", "LEASE_LOST")
    for call in (api.put, api.delete):
        assert (await call(LEASE, headers=mine)).json()["code"] == "LEASE_LOST"
    assert (await api.get("/v1/events", headers=mine)).json()["code"] == "LEASE_LOST"


async def test_the_line_is_served_in_order_and_who_leaves_it_loses_the_place(api: httpx.AsyncClient) -> None:
    first = await lease(api)
    async with watching(api, {}) as changes:
        second = asyncio.create_task(lease(api, "B", wait_s=60))
        await anext(changes)
        leaver = asyncio.create_task(lease(api, "left", wait_s=60))
        await anext(changes)
        third = asyncio.create_task(lease(api, "C", wait_s=60))
        assert [one["owner"] for one in (await anext(changes))["waiting"]] == ["B", "left", "C"]
        leaver.cancel()
        assert [one["owner"] for one in (await anext(changes))["waiting"]] == ["B", "C"]
    hurried = await api.post(LEASE, json={"owner": "D", "wait_s": 0.05})
    assert (hurried.json()["code"], hurried.json()["holder"]["waiting"]) == ("READER_LEASED", 2)
    await api.delete(LEASE, headers=first)
    mine = await asyncio.wait_for(second, SOON_S)
    assert not third.done()
    await api.delete(LEASE, headers=mine)
    await api.delete(LEASE, headers=await asyncio.wait_for(third, SOON_S))


async def test_a_holder_that_dies_frees_the_reader_at_once(where: Ready, api: httpx.AsyncClient) -> None:
    doomed = await lease(api, "doomed")
    next_one = asyncio.create_task(lease(api, "next", wait_s=60))
    async with httpx.AsyncClient(base_url=where.url) as program:
        async with watching(program, doomed):
            await until(lambda: _waits(api, 1))
        begun = time.monotonic()
    mine = await asyncio.wait_for(next_one, SOON_S)
    assert time.monotonic() - begun < SOON_S
    assert await reads(api, doomed) == "LEASE_LOST"
    await api.delete(LEASE, headers=mine)


async def _waits(api: httpx.AsyncClient, count: int) -> bool:
    shown = await holder(api)
    return shown is not None and shown["waiting"] == count


async def test_of_many_who_ask_at_once_one_has_it(api: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(api.post(LEASE, json={"owner": str(one)}) for one in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [423] * 7
    (secret,) = [answer.json()["lease"] for answer in answers if answer.status_code == 201]
    await api.delete(LEASE, headers={"X-OneCard-Lease": secret})


async def test_a_reader_is_pulled_out_while_others_wait_for_it(
    api: httpx.AsyncClient, readers: InProcessReaders
) -> None:
    async def is_in(state: str, *, with_card: bool = False) -> bool:
        (reader,) = (await api.get("/v1/readers")).json()
        return bool(reader["state"] == state and (reader["atr"] is not None) is with_card)

    first = await lease(api)
    second = asyncio.create_task(lease(api, "B", wait_s=60))
    await until(lambda: _waits(api, 1))
    readers.remove_reader(READER)
    await until(lambda: is_in("LOST"))
    assert await reads(api, first) == "READER_LOST"
    await api.delete(LEASE, headers=first)
    mine = await asyncio.wait_for(second, SOON_S)
    readers.add_reader(READER)
    readers.insert(READER, card(Algorithm.TRIPLE_DES))
    await until(lambda: is_in("IN_USE", with_card=True))
    assert await reads(api, mine) == "PSAM_ABSENT"
    await api.delete(LEASE, headers=mine)


async def test_a_lease_ends_without_renewal_and_at_its_longest(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as hasty:
        hasty.setattr(leases, "RENEW_S", 0.2)
        await lease(api)
        await until(lambda: _is_free(api))
    await lease(api, max_s=1)
    await until(lambda: _is_free(api))


async def _is_free(api: httpx.AsyncClient) -> bool:
    return await holder(api) is None


@pytest.mark.parametrize("owner", ["", " ", "x" * 41, "a\nb", "a\u202eb"])
async def test_an_owner_is_plain_words(api: httpx.AsyncClient, owner: str) -> None:
    assert (await api.post(LEASE, json={"owner": owner})).status_code == 422


async def test_a_page_cannot_go_on_with_what_another_page_began(where: Ready, api: httpx.AsyncClient) -> None:
    async def ask(link: Any, function: str) -> tuple[str, str]:
        await link.send(json.dumps({"function": function, "iType": 1}))
        answer = json.loads(await link.recv())
        return answer["success"], answer["pOutInfo"]

    async with websockets.connect(where.ws_url, origin=PAGES[1]) as other:
        async with websockets.connect(where.ws_url, origin=PAGES[0]) as one:
            assert (await ask(one, "iReadDebitRecord"))[0] == "-27010"
            shown = await holder(api)
            assert shown is not None
            assert (shown["kind"], shown["origin"]) == ("session", PAGES[0])
            for function in ("iReadDebitRecord", "iReadCardBas", "iVerifyPIN"):
                code, text = await ask(other, function)
                assert code == "-11"
                assert PAGES[0] in text
            assert await reads(api) == "CARD_BUSY"
        begun = time.monotonic()
        await until(lambda: _is_free(api))
        assert time.monotonic() - begun < SOON_S
        assert (await ask(other, "iReadCardBas"))[0] == "-2201"
    held = await lease(api)
    words = ["onecard", f"onecard-lease.{held['X-OneCard-Lease']}"]
    async with websockets.connect(where.ws_url, origin=PAGES[0], subprotocols=words) as mine:  # type: ignore[arg-type]
        async with websockets.connect(where.ws_url, origin=PAGES[0]) as without:
            assert (await ask(without, "iReadCardBas"))[0] == "-11"
        assert (await ask(mine, "iReadCardBas"))[0] == "-2201"
    await until(lambda: _is_free(api))


@pytest.mark.parametrize("origin", [PAGES[0], None])
async def test_no_pin_is_asked_for_once_who_asked_has_gone(where: Ready, api: httpx.AsyncClient, origin: Any) -> None:
    async def is_asked() -> bool:
        wanted: bool = (await api.get("/v1/info")).json()["is_pin_wanted"]
        return wanted

    order = json.dumps({"function": "iVerifyPIN", "iType": 1})
    async with websockets.connect(where.ws_url, origin=origin) as one:
        await one.send(order)
        await until(is_asked)
        async with websockets.connect(where.ws_url, origin=origin) as waits:
            await waits.send(order)
    begun = time.monotonic()
    await until(lambda: _is_free(api))
    assert (time.monotonic() - begun < SOON_S, await is_asked()) == (True, False)
