"""What is published, through a running agent: answers offline, attacks, last good state, and named alarms."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from tuf.api.metadata import Targets

from apdu.inprocess import InProcessReaders
from apps_catalog import load
from apps_catalog.distribution.held import point
from apps_catalog.question import CatalogQuestion
from cardlib.failures import FailureCode
from simulators import personas
from simulators.card import Algorithm
from simulators.card.card import SimCard
from simulators.factory import build_card
from simulators.ministry import RootKeys
from terminal_agent.caller import PROGRAM
from terminal_agent.cards import CardListedError
from terminal_agent.catalog.desk import CatalogDesk
from terminal_agent.driver_desk import LISTED
from terminal_agent.driver_functions import FUNCTIONS
from terminal_agent.endpoints import events
from tests.apps_catalog.distribution.test_attacks import forge
from tests.cardlib.driver_stand import INFO, card
from tests.terminal_agent.catalog.conftest import FOUND, LOST, ORIGIN, RELEASES, Agents, Centre, as_json, configuration
from tests.terminal_agent.stand import READER, until

FILES = Path("/proc/self/fd")
QUESTION = {"from": "130000", "in": "110000", "on": "2026-12-01", "carrier": "qr", "age": 70}


async def fetched(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = (await client.post("/v1/catalog/fetch")).raise_for_status()
    return dict(answer.json())


async def look(client: httpx.AsyncClient, number: str, **more: Any) -> dict[str, Any]:
    body = {"kind": "card", "number": number} | more
    return dict((await client.post("/v1/block-list/look", json=body)).raise_for_status().json())


def alarms(state: dict[str, Any]) -> list[str]:
    return [alarm["code"] for alarm in state["alarms"]]


async def test_same_answers_with_the_server_gone_and_after_a_restart(
    agents: Agents, centre: Centre, terminal: dict[str, Any]
) -> None:
    expected = CatalogQuestion.model_validate(QUESTION).answer(load())
    region = {"region": "120000", "holder_region": "110000"}
    async with agents() as client:
        state = await fetched(client)
        assert (state["source"], state["transit_roots"], alarms(state)) == ("published", 3, [])
        assert (state["block_list"]["entries"], state["update"]["state"]) == (1, "available")
        centre.go()
        assert alarms(await fetched(client)) == ["SERVICE_UNREACHABLE"]
        answers = [(await client.post("/v1/catalog/what", json=QUESTION)).json(), await look(client, LOST)]
        listed = (await client.get("/v1/catalog", params=region)).json()
        info = (await client.get("/v1/info")).json()
    assert answers[0] == expected
    assert (answers[1]["verdict"], answers[1]["action"], answers[1]["freshness"]) == ("blocked", "refuse", "fresh")
    catalog = load()
    assert listed == catalog.to_json(catalog.what_can("120000", holder_region="110000"))
    assert (info["catalog_alarms"], info["update"]) == (["SERVICE_UNREACHABLE"], "available")
    past = datetime.now(UTC) - timedelta(days=2)
    point(terminal["state_dir"] / "catalog", str(state["set"]), valid_until=past, checked_at=past)
    async with agents() as client:
        await until(lambda: _has_list(client))
        assert "CATALOG_STALE" in alarms((await client.get("/v1/catalog/state")).json())
        assert (await client.post("/v1/catalog/what", json=QUESTION)).json() == expected
        assert (await look(client, LOST))["verdict"] == "blocked"
        assert (await look(client, FOUND, kind="ecard"))["verdict"] == "clear"


async def _has_list(client: httpx.AsyncClient) -> bool:
    return (await client.get("/v1/catalog/state")).json()["block_list"] is not None


async def test_nothing_configured_answers_from_what_is_shipped(agents: Agents) -> None:
    async with agents(catalog_url=None, catalog_root=None) as client:
        state = await fetched(client)
        assert (state["source"], state["is_updating"], state["next_try"]) == ("shipped", False, None)
        answer = (await client.post("/v1/catalog/what", json=QUESTION)).json()
        unknown = await look(client, LOST)
    assert answer == CatalogQuestion.model_validate(QUESTION).answer(load())
    assert (unknown["verdict"], unknown["action"], unknown["edition"]) == ("unknown", "clerk", None)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/catalog/what", {"from": "130000", "in": "440000"}, 400),
        ("/v1/catalog/what", {"from": "130000", "in": "110000", "ecard": 2}, 422),
        ("/v1/catalog/what", {"from": "1300", "in": "110000"}, 422),
        ("/v1/block-list/look", {"kind": "card", "number": "11"}, 422),
        ("/v1/block-list/look", {"kind": "bank", "number": LOST}, 422),
    ],
)
async def test_questions_that_cannot_be(agents: Agents, path: str, body: dict[str, Any], status: int) -> None:
    async with agents(catalog_url=None, catalog_root=None) as client:
        answer = await client.post(path, json=body)
        in_address = await client.get("/v1/block-list/look", params={"kind": "card", "number": LOST})
    assert (answer.status_code, in_address.status_code) == (status, 405)
    assert str(body.get("number")) not in answer.text


# -- attacks ----------------------------------------------------------------------------------------------------------

Attack = Callable[[Centre, pytest.MonkeyPatch], None]


def signed_by_another(centre: Centre, patch: pytest.MonkeyPatch) -> None:
    targets = centre.all._latest("blocklist", Targets)
    targets.version += 1
    forge(centre, "blocklist", targets, "110000")
    patch.setattr("apps_catalog.distribution.repository.Repository._checked", type(centre.all)._meta_file)
    centre.all.refresh()


def altered_on_the_way(centre: Centre, patch: pytest.MonkeyPatch) -> None:
    centre.block(FOUND)
    newest = max((centre.path / "targets" / "blocklist").glob("*.list.bl"), key=lambda file: file.stat().st_mtime_ns)
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(data)


def disk_is_full(centre: Centre, patch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    centre.block(FOUND)
    patch.setattr("apps_catalog.distribution.client.settle", full)


def older_block_list(centre: Centre, patch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(centre.path.parent / "building")
    centre.block(FOUND, as_of=time.time() - 86_400)


def half_a_block_list(centre: Centre, patch: pytest.MonkeyPatch) -> None:
    centre.say("blocklist", {"filter.bl": b"OCBL"})


def configuration_with_a_pattern(centre: Centre, patch: pytest.MonkeyPatch) -> None:
    centre.say("terminal-configuration", {"counter.json": configuration(allowed_origins=["https://*.example"])})


def manifest_of_another_format(centre: Centre, patch: pytest.MonkeyPatch) -> None:
    centre.say("agent-updates", {"manifest.json": as_json(RELEASES | {"format": "agent-updates-9"})})


@pytest.mark.parametrize(
    ("attack", "alarm"),
    [
        (signed_by_another, FailureCode.CATALOG_SIGNATURE),
        (altered_on_the_way, FailureCode.CATALOG_DAMAGED),
        (disk_is_full, FailureCode.CATALOG_DISK),
        (older_block_list, FailureCode.BLOCK_LIST_OLDER),
        (half_a_block_list, FailureCode.BLOCK_LIST_INVALID),
        (configuration_with_a_pattern, FailureCode.PUBLICATION_INVALID),
        (manifest_of_another_format, FailureCode.PUBLICATION_INVALID),
    ],
)
async def test_last_good_state_and_a_named_alarm(
    attack: Attack, alarm: FailureCode, agents: Agents, centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with agents() as client:
        before = await fetched(client)
        with monkeypatch.context() as patch:
            attack(centre, patch)
            state = await fetched(client)
        assert (alarms(state), state["set"]) == ([alarm.value], before["set"])
        assert (await look(client, LOST))["verdict"] == "blocked"
        events = await _events(client)
    assert {"failure": alarm.value, "edition": before["block_list"]["edition"]}.items() <= events[
        "catalog_alarm"
    ].items()


async def _events(client: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    """The last event of each name, from the hub's memory."""
    hub = client._transport.app.state.agent.hub  # type: ignore[attr-defined]
    return {event.name: event.data for event in hub._ring if event is not None}


@pytest.mark.skipif(not FILES.is_dir(), reason="needs /proc")
async def test_an_alarm_is_taken_back_when_it_is_over(agents: Agents, centre: Centre, terminal: dict[str, Any]) -> None:
    async with agents() as client:
        await fetched(client)
        half_a_block_list(centre, pytest.MonkeyPatch())
        assert alarms(await fetched(client)) == ["BLOCK_LIST_INVALID"]
        centre.block(FOUND)
        assert alarms(await fetched(client)) == []
        assert (await _events(client))["catalog_cleared"]["failure"] == "BLOCK_LIST_INVALID"
        assert [(await look(client, code))["verdict"] for code in (LOST, FOUND)] == ["clear", "blocked"]
        # Refused and replaced lists are closed: the one in use is open, as the disk keeps it.
        (only,) = open_lists(terminal["state_dir"])
        assert only.endswith("list.bl")


def open_lists(folder: Path) -> list[str]:
    """Exact lists there that this process has open, whatever agents of other tests have."""
    found = []
    for entry in FILES.iterdir():
        with suppress(OSError):
            found.append(str(entry.readlink()))
    return [name for name in found if name.startswith(str(folder)) and "list.bl" in name]


# -- what the rest of the agent does with it --------------------------------------------------------------------------


async def test_a_card_that_is_read_is_looked_up(agents: Agents, centre: Centre) -> None:
    card = SimCard(build_card(personas.load("adult-2.0"), RootKeys.generate()))
    readers = InProcessReaders([READER])
    readers.insert(READER, card)
    path = f"/v1/readers/{READER}/basic-information"
    async with agents(readers=readers) as client:
        await fetched(client)
        full = (await client.post(path, json={})).json()
        assert (full["block"]["verdict"], full["block"]["action"]) == ("clear", "accept")
        centre.block(full["identification_code"])
        await fetched(client)
        masked = await client.post(path, json={"masked": True})
    assert (masked.json()["block"]["verdict"], masked.json()["block"]["action"]) == ("blocked", "refuse")
    assert full["identification_code"] not in masked.text
    async with agents(readers=readers, catalog_url=None) as client:
        assert (await client.post(path, json={})).json()["block"] is None


async def test_a_listed_card_may_be_read_and_serves_nobody(agents: Agents, centre: Centre) -> None:
    readers = InProcessReaders([READER])
    readers.insert(READER, card(Algorithm.SM4, pin=""))
    calls = [
        ("iVerifyPIN", [1]),
        ("iWriteCard", [1, INFO, "DF01EF06|28|$", "DF01EF06|01000000009|$"]),
        ("iDoDebit_HSM_Step1", [1, INFO, "0.1|0.2|20250316101500|"]),
        ("iReadICCardNum", [1]),
        ("PKI_VerifySign", ["", "", "", 1]),
    ]
    async with agents(readers=readers) as client:
        driver = client._transport.app.state.agent.driver  # type: ignore[attr-defined]

        async def answers() -> list[bool]:
            return [(await driver.call(FUNCTIONS[name], list(given)))[0] == LISTED for name, given in calls]

        await fetched(client)
        assert not any(await answers())
        centre.block(INFO.partition("|")[0])
        await fetched(client)
        assert await answers() == [True, True, True, False, False]
        assert "挂失" in (await driver.call(FUNCTIONS["iVerifyPIN"], [1]))[1]
        with pytest.raises(CardListedError):
            await driver.with_holder(READER, lambda *_: pytest.fail("no PIN is asked for"), lambda _: None)


async def test_the_centre_configures_origins_at_once_and_times_at_the_next_start(
    agents: Agents, centre: Centre
) -> None:
    async def asked() -> int:
        return (await client.get("/v1/readers", headers={"Origin": ORIGIN})).status_code

    centre.say(
        "terminal-configuration",
        {"counter.json": configuration(allowed_origins=[ORIGIN], pin_dialog_s=33, colour="blue")},
    )
    async with agents(catalog_root=None) as client:
        assert (await asked(), alarms(await fetched(client))) == (403, ["NOT_FOUND"])
    async with agents() as client:
        state = await fetched(client)
        assert state["configuration"] == {"settings": ["allowed_origins", "pin_dialog_s"], "unknown": ["colour"]}
        assert await asked() == 200
    centre.go()
    async with agents() as client:
        agent = client._transport.app.state.agent  # type: ignore[attr-defined]
        assert (await asked(), agent.settings.pin_dialog_s) == (200, 33)
        centre.come_back()
        centre.say("terminal-configuration", {})
        await fetched(client)
        assert await asked() == 403
    async with agents() as client:
        assert client._transport.app.state.agent.settings.pin_dialog_s != 33  # type: ignore[attr-defined]


async def test_what_time_alone_makes_too_old(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    async with agents(profile="kiosk") as client:
        await fetched(client)
        desk: CatalogDesk = client._transport.app.state.agent.catalog  # type: ignore[attr-defined]
        monkeypatch.setattr(desk, "_clock", lambda: time.time() + 3 * 86_400)
        desk._settle_alarms()
        state = (await client.get("/v1/catalog/state")).json()
        assert (sorted(alarms(state)), state["is_stale"]) == (["BLOCK_LIST_STALE", "CATALOG_STALE"], True)
        assert state["block_list"]["freshness"] == "too_old"
        old = await look(client, FOUND)
        assert (old["verdict"], old["action"]) == ("clear", "refuse")
        assert (await look(client, LOST))["action"] == "refuse"


async def test_a_page_the_centre_no_longer_names_hears_and_holds_nothing(agents: Agents, centre: Centre) -> None:
    async with agents() as client:
        await fetched(client)
        app = client._transport.app  # type: ignore[attr-defined]
        PROGRAM.set(ORIGIN)
        stream = (await events(Request({"type": "http", "app": app, "headers": []}), None)).body_iterator
        await app.state.agent.leases.acquire(READER, "hall", ORIGIN, wait_s=0, max_s=60)
        assert app.state.agent.leases.origins == {ORIGIN}
        centre.say("terminal-configuration", {})
        await fetched(client)
        assert app.state.agent.leases.origins == set()
        async with asyncio.timeout(30):
            assert [event async for event in stream] == []


@pytest.mark.parametrize(
    "torn", ["root.json", "sets/*/files/catalog/joint/manifest.json", "sets/*/catalog/catalog.toml"]
)
async def test_what_is_held_was_torn(torn: str, agents: Agents, centre: Centre, terminal: dict[str, Any]) -> None:
    """Without the network it is not believed, with a named alarm; with it, it comes back."""
    async with agents() as client:
        await fetched(client)
    (place,) = (terminal["state_dir"] / "catalog").glob(torn)
    raw = place.read_bytes()
    place.unlink()
    place.write_bytes(raw[: len(raw) // 2])
    centre.go()
    async with agents() as client:
        state = await fetched(client)
        assert (state["source"], "CATALOG_DAMAGED" in alarms(state)) == ("shipped", True)
        assert (await look(client, LOST))["verdict"] == "unknown"
        centre.come_back()
        state = await fetched(client)
        assert (state["source"], alarms(state)) == ("published", [])
        assert (await look(client, LOST))["verdict"] == "blocked"


class _Stalling(SimpleHTTPRequestHandler):
    """Of a block list's exact list the first half alone; then the agent waits."""

    halfway = threading.Event()
    over = threading.Event()

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        data = source.read()
        if "list.bl" not in self.path:
            outputfile.write(data)
            return
        outputfile.write(data[: len(data) // 2])
        outputfile.flush()
        self.halfway.set()
        self.over.wait(100)


async def test_killed_in_the_middle_of_a_fetch(agents: Agents, centre: Centre, terminal: dict[str, Any]) -> None:
    async with agents() as client:
        before = await fetched(client)
    centre.block(FOUND)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Stalling, directory=str(centre.path))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        settings = {
            **{f"ONECARD_AGENT_{name.upper()}": str(value) for name, value in terminal.items()},
            "ONECARD_AGENT_CATALOG_URL": f"http://127.0.0.1:{server.server_port}",
            "ONECARD_AGENT_CATALOG_INTERVAL_S": "0.01",
        }
        order = (
            sys.executable,
            "-m",
            "onecard_cli",
            "agent",
            "run",
            "--readers",
            "vpcd",
            "--port",
            "0",
            "--ws-port",
            "0",
        )
        process = await asyncio.create_subprocess_exec(
            *order, env=os.environ | settings, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            assert await asyncio.to_thread(_Stalling.halfway.wait, 90)
        finally:
            process.kill()
            _Stalling.over.set()
            await process.wait()
            server.shutdown()
    assert list((terminal["state_dir"] / "catalog" / "partial").glob("*list.bl.part"))
    async with agents(catalog_url="http://127.0.0.1:9") as client:
        await until(lambda: _has_list(client))
        assert (await look(client, LOST))["verdict"] == "blocked"
        assert (await client.get("/v1/catalog/state")).json()["set"] == before["set"]
    async with agents() as client:
        await fetched(client)
        assert [(await look(client, code))["verdict"] for code in (LOST, FOUND)] == ["clear", "blocked"]
