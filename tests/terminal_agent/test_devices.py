"""Serial devices in the agent, on pseudo-terminals: readers, ID cards and codes; loss, return, and one that hangs."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from apdu.inprocess import InProcessReaders
from simulators.card import Algorithm
from simulators.psam import SimPsam
from simulators.serial import Person, SimIdCardModule, SimMt3Reader, SimPinPad, SimScanner
from terminal_agent import devices
from terminal_agent.app import create_app
from terminal_agent.driver_functions import FUNCTIONS
from terminal_agent.settings import AgentSettings
from tests.cardlib.driver_stand import INFO, TERMINAL, card
from tests.simulators.support import vector_roots
from tests.terminal_agent.stand import READER, ScriptedCard, client_of, readers_with, settings, until

IDENTITY = FUNCTIONS["iReadIdentityCard"]


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "LOOK_S", 0.1)
    for patience in ("idcard_reader.ANSWER_TIMEOUT_S", "readers.POWER_TIMEOUT_S", "readers.PROBE_TIMEOUT_S"):
        monkeypatch.setattr(f"apdu.serial.{patience}", 30.0)


@asynccontextmanager
async def agent(**changes: Any) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    app = create_app(settings(**changes), InProcessReaders(()))
    async with client_of(app) as client:
        yield app, client


async def states(client: httpx.AsyncClient) -> dict[str, tuple[str, str | None]]:
    listed = (await client.get("/v1/devices")).json()
    return {device["kind"]: (device["state"], device["failure"]) for device in listed}


async def becomes(client: httpx.AsyncClient, kind: str, state: str) -> None:
    async def is_so() -> bool:
        return (await states(client))[kind][0] == state

    await until(is_so)


class Heard:
    """Events by name: from now on, or also those of the agent's start."""

    def __init__(self, app: FastAPI, *, also_earlier: bool = False) -> None:
        hub = app.state.agent.hub
        self._events = hub.subscribe(f"{hub._run}-0" if also_earlier else None)

    async def next(self, *names: str) -> dict[str, Any]:
        async for event in self._events:
            if event.name in names:
                return dict(event.data) | {"event": event.name}
        raise AssertionError("no more events")


async def test_an_mt3_reader_is_a_reader_like_any_other() -> None:
    with SimMt3Reader({"user": card(Algorithm.SM4, pin="")}, label="desk") as device:
        port = {"port": device.path, "label": "desk", "slots": ["user"]}
        async with agent(mt3_readers=(port,), operation_timeout_s=10) as (app, client):
            heard = Heard(app, also_earlier=True)
            assert (await heard.next("card_inserted"))["reader"] == "MT3 desk 00 00"
            (reader,) = (await client.get("/v1/readers")).json()
            assert (reader["name"], reader["state"]) == ("MT3 desk 00 00", "PRESENT")
            (listed,) = (await client.get("/v1/devices")).json()
            assert (listed["state"], listed["readers"]) == ("ready", ["MT3 desk 00 00"])
            desk = app.state.agent.driver
            assert await desk.call(FUNCTIONS["iVerifyPIN"], [1]) == (0, ""), "the card has no PIN"
            device.unplug()
            assert (await heard.next("reader_removed"))["state"] == "LOST"
            assert (await states(client))["mt3_reader"] == ("lost", "READER_NOT_FOUND")
            assert (await desk.call(FUNCTIONS["iReadCard"], [1, 2, INFO, "SSSEEF05|07|$"]))[0] == -11
            device.plug()
            await heard.next("card_inserted")
            assert await desk.call(FUNCTIONS["iVerifyPIN"], [1]) == (0, "")


async def test_a_key_card_in_an_mt3_reader_proves_the_card_genuine() -> None:
    psam = SimPsam(vector_roots(), "990100", TERMINAL)
    with SimMt3Reader({"user": card(Algorithm.SM4), "sam1": psam}, label="desk") as device:
        async with agent(mt3_readers=(device.path,), psam_readers=("00 01",), operation_timeout_s=10) as (app, _):
            await until(lambda: app.state.agent.registry.psam_reader())
            await until(lambda: any(reader.has_card for reader in app.state.agent.registry.card_readers()))
            code, text = await app.state.agent.driver.call(FUNCTIONS["iReadCardBas"], [3])
            assert (code, text.split("|")[9]) == (0, TERMINAL)


async def test_a_frozen_reader_delays_nobody() -> None:
    with SimMt3Reader({"user": card(Algorithm.SM4)}, label="slow") as slow, SimIdCardModule(Person()) as module:
        readers = readers_with(ScriptedCard())
        stand = settings(mt3_readers=(slow.path,), id_card_module=module.path, operation_timeout_s=60)
        app = create_app(stand, readers)
        async with client_of(app) as client:
            await until(
                lambda: any(reader.has_card for reader in app.state.agent.registry.all() if "MT3" in reader.name)
            )
            slow.is_frozen = True
            frozen = next(reader for reader in app.state.agent.registry.all() if "MT3" in reader.name)
            stuck = asyncio.create_task(client.post(f"/v1/readers/{frozen.name}/basic-information", json={}))
            await until(lambda: frozen.worker._overdue_at is not None)
            await client.post(f"/v1/readers/{READER}/basic-information", json={})
            assert (await client.post("/v1/id-card/read", json={"wait_s": 0})).status_code == 200
            assert not stuck.done()
            stuck.cancel()


async def test_an_id_card_is_read_and_leaves_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    person = Person(valid_to="长期", name="测试丁")
    with caplog.at_level(1), SimIdCardModule(person) as module:
        async with agent(id_card_module=module.path) as (_, client):
            answer = await client.post("/v1/id-card/read", json={"wait_s": 1})
            view = answer.json()
            assert answer.headers["cache-control"] == "no-store"
            told = ("name", "sex_text", "nation_text", "birth_date", "number", "valid_to")
            assert [view[name] for name in told] == ["测试丁", "男", "汉", "1990-01-01", person.number, None]
            assert base64.b64decode(view["photo_wlt_base64"]) == module.photo
            assert "WLT" in view["photo_note"]
            again = await client.post("/v1/id-card/read", json={"wait_s": 0})
            assert (again.status_code, again.json()["code"]) == (409, "CARD_ABSENT"), "it was not lifted"
            assert (await client.post("/v1/id-card/read", json={"wait_s": 61})).status_code == 422
    logged = "".join(record.getMessage() for record in caplog.records)
    assert "ID card read" in logged
    assert not {person.name, person.number, person.address} & set(logged.split("'"))
    assert person.number not in logged
    assert person.name not in logged


async def test_a_card_that_is_laid_down_while_waiting() -> None:
    with SimIdCardModule() as module:
        async with agent(id_card_module=module.path) as (_, client):
            reading = asyncio.create_task(client.post("/v1/id-card/read", json={"wait_s": 60}))
            await asyncio.sleep(0.2)
            module.place(Person())
            assert (await reading).json()["name"] == "测试甲"


async def test_the_module_is_lost_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimIdCardModule(Person()) as module:
        async with agent(id_card_module=module.path) as (app, client):
            await becomes(client, "id_card_module", "ready")
            heard = Heard(app)
            module.unplug()
            lost = await heard.next("device_lost")
            assert lost["kind"] == "id_card_module"
            answer = await client.post("/v1/id-card/read", json={"wait_s": 0})
            assert answer.json()["code"] in ("READER_LOST", "READER_NOT_FOUND")
            assert (await app.state.agent.driver.call(IDENTITY, []))[0] == -11
            module.plug()
            assert (await heard.next("device_ready"))["failure"] is None
            with monkeypatch.context() as impatient:
                impatient.setattr("apdu.serial.idcard_reader.ANSWER_TIMEOUT_S", 0.3)
                health = app.state.agent.devices._module_device.health
                two_more = health.successes + 2  # the look before may still have the long patience
                await until(lambda: health.successes >= two_more)
                module.is_frozen = True
                assert (await heard.next("device_lost"))["failure"] == "READER_LOST"
            module.is_frozen = False
            await heard.next("device_ready")
            assert (await client.post("/v1/id-card/read", json={"wait_s": 1})).status_code == 200


async def test_the_driver_function_for_id_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terminal_agent.id_cards.DRIVER_WAIT_S", 0.1)
    photo = base64.b64encode(bytes(range(256)) * 4).decode()
    resident = "|测试甲|男|汉|19900101|测试省｜1号|990101199001010012|20200101|长期|测试市公安局|" + photo + "|"
    permit = (
        "J|测试甲|男|19900101|测试省测试市测试路1号|990101199001010012|测试市公安局|20200101|20400101|||" + photo + "|"
    )
    with SimIdCardModule(Person(valid_to="长期", address="测试省|1号")) as module:
        async with agent(id_card_module=module.path) as (app, _):
            call = app.state.agent.driver.call
            assert await call(IDENTITY, []) == (0, resident)
            assert (await call(IDENTITY, []))[0] == -2
            module.place(Person(kind="J"))
            assert await call(IDENTITY, []) == (0, permit)
    async with agent() as (app, client):
        assert (await app.state.agent.driver.call(IDENTITY, []))[0] == -13
        for path in ("/v1/id-card/read", "/v1/scanner/wait"):
            answer = await client.post(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "DEVICE_NOT_CONFIGURED")
        assert (await client.get("/v1/devices")).json() == []


async def test_codes_reach_listeners_and_are_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "terminal_agent"), SimScanner() as scanner:
        async with agent(scanner=scanner.path, scanner_max_bytes=20) as (app, client):
            await becomes(client, "qr_scanner", "ready")
            hub = app.state.agent.hub
            before = hub.subscribe()
            hub.publish("mark", {})
            mark = (await anext(before)).id
            heard = Heard(app)
            waiting = asyncio.create_task(client.post("/v1/scanner/wait", json={"timeout_s": 60}))
            await until(lambda: app.state.agent.devices._scans)
            scanner.scan("SECRET-CODE-一")
            event = await heard.next("qr_scanned")
            assert event["text"] == (await waiting).json()["text"] == "SECRET-CODE-一"
            scanner.scan("x" * 21)
            assert (await heard.next("qr_refused", "qr_scanned"))["event"] == "qr_refused"
            replayed = hub.subscribe(mark)
            assert (await anext(replayed)).name == "qr_refused", "the code itself is not replayed"
            nothing = await client.post("/v1/scanner/wait", json={"timeout_s": 0.05})
            assert nothing.json() == {"text": None, "at": None}
            assert (await client.post("/v1/scanner/wait", json={"timeout_s": 61})).status_code == 422
            scanner.unplug()
            assert (await heard.next("device_lost"))["kind"] == "qr_scanner"
            assert (await states(client))["qr_scanner"][0] == "lost"
            scanner.plug()
            await heard.next("device_ready")
    assert "SECRET" not in caplog.text


async def test_a_pin_pad_is_listed_by_its_port() -> None:
    with SimPinPad() as pad:
        async with agent(pin_pad=pad.path) as (_, client):
            assert (await states(client))["pin_pad"] == ("ready", None)
            pad.unplug()
            assert (await states(client))["pin_pad"] == ("lost", "READER_NOT_FOUND")


def test_settings_of_readers() -> None:
    short, long = AgentSettings(
        mt3_readers=("/dev/ttyUSB0", {"port": "COM3", "form": "raw", "slots": ["user", "sam2"]})  # type: ignore[arg-type]
    ).mt3_readers
    assert (short.baud, short.form.value, [slot.value for slot in short.slots]) == (115200, "split", ["user", "sam1"])
    assert [slot.value for slot in long.slots] == ["user", "sam2"]
    for wrong in ({"port": "COM3", "slots": ["sam2"]}, {"port": ""}, {"port": "COM3", "speed": 1}):
        with pytest.raises(ValueError, match=r"mt3_readers"):
            AgentSettings(mt3_readers=(wrong,))  # type: ignore[arg-type]
