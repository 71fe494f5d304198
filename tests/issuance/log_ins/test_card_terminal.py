"""The whole way by card: relying party, log-in page, terminal service, chip, and back; from the command line's side."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from typer.testing import CliRunner

from apdu.inprocess import InProcessReaders
from cardlib.failures import FailureCode
from cardlib.pki import Pin, PkiSession
from onecard_cli.__main__ import app
from onecard_cli.login_card import log_in
from onecard_cli.output import CommandError
from simulators import personas
from simulators.card import SimCard
from simulators.factory import build_card
from terminal_agent.app import create_app
from tests.cardlib.transit import Reader
from tests.issuance.log_ins.cards import CardLogIns
from tests.issuance.log_ins.stand import CALLBACK, NAME, LogIns
from tests.simulators.support import vector_roots
from tests.terminal_agent.stand import READER, client_of, settings, until
from tests.terminal_agent.test_pin_dialog import OWN, key_of

ASKED = {
    "response_type": "code",
    "client_id": "jobs",
    "redirect_uri": CALLBACK,
    "scope": "openid profile",
    "state": "s-1",
    "code_challenge": "c" * 43,
    "code_challenge_method": "S256",
    "acr_values": "urn:onecard:acr:card",
}


def certified_chip(cards: CardLogIns) -> SimCard:
    """A chip whose certificate names the holder's card."""
    chip = SimCard(build_card(personas.load("adult-3.0"), vector_roots()))
    session = PkiSession(Reader(chip))
    session.open()
    session.verify("88888888", Pin.ADMIN)
    session.write_certificate(cards.certified(public=session.generate()))
    return chip


async def typing(agent: httpx.AsyncClient, pin: str) -> str:
    """What the PIN window shows, answered with `pin`."""

    async def is_wanted() -> bool:
        return bool((await agent.get("/v1/info")).json()["is_pin_wanted"])

    await until(is_wanted)
    shown = (await agent.get((await agent.get("/pin")).headers["location"])).text
    await agent.post("/pin", data={"key": key_of(shown), "pin": pin}, headers=OWN)
    return shown


async def test_from_the_relying_party_and_back(
    log_ins: LogIns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cards = CardLogIns(log_ins, tmp_path)
    came: list[httpx.URL] = []

    def relying_party(request: httpx.Request) -> httpx.Response:
        came.append(request.url)
        return httpx.Response(200, text="logged in")

    readers = InProcessReaders([READER])
    chip = certified_chip(cards)
    readers.insert(READER, chip)
    url = f"{cards.page}/oidc/authorize?{urlencode(ASKED)}"
    terminal = create_app(settings(allowed_origins=(cards.page,), operation_timeout_s=10), readers)
    browser = httpx.AsyncClient(
        transport=httpx.ASGITransport(log_ins.centre.app),
        mounts={"https://jobs.example": httpx.MockTransport(relying_party)},
    )
    async with client_of(terminal) as agent, browser:
        going = asyncio.create_task(log_in(browser, agent, url))
        shown = await typing(agent, "000000")
        assert f"{NAME} · jobs.example" in shown
        with pytest.raises(CommandError) as refusal:
            await going
        assert refusal.value.failure is FailureCode.PIN_WRONG
        assert (chip.state.neighbours.pki.user.retry_left, came) == (5, [])
        going = asyncio.create_task(log_in(browser, agent, url))
        await typing(agent, "123456")
        assert await going == {"status": 200, "url": CALLBACK}
        readers.remove(READER)
        with pytest.raises(CommandError) as refusal:  # said by the command or by the agent: who first sees it empty
            await log_in(browser, agent, url)
        assert refusal.value.failure is FailureCode.CARD_ABSENT
    assert came[0].params["state"] == "s-1"
    assert len(came[0].params["code"]) > 40
    assert NAME in capsys.readouterr().out


def test_a_service_that_is_not_there() -> None:
    failed = CliRunner().invoke(app, ["login", "card", "http://127.0.0.1:1/"])
    assert failed.exit_code != 0
    assert "SERVICE_UNREACHABLE" in failed.output


@pytest.mark.parametrize("status", [200, 404, 502])
async def test_an_address_that_leads_to_no_log_in_page(status: int) -> None:
    there = httpx.MockTransport(lambda request: httpx.Response(status, html="<p>another page</p>"))
    async with httpx.AsyncClient(transport=there) as anywhere:
        with pytest.raises(CommandError, match=f"status {status}") as refusal:
            await log_in(anywhere, anywhere, "https://jobs.example/")
    assert refusal.value.failure is FailureCode.LOGIN_CLOSED
