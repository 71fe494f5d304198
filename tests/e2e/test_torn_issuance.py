"""Cards torn during issuance, against the real service: the books always balance, never two cards, never a lost one."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from apdu.channel import T0Channel
from cardlib.client_auth import ClientAuth, ClientKey
from cardlib.identity import citizen_number
from cardlib.wire import sw_matches
from issuance.app import create_app
from issuance.clients.service import bootstrap_client
from issuance.database import migrate
from issuance.settings import Settings
from onecard_cli.__main__ import app
from simulators.card import CardGone, Faults, Life, SimCard
from simulators.factory import build_card
from simulators.personas import load
from tests.cardlib.support import REGION, key_service, roots

COMMANDS = 255
"""Personalisation of a 3.0 card, T=0 follow-ups included; the last answer to lose is the 255th."""


def blank(serial: int) -> SimCard:
    return SimCard(build_card(dataclasses.replace(load("blank-3.0"), serial=serial), roots()))


def person(number: int) -> dict[str, str]:
    return {
        "social_security_number": citizen_number(f"99010119900101{number:02d}1"),
        "name": "测试甲",
        "sex": "1",
        "ethnic_group": "01",
        "birthplace": "990100",
        "birth_date": "19900101",
    }


class Office:
    """One counter: signed requests, and a hand that puts the card back."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def ask(self, method: str, path: str, **arguments: Any) -> Any:
        answer = await self._http.request(method, path, **arguments)
        assert answer.is_success, answer.text
        return answer.json()

    async def apply(self, number: int) -> str:
        body = {"person": person(number), "region": REGION, "generation": "3.0"}
        headers = {"Idempotency-Key": f"torn-issuance-{number}"}
        return str((await self.ask("POST", "/v1/applications", json=body, headers=headers))["id"])

    async def write_off(self, application: str, card: SimCard) -> None:
        body = {"reset_information": card.state.historical.hex().upper(), "reason": "chip does not answer"}
        headers = {"Idempotency-Key": f"write-off-{body['reset_information']}"}
        await self.ask("POST", f"/v1/applications/{application}/write-off", json=body, headers=headers)

    async def session(self, card: SimCard, application: str) -> dict[str, Any]:
        """One card session from start to outcome. Raises CardGone when the card leaves."""
        start = {"kind": "personalization", "atr": card.power_on().hex().upper(), "application_id": application}
        reply = await self.ask("POST", "/v1/card-sessions", json=start)
        channel = T0Channel(card)
        while batch := reply.get("batch"):
            responses = []
            for command in batch["commands"]:
                responses.append(channel.transmit(bytes.fromhex(command["apdu"])))
                if not sw_matches(int.from_bytes(responses[-1][-2:], "big"), tuple(command["expect"])):
                    break
            answer = {
                "session_id": batch["session_id"],
                "sequence": batch["sequence"],
                "responses": [response.hex().upper() for response in responses],
            }
            reply = await self.ask("POST", f"/v1/card-sessions/{batch['session_id']}/responses", json=answer)
        outcome: dict[str, Any] = reply["outcome"]
        return outcome

    async def stock(self) -> tuple[Counter[str], Counter[str]]:
        found = await self.ask("GET", "/v1/stock")
        counts = []
        for table in ("blanks", "card_numbers"):
            total: Counter[str] = Counter()
            for row in found[table]:
                total.update({name: value for name, value in row.items() if isinstance(value, int)})
            counts.append(total)
        return counts[0], counts[1]


@pytest.fixture
async def office(tmp_path: Path) -> Any:
    url = f"sqlite+aiosqlite:///{tmp_path / 'issuance.sqlite3'}"
    migrate(url)
    key = ClientKey.generate("counter-1")
    await bootstrap_client(url, "counter-1", key.public_jwk(), ("operator", "terminal"))
    service = create_app(Settings(database_url=url), key_service())
    transport = httpx.ASGITransport(service)
    async with (
        service.router.lifespan_context(service),
        httpx.AsyncClient(transport=transport, base_url="http://centre.example", auth=ClientAuth(key)) as http,
    ):
        yield Office(http)


async def deliver(office: Office, cards: list[SimCard]) -> None:
    await office.ask(
        "POST", "/v1/card-numbers", json={"region": REGION, "body_from": "A0000001", "count": len(cards) + 2}
    )
    body = {
        "delivery": "test",
        "region": REGION,
        "reset_information": [card.state.historical.hex().upper() for card in cards],
    }
    await office.ask("POST", "/v1/blanks", json=body)


async def test_every_torn_card_ends_issued_and_accounted_for(office: Office) -> None:
    torn = [*range(1, COMMANDS, 8), COMMANDS]
    cards = [blank(serial) for serial in range(1, len(torn) + 1)]
    await deliver(office, cards)
    numbers = set()
    for index, (card, torn_after) in enumerate(zip(cards, torn, strict=True)):
        application = await office.apply(index)
        card.faults = Faults(tear_after=torn_after)
        with pytest.raises(CardGone):
            await office.session(card, application)
        blanks, pool = await office.stock()
        assert blanks["reserved"] == pool["reserved"] == 1, torn_after
        outcome = await office.session(card, application)
        assert outcome["status"] == "done", (torn_after, outcome)
        assert card.state.life is Life.ISSUED
        numbers.add(outcome["result"]["card_number"])
        blanks, pool = await office.stock()
        assert (blanks["used"], blanks["reserved"], blanks["spoiled"]) == (index + 1, 0, 0)
        assert (pool["used"], pool["reserved"], pool["void"]) == (index + 1, 0, 0)
    assert len(numbers) == len(cards)


@pytest.mark.parametrize("bound", [None, "00FE00000086FE110000000007"])
def test_the_write_off_command_names_the_bound_card(monkeypatch: pytest.MonkeyPatch, bound: str | None) -> None:
    orders: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            orders.append(request)
        return httpx.Response(200, json={"reset_information": bound})

    http = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://centre.example")
    monkeypatch.setattr("onecard_cli.office.centre", lambda url, client: nullcontext(http))
    done = CliRunner().invoke(app, ["issuance", "write-off", "0" * 32, "--reason", "chip does not answer", "--final"])
    assert done.exit_code == (1 if bound is None else 0)
    assert [json.loads(order.content) for order in orders] == (
        [] if bound is None else [{"reset_information": bound, "reason": "chip does not answer", "is_final": True}]
    )
    assert all(len(order.headers["Idempotency-Key"]) == 32 for order in orders)


async def test_a_dead_card_is_written_off_and_another_takes_its_place(office: Office) -> None:
    dead, other = blank(1), blank(2)
    await deliver(office, [dead, other])
    application = await office.apply(1)
    dead.faults = Faults(tear_after=100)
    with pytest.raises(CardGone):
        await office.session(dead, application)
    await office.write_off(application, dead)
    assert (await office.session(other, application))["status"] == "done"
    blanks, pool = await office.stock()
    assert (blanks["spoiled"], blanks["used"], blanks["in_stock"]) == (1, 1, 0)
    assert (pool["void"], pool["used"], pool["free"]) == (1, 1, 2)
    # The dead card, found alive later, cannot become a second card of the same person.
    again = await office._http.post(
        "/v1/card-sessions",
        json={"kind": "personalization", "atr": dead.power_on().hex().upper(), "application_id": application},
    )
    assert again.status_code >= 400, again.text
    assert json.loads(again.text)["code"]
    assert dead.state.life is not Life.ISSUED
