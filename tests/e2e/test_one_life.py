"""One person from birth to the end of the card, in each region under its own rules.

Every chip is written and read back over the real card stack: the agent's own relay code carries the centre's batches
to a simulated card; service, database, bank link and background jobs are the real ones, on one clock.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from cardlib.client_auth import ClientAuth, ClientKey
from cardlib.identity import citizen_number
from cardlib.session import BasicInformation, SocialSecurityCard
from cardlib.wire import CommandBatch
from issuance.app import create_app
from issuance.bank.link import HttpBank
from issuance.bank.reconciliation import reconcile
from issuance.clients.service import bootstrap_client
from issuance.clock import CHINA, add_years
from issuance.database import migrate
from issuance.rules import Rules
from issuance.services import Services
from issuance.settings import Settings
from issuance.tasks import run_once
from simulators.bank import SimBank
from simulators.card import SimCard
from simulators.factory import build_card
from simulators.personas import load
from simulators.portrait import Portrait
from terminal_agent.relay import execute_batch
from tests.cardlib.support import key_service, roots

BIRTH = date(2026, 1, 2)
COLLECTED = datetime(2026, 1, 20, 2, tzinfo=UTC)
CHILD = citizen_number("99010020260102002")
MOTHER = {
    "name": "测试母",
    "social_security_number": citizen_number("99010019900101002"),
    "telephone": "13900000000",
}
NUMBERS = {"110000": "A0000001", "120000": "E0000001", "130000": "G0000001"}
RELATION = {"relation": "mother"}


class Life:
    """The counter, the reader and the calendar around one person."""

    def __init__(self, region: str, http: httpx.AsyncClient, services: Services, bank: SimBank) -> None:
        self.region, self.bank = region, bank
        self.now = COLLECTED
        self._http, self._services = http, services
        self._serials, self._keys = itertools.count(1), itertools.count(1)
        self.card: SimCard
        self.number = ""

    @property
    def rules(self) -> Rules:
        return self._services.rules.pack(self.region).on(self.today)

    @property
    def today(self) -> date:
        return self.now.astimezone(CHINA).date()

    async def ask(self, method: str, path: str, **arguments: Any) -> Any:
        answer = await self._answer(method, path, **arguments)
        assert answer.is_success, answer.text
        return answer.json()

    async def refused(self, path: str, **body: Any) -> str:
        """The words of a refusal."""
        answer = await self._answer("POST", path, json=body)
        assert answer.status_code == 409, answer.text
        return str(answer.json()["detail"])

    async def _answer(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {"Idempotency-Key": f"life-{next(self._keys):06d}"} | arguments.pop("headers", {})
        return await self._http.request(method, path, headers=headers, **arguments)

    async def act(self, act: str, **body: Any) -> Any:
        return await self.ask("POST", f"/v1/cards/{self.number}/{act}", json=body)

    async def view(self, number: str = "") -> Any:
        return await self.ask("GET", f"/v1/cards/{number or self.number}")

    async def until(self, day: datetime) -> None:
        """Let time pass, and the background jobs run."""
        self.now = day
        for _ in range(2):
            done = await run_once(self._services)
            assert -1 not in done.values(), done

    # -- the card ---------------------------------------------------------------------------------------------------

    async def issue(self, application: str) -> BasicInformation:
        """Write a new blank for an application, and read the card as any terminal does."""
        persona = replace(load("blank-3.0"), region=self.region, serial=next(self._serials))
        self.card = SimCard(build_card(persona, roots()))
        body = {"delivery": "d", "region": self.region, "reset_information": [self.card.state.historical.hex().upper()]}
        await self.ask("POST", "/v1/blanks", json=body)
        result = await self.session(kind="personalization", application_id=application)
        self.number = result["card_number"]
        await self.until(self.now + timedelta(minutes=1))
        return self.read()

    async def session(self, **start: Any) -> dict[str, str]:
        self.card.power_off()
        reply = await self.ask("POST", "/v1/card-sessions", json={"atr": self.card.power_on().hex().upper()} | start)
        while reply["batch"]:
            batch = CommandBatch.model_validate(reply["batch"])
            responses = execute_batch(batch, self.card, "T=0", threading.Event())
            answer = {"session_id": batch.session_id, "sequence": batch.sequence, "responses": responses}
            reply = await self.ask("POST", f"/v1/card-sessions/{batch.session_id}/responses", json=answer)
        outcome = reply["outcome"]
        assert outcome["status"] == "done", outcome
        result: dict[str, str] = outcome["result"]
        return result

    def at_reader(self) -> SocialSecurityCard:
        self.card.power_off()
        card = SocialSecurityCard(self.card, self.card.power_on())
        card.open()
        return card

    def read(self) -> BasicInformation:
        basic = self.at_reader().read_basic(key_service())
        assert (basic.region, basic.card_number, basic.social_security_number) == (self.region, self.number, CHILD)
        assert basic.genuine
        return basic

    async def photo(self) -> str:
        answer = await self._http.post(
            "/v1/photos",
            params={"region": self.region, "taken_on": self.today.isoformat()},
            content=Portrait(quality=75 if self.rules.photo.max_kb < 25 else 88).jpeg(),
            headers={"Idempotency-Key": f"photo-{next(self._keys):06d}", "Content-Type": "image/jpeg"},
        )
        assert answer.status_code == 201, answer.text
        view = answer.json()
        if view["needs_confirmation"]:
            await self.ask("POST", f"/v1/photos/{view['id']}/confirm", json={"is_face_good": True})
        return str(view["id"])

    async def agree(self) -> None:
        """Bank and books say the same of every card there ever was."""
        assert self._services.bank is not None
        run = await reconcile(self._services, self._services.bank)
        assert run is not None
        assert (run.state, run.differences) == ("done", 0)


@pytest.fixture(params=sorted(NUMBERS))
async def life(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Life]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'issuance.sqlite3'}"
    migrate(url)
    key = ClientKey.generate("counter-1")
    await bootstrap_client(url, "counter-1", key.public_jwk(), ("operator", "terminal"))
    bank, made = SimBank(), list[Life]()
    link = HttpBank("http://bank.example", lambda: made[0].now, transport=httpx.ASGITransport(bank.app))
    service = create_app(
        Settings(database_url=url), key_service(), clock=lambda: made[0].now if made else COLLECTED, bank=link
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(service),
        base_url="http://centre.example",
        auth=ClientAuth(key, lambda: made[0].now.timestamp()),
    ) as http:
        made.append(Life(request.param, http, service.state.services, bank))
        numbers = {"region": request.param, "body_from": NUMBERS[request.param], "count": 9}
        await made[0].ask("POST", "/v1/card-numbers", json=numbers)
        yield made[0]
    await service.state.services.database.close()
    bank.close()


async def test_a_whole_life(life: Life) -> None:
    await _birth(life)
    await _seventh_birthday(life)
    await _lost_and_found_again(life)
    await _lost_for_good(life)
    await _renewal(life)
    await _new_name(life)
    await _end(life)


async def _birth(life: Life) -> None:
    child = {
        "sex": "2",
        "birth_date": f"{BIRTH:%Y%m%d}",
        "birthplace": "990100",
        "ethnic_group": "01",
        "name": "测试宝",
    }
    born = await life.ask(
        "POST",
        "/v1/newborns",
        json={
            "region": life.region,
            "certificate_number": "Z990000001",
            "hospital": "示例妇幼保健院",
            "child": child | {"name": "测试宝", "social_security_number": CHILD},
            "mother": MOTHER,
            "applicant": "mother",
        },
    )
    basic = await life.issue(born["application_id"])
    assert (basic.name, basic.card_class) == ("测试宝", "1")
    years = life.rules.validity("1")
    assert basic.expiry_date == f"{add_years(life.today, years):%Y%m%d}"
    assert (await life.view())["account"]["state"] == "inactive"


async def _seventh_birthday(life: Life) -> None:
    await life.until(datetime(2033, 1, 10, 2, tzinfo=UTC))
    old = life.number
    order = {
        "cause": "damaged",
        "keeps_number": life.rules.reissue_keeps_number,
        "guardian": MOTHER | RELATION,
        "photo_id": await life.photo(),
    }
    ecard = (await life.view())["ecard_no"]
    application = await life.act("replacements", **order)
    assert (application["kind"], application["card_class"]) == ("replacement", "2")
    basic = await life.issue(application["id"])
    assert (life.number == old) is life.rules.reissue_keeps_number
    assert (basic.card_class, (await life.view())["ecard_no"]) == ("2", ecard)
    await life.agree()


async def _lost_and_found_again(life: Life) -> None:
    await life.act("loss", kind="temporary")
    days = life.rules.temporary_loss_days
    await life.until(life.now + timedelta(days=days) - timedelta(seconds=1))
    card = await life.view()
    assert (card["state"], card["account"]["state"], card["ecard_state"]) == ("4", "lost", "suspended")
    assert life.bank.states()[life.number] == "lost"
    await life.until(life.now + timedelta(seconds=1))
    card = await life.view()
    assert (card["state"], card["state_by"], card["account"]["state"]) == ("1", "onecard-system", "inactive")
    await life.agree()


async def _lost_for_good(life: Life) -> None:
    await life.act("loss", kind="formal")
    if life.rules.formal_loss_can_be_lifted == "never":
        assert "formal_loss_can_be_lifted" in await life.refused(f"/v1/cards/{life.number}/release")
    else:
        await life.act("release")
        await life.act("loss", kind="formal")
    old = life.number
    application = await life.act("replacements", cause="lost", guardian=MOTHER | RELATION)
    await life.issue(application["id"])
    await life.until(life.now + timedelta(minutes=10))
    assert (await life.view(old))["state"] == "9"
    assert life.bank.states()[old] == "closed"
    await life.agree()


async def _renewal(life: Life) -> None:
    expiry = date.fromisoformat((await life.view())["expiry_date"])
    opens = expiry - timedelta(days=life.rules.renewal_window_days)
    await life.until(datetime(opens.year, opens.month, opens.day, 2, tzinfo=UTC) - timedelta(days=1))
    assert opens.isoformat() in await life.refused(f"/v1/cards/{life.number}/renewals")
    await life.until(life.now + timedelta(days=1))
    application = await life.act("renewals")
    basic = await life.issue(application["id"])
    assert (application["kind"], basic.card_class) == ("renewal", "3")
    await life.agree()


async def _new_name(life: Life) -> None:
    await life.act("holder", name="测试·宝", ethnic_group="11")
    assert life.read().name == "测试宝"
    await life.session(kind="rewrite")
    basic = life.read()
    assert (basic.name, basic.ethnic_group, (await life.view())["rewrite_pending"]) == ("测试·宝", "11", False)
    result = await life.session(kind="pin_reset", pin="246810")
    assert result["outcome"] == "pin_reset"
    life.at_reader().verify_pin("246810")
    await life.session(kind="pin_unblock")


async def _end(life: Life) -> None:
    await life.act("cancel")
    await life.until(life.now + timedelta(minutes=1))
    card = await life.view()
    assert (card["state"], card["account"]["state"], card["ecard_state"]) == ("9", "closed", "cancelled")
    assert set(life.bank.states().values()) == {"closed"}
    await life.agree()
    stock = await life.ask("GET", "/v1/stock")
    (blanks,) = stock["blanks"]
    assert (blanks["used"], blanks["in_stock"], blanks["reserved"]) == (4, 0, 0)
    history = await life.ask("GET", f"/v1/cards/{life.number}/history")
    assert [event["act"] for event in history["items"] if event["side"] == "chip"] == [
        "pin_unblock",
        "pin_reset",
        "rewrite",
        "change",
    ]
