"""Log-in by card at the terminal: the holder sees who asks, the PIN stays here, the card signs what was shown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from apdu.inprocess import InProcessReaders
from cardlib.login_text import signed_bytes
from cardlib.pki_certificate import Certificate
from hsm.primitives import default_engine
from simulators import personas
from simulators.card import CardState, SimCard
from simulators.factory import build_card
from terminal_agent.log_in import _TEXT
from tests.simulators.support import vector_roots
from tests.terminal_agent.stand import READER, agent_with, until
from tests.terminal_agent.test_pin_dialog import OWN, key_of

PAGE = "https://login.example"
TEXT = _TEXT.encode()
PIN = "123456"


@pytest.fixture(scope="module")
def image() -> str:
    return build_card(personas.load("adult-3.0"), vector_roots()).to_json()


@pytest.fixture
def chip(image: str) -> SimCard:
    return SimCard(CardState.from_json(image))


@asynccontextmanager
async def desk(card: SimCard | None) -> AsyncIterator[httpx.AsyncClient]:
    readers = InProcessReaders([READER])
    if card is not None:
        readers.insert(READER, card)
    async with agent_with(readers, allowed_origins=(PAGE,), operation_timeout_s=10) as client:
        yield client


async def asked(client: httpx.AsyncClient, text: str = TEXT, page: str = PAGE) -> httpx.Response:
    return await client.post("/v1/log-ins", json={"reader": READER, "text": text}, headers={"Origin": page})


async def dialog(client: httpx.AsyncClient) -> str:
    async def is_wanted() -> bool:
        return bool((await client.get("/v1/info")).json()["is_pin_wanted"])

    await until(is_wanted)
    return (await client.get((await client.get("/pin")).headers["location"])).text


async def typed(client: httpx.AsyncClient, **fields: str) -> tuple[str, httpx.Response]:
    """What the PIN window showed, and the answer to the page."""
    waiting = asyncio.create_task(asked(client))
    shown = await dialog(client)
    await client.post("/pin", data={"key": key_of(shown)} | fields, headers=OWN)
    return shown, await waiting


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_the_holder_sees_who_asks_and_the_card_signs_it(chip: SimCard, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(1):
        async with desk(chip) as client:
            shown, answer = await typed(client, pin=PIN)
    for part in (
        "请输入证书密码",
        "登录网站",
        "临江市就业服务网 · job.linjiang.example.cn",
        "姓名 / Name (name)",
        PAGE,
        "A1000****",
    ):
        assert part in shown
    given = answer.json()
    certificate = Certificate.from_der(bytes.fromhex(given["certificate"]))
    signature = bytes.fromhex(given["signature"])
    for page, is_right in ((PAGE, True), ("https://evil.example", False), ("", False)):
        verified = default_engine().sm2_verify(certificate.public, signed_bytes(TEXT, page), signature)
        assert verified is is_right
    own = "".join(record.getMessage() for record in caplog.records if record.levelno >= logging.DEBUG)
    for secret in (PIN, _TEXT.nonce):
        assert secret not in own


async def test_a_wrong_pin_counts_on_the_card(chip: SimCard) -> None:
    pin = chip.state.neighbours.pki.user
    async with desk(chip) as client:
        _, answer = await typed(client, pin="000000")
        assert (*code_of(answer), pin.retry_left) == (403, "PIN_WRONG", 5)
        _, answer = await typed(client, act="cancel")
        assert (*code_of(answer), pin.retry_left) == (409, "PIN_ENTRY_CANCELLED", 5)
        pin.retry_left = 1
        assert code_of(await asked(client)) == (409, "PIN_LAST_TRY"), "the last try is never risked"


async def test_a_page_that_is_not_listed_gets_nothing(chip: SimCard) -> None:
    async with desk(chip) as client:
        before = len(chip.state.to_json())
        assert code_of(await asked(client, page="https://evil.example")) == (403, "ORIGIN_FORBIDDEN")
        assert (await client.get("/v1/info")).json()["is_pin_wanted"] is False
        assert len(chip.state.to_json()) == before


@pytest.mark.parametrize(
    "text", ["合同", TEXT + "\n付款 / Pay: 100", TEXT.replace("\n", "\r\n"), TEXT[: TEXT.index("时间")]]
)
async def test_only_a_log_in_is_signed_here(text: str) -> None:
    async with desk(None) as client:
        assert code_of(await asked(client, text)) == (400, "INPUT_INVALID")


async def test_cards_that_cannot(chip: SimCard) -> None:
    async with desk(None) as client:
        assert code_of(await asked(client))[1] == "CARD_ABSENT"
    chip.state.neighbours.pki.signing_certificate = bytes(2048)
    async with desk(chip) as client:
        assert code_of(await asked(client))[1] == "CERTIFICATE_INVALID"
    async with desk(SimCard(build_card(personas.load("adult-2.0"), vector_roots()))) as client:
        assert code_of(await asked(client))[1] == "COMMAND_REJECTED"
