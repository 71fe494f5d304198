"""Reading simulated cards through the API and through the installed base's WebSocket."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator

import httpx
import pytest
import websockets
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from websockets.sync.client import connect

from apdu.inprocess import InProcessReaders
from simulators import personas
from simulators.card.card import SimCard
from simulators.factory import build_card
from simulators.ministry import RootKeys
from simulators.psam import SimPsam
from terminal_agent.server import Ready, running_agent
from tests.terminal_agent.stand import agent_with, settings, until

CONTACT = "Counter Reader 00 00"
CONTACTLESS = "Counter Reader PICC 01 00"
PSAM_SLOT = "Counter Reader SAM 02 00"
DEVICE = "TEST00000001"
WRONG_I_TYPES = (0, 5, -1, "3 ", "", None, True, 3.5, [3])


@pytest.fixture(scope="module")
def roots() -> RootKeys:
    return RootKeys.generate()


def card(roots: RootKeys, name: str) -> SimCard:
    persona = personas.load(name)
    return SimCard(build_card(persona, roots), faults=persona.faults())


def psam(roots: RootKeys) -> SimPsam:
    return SimPsam(roots, "990100", "990100000001")


@pytest.fixture
def readers() -> InProcessReaders:
    return InProcessReaders([CONTACT, CONTACTLESS, PSAM_SLOT])


async def read(client: httpx.AsyncClient, reader: str = CONTACT, **body: bool) -> httpx.Response:
    return await client.post(f"/v1/readers/{reader}/basic-information", json=body)


async def test_read_of_a_2_0_card_without_psam(roots: RootKeys, readers: InProcessReaders) -> None:
    readers.insert(CONTACT, card(roots, "adult-2.0"))
    async with agent_with(readers) as client:
        view = (await read(client)).json()
    assert view["name"].startswith("测试")
    assert (view["generation"], view["algorithm"], view["genuine"], view["is_masked"]) == ("2.0", "3DES", None, False)
    assert view["social_security_number"][:4] == "9901"
    assert view["apdus"] == 3


async def test_masked_read_keeps_the_numbers_inside(
    roots: RootKeys, readers: InProcessReaders, caplog: pytest.LogCaptureFixture
) -> None:
    readers.insert(CONTACT, card(roots, "adult-2.0"))
    with caplog.at_level(logging.INFO, "terminal_agent"):
        async with agent_with(readers) as client:
            masked = await read(client, masked=True)
            assert "full basic information read" not in caplog.text
            full = (await read(client)).json()
            assert "full basic information read" in caplog.text
    for field in ("social_security_number", "card_number", "identification_code", "reset_information", "birth_date"):
        assert full[field] not in masked.text
        assert full[field] not in caplog.text
    assert full["name"] not in caplog.text
    assert masked.json()["social_security_number"].startswith("990****")
    async with agent_with(readers, profile="kiosk") as client:
        view = await until(lambda: _served(client, masked=True))  # the kiosk itself reads a card that is put in
        assert view["social_security_number"].startswith("****")


async def test_3_0_card_needs_the_psam_and_is_proved_genuine(roots: RootKeys, readers: InProcessReaders) -> None:
    readers.insert(CONTACT, card(roots, "adult-3.0"))
    async with agent_with(readers, psam_readers=("SAM",)) as client:
        assert (await read(client)).json()["code"] == "PSAM_ABSENT"
        readers.insert(PSAM_SLOT, psam(roots))
        await until(lambda: _psam_seen(client))
        view = (await read(client)).json()
        assert (view["generation"], view["algorithm"], view["genuine"]) == ("3.0", "SM4", True)
        assert view["apdus"] <= 9
        assert (await client.get("/v1/info")).json()["terminal_number"] == "990100000001"
        assert (await read(client, PSAM_SLOT)).json()["code"] == "READER_NOT_FOUND"
        readers.remove(PSAM_SLOT)
        readers.insert(PSAM_SLOT, psam(roots))
        assert (await until(lambda: _served(client)))["genuine"] is True


async def _psam_seen(client: httpx.AsyncClient) -> bool:
    return (await client.get("/v1/info")).json()["terminal_number"] is not None


async def _served(client: httpx.AsyncClient, **body: bool) -> dict[str, object] | None:
    answer = await read(client, **body)
    return answer.json() if answer.status_code == 200 else None


async def test_card_of_another_issuer_is_not_genuine(roots: RootKeys, readers: InProcessReaders) -> None:
    readers.insert(CONTACT, card(RootKeys.generate(), "adult-3.0"))
    readers.insert(PSAM_SLOT, psam(roots))
    async with agent_with(readers, psam_readers=("SAM",)) as client:
        assert (await read(client)).json()["code"] == "CARD_NOT_GENUINE"


@pytest.mark.parametrize("name", ["mute", "silent", "truncated-records", "unknown-atr", "chip-3.0"])
async def test_strange_cards_give_a_remedy_never_a_traceback(
    roots: RootKeys, readers: InProcessReaders, name: str
) -> None:
    readers.insert(CONTACT, card(roots, name))
    async with agent_with(readers) as client:
        answer = await read(client)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] != "INTERNAL"
    assert problem["status"] == answer.status_code >= 400
    assert all(problem[member] for member in ("title", "title_en", "remedy_zh", "remedy_en"))
    assert "Traceback" not in answer.text


async def test_empty_and_unknown_readers(readers: InProcessReaders) -> None:
    async with agent_with(readers) as client:
        assert (await read(client)).json()["code"] == "CARD_ABSENT"
        assert (await read(client, "No/Such Reader")).json()["code"] == "READER_NOT_FOUND"
        assert (await read(client, surprise=True)).status_code == 422


@pytest.fixture
def ready(readers: InProcessReaders) -> Iterator[Ready]:
    stand = settings(port=0, ws_port=0, device_number=DEVICE, psam_readers=("SAM",))
    with running_agent(stand, readers) as where:
        yield where


async def call(where: Ready, *messages: object) -> list[dict[str, str]]:
    """Answers to `messages`, all sent before the first answer is read."""
    async with websockets.connect(f"{where.ws_url}/any/path") as link:
        for message in messages:
            await link.send(message if isinstance(message, str | bytes) else json.dumps(message))
        return [json.loads(await link.recv()) for _ in messages]


async def test_driver_read_gives_the_eleven_fields(roots: RootKeys, readers: InProcessReaders, ready: Ready) -> None:
    readers.insert(PSAM_SLOT, psam(roots))
    readers.insert(CONTACT, card(roots, "adult-3.0"))
    request = {"function": "iReadCardBas", "iType": 3}
    answer = await until(lambda: _success(ready, request))
    assert answer["functionName"] == "iReadCardBas"
    fields = answer["pOutInfo"].split("|")
    assert len(fields) == 12
    assert fields[11] == ""
    assert (fields[6], fields[9], fields[10]) == ("3.00", "990100000001", DEVICE)
    assert (len(fields[3]), len(fields[5])) == (32, 26)


async def _success(where: Ready, request: object) -> dict[str, str] | None:
    answer = (await call(where, request))[0]
    return answer if answer["success"] == "1" else None


async def test_readers_are_chosen_by_itype(roots: RootKeys, readers: InProcessReaders, ready: Ready) -> None:
    def ask(i_type: object) -> dict[str, object]:
        return {"function": "iReadCardBas", "iType": i_type}

    readers.insert(CONTACTLESS, card(roots, "adult-2.0"))
    await until(lambda: _success(ready, ask(2)))
    contact, contactless, first, text = await call(ready, ask(1), ask(2), ask(3), ask("4"))
    assert contact["success"] == "-2"
    assert contactless["success"] == first["success"] == text["success"] == "1"
    readers.insert(CONTACT, card(roots, "child-3.0"))
    other = await until(lambda: _differs(ready, ask(3), contactless["pOutInfo"]))
    assert other["success"] == "-2201"  # a 3.0 card in the contact reader, and no PSAM
    assert (await call(ready, ask(4)))[0]["pOutInfo"] == contactless["pOutInfo"]
    readers.remove_reader(CONTACTLESS)
    assert (await until(lambda: _differs(ready, ask(2), contactless["pOutInfo"])))["success"] == "-11"


async def _differs(where: Ready, request: object, text: str) -> dict[str, str] | None:
    answer = (await call(where, request))[0]
    return answer if answer["pOutInfo"] != text else None


async def test_bad_messages_get_codes_and_the_connection_stays_open(ready: Ready) -> None:
    bad: list[tuple[object, str, str]] = [
        ("not json", "-14", ""),
        ("", "-14", ""),
        (b"\xff\xfe", "-14", ""),
        ("[" * 60000, "-14", ""),
        ("[]", "-14", ""),
        ("null", "-14", ""),
        ('{"iType":3}', "-14", ""),
        ('{"function":7}', "-14", ""),
        ({"function": "iFormatCard"}, "-13", "iFormatCard"),
        ({"function": "ireadcardbas", "iType": 3}, "-13", "ireadcardbas"),
        *[({"function": "iReadCardBas", "iType": i_type}, "-14", "iReadCardBas") for i_type in WRONG_I_TYPES],
        ({"function": "iReadCardBas"}, "-14", "iReadCardBas"),
        ({"function": "iReadCardBas", "iType": 3}, "-2", "iReadCardBas"),
    ]  # fmt: skip
    answers = await call(ready, *(message for message, _, _ in bad))
    assert [(a["success"], a["functionName"]) for a in answers] == [(code, name) for _, code, name in bad]
    assert all(answer["pOutInfo"] for answer in answers)


JSON_TEXTS = st.text(st.characters(), max_size=80)  # with lone surrogates, which JSON can carry
MESSAGES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40),
    st.recursive(st.none() | st.integers() | JSON_TEXTS, lambda inner: st.lists(inner, max_size=3)).map(json.dumps),
    st.fixed_dictionaries(
        {"function": JSON_TEXTS | st.just("iReadCardBas")}, optional={"iType": JSON_TEXTS | st.integers(0, 5)}
    ).map(json.dumps),
)


def test_every_message_is_answered_on_the_open_connection() -> None:
    with (
        running_agent(settings(port=0, ws_port=0), InProcessReaders()) as where,
        connect(where.ws_url, proxy=None) as link,
    ):

        @hypothesis_settings(max_examples=100)
        @example(message=json.dumps({"function": "\ud800"}))
        @given(message=MESSAGES)
        def ask(message: str | bytes) -> None:
            link.send(message)
            answer = json.loads(link.recv(timeout=30))
            assert answer.keys() == {"functionName", "success", "pOutInfo"}
            assert int(answer["success"]) < 0

        ask()


async def test_over_long_message_closes_that_connection_only(ready: Ready) -> None:
    async with websockets.connect(ready.ws_url) as link:
        await link.send("x" * (64 * 1024 + 1))
        with pytest.raises(websockets.ConnectionClosed):
            await link.recv()
    assert (await call(ready, "x"))[0]["success"] == "-14"


async def test_overlapping_calls_are_all_answered(roots: RootKeys, readers: InProcessReaders, ready: Ready) -> None:
    readers.insert(CONTACT, card(roots, "adult-2.0"))
    request = {"function": "iReadCardBas", "iType": 1}
    first = await until(lambda: _success(ready, request))
    answers = await asyncio.gather(*(call(ready, request, request) for _ in range(8)))
    assert [answer for pair in answers for answer in pair] == [first] * 16
