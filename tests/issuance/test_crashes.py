"""Kill -9 of the service and of the terminal, and a lost database connection, between any two steps of the saga.

Real processes on both databases; chip, printer, bank and fee system stand in the test and outlive them. One card walks
through all points: what died is started again and dies at the next one. A step is one point inside its transaction; the
last step of a transaction is one more, stored but not yet told.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

import issuance.rules
from cardlib.client_auth import ClientAuth, ClientKey
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.clock import china_date
from issuance.sealing import ensure_seal_keys
from onecard_cli.home import import_roots
from simulators.bank import SimBank
from simulators.card import Life, SimCard
from simulators.card_machine import DyingCard, SimCardMachine
from simulators.factory import build_card
from simulators.fees import SimFees
from simulators.ministry import RootKeys
from simulators.personas import load
from simulators.printer import SimCardPrinter
from simulators.serial import SimMt3Reader
from terminal_agent import printer as printer_module
from terminal_agent import relay
from terminal_agent.centre import HttpIssuanceClient
from tests.issuance.conftest import Store, application, both_engines, ok
from tests.issuance.crash_stand import KILLED, PASSPHRASE, PATIENCE_S, Service, persistently, run_kiosk, terminal, town
from tests.terminal_agent.stand import READER, agent_with, readers_with, until

STEPS = (
    *("apply.done", "check.done", "payment.started", "payment.done", "reserve.done", "card_data.done"),
    *("personalize.started", "personalize.done", "read_back.done", "print.started", "print.done"),
    *("return_data.done", "enable.done", "ecard.done", "clean_up.done"),
)
STORED = ("payment.started", "payment.done", "personalize.started", "print.started", "clean_up.done")
"""The last step of each transaction."""
POINTS = [point for step in STEPS for point in (step, *([f"{step}.stored"] if step in STORED else []))]
UNDOING = {
    "cancel_mark": ("cancel_mark.undone", "cancel_mark.undone.stored"),
    "write_off": ("write_off.undone", "write_off.undone.stored"),
    "write_off_final": (
        *("write_off.undone", "cancel_payment.started", "cancel_payment.started.stored"),
        *("cancel_payment.undone", "cancel_payment.undone.stored"),
    ),
}
RELAY = ("started", "batch", "answered", "printed", "reported")
KIOSK = ("case", "loaded", "rejected", "written_off", "loaded", "made", "given", "ejected")
"""In this order, with a first blank that dies."""
FEE = 2000


@dataclasses.dataclass
class Stand:
    service: Service
    store: Store
    printer: SimCardPrinter
    bank: SimBank
    fees: SimFees
    roots: RootKeys
    operator: httpx.AsyncClient
    terminal_key: ClientKey
    folder: Path

    def card(self, serial: int) -> SimCard:
        return SimCard(build_card(dataclasses.replace(load("blank-3.0"), serial=serial), self.roots))

    async def deliver(self, *cards: SimCard) -> None:
        resets = [card.state.historical.hex().upper() for card in cards]
        body = {"delivery": "d", "region": "110000", "reset_information": resets}
        await self.ask("POST", "/v1/blanks", json=body)
        await self.ask("POST", "/v1/card-numbers", json={"region": "110000", "body_from": "A0000001", "count": 9})

    async def ask(self, method: str, path: str, *, key: str = "", **arguments: Any) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        answer = await persistently(lambda: self.operator.request(method, path, headers=headers, **arguments))
        assert answer.is_success, answer.text
        return answer.json()

    async def apply(self, serial: int) -> str:
        """The id of an application whose fee is registered."""
        made = await self.ask("POST", "/v1/applications", key=f"application-{serial}", json=application(serial))
        await self.steps(made["id"], "payment")
        return str(made["id"])

    async def begin(self, application_id: str, card: SimCard, *, answers: bool) -> None:
        """A session that is broken off, before or after the card has answered."""
        async with httpx.AsyncClient(base_url=self.service.url, auth=ClientAuth(self.terminal_key), timeout=30) as http:
            body = {"kind": "personalization", "atr": card.power_on().hex().upper(), "application_id": application_id}
            reply = await persistently(lambda: http.post("/v1/card-sessions", json=body))
            batch = ok(reply, 201)["batch"]
            responses = [card.transmit(bytes.fromhex(c["apdu"])).hex().upper() for c in batch["commands"][:1]]
            message = {"session_id": batch["session_id"], "sequence": 1, "responses": responses}
            if answers:
                await persistently(
                    lambda: http.post(f"/v1/card-sessions/{batch['session_id']}/responses", json=message)
                )

    async def steps(self, application_id: str, wanted: str) -> dict[str, Any]:
        """The application, when that step is over."""
        while True:
            found: dict[str, Any] = await self.ask("GET", f"/v1/applications/{application_id}")
            if any(step["step"] == wanted and step["status"] in ("done", "undone") for step in found["steps"]):
                return found

    async def issue(self, application_id: str, card: SimCard) -> dict[str, Any]:
        """By a terminal in this process, which never dies."""
        centre = HttpIssuanceClient(self.service.url, auth=ClientAuth(self.terminal_key))
        readers = readers_with(card)  # type: ignore[arg-type]
        changes = {"card_printer": self.printer.address, "network_deadline_s": 60}
        changes |= {"batch_timeout_s": 60, "operation_timeout_s": 60}
        async with agent_with(readers, centre, **changes) as client:
            body = {"reader": READER, "kind": "personalization", "application_id": application_id}
            job_id = ok(await client.post("/v1/card-sessions", json=body), 202)["job_id"]

            async def ended() -> dict[str, Any] | None:
                job: dict[str, Any] = ok(await client.get(f"/v1/card-sessions/{job_id}"))
                return job if job["state"] in ("done", "failed") else None

            found: dict[str, Any] = await until(ended, 200)
            return found

    async def died(self, *points: str) -> None:
        """It did, at these in this order; the last death may have been heard of later than the answer after it."""
        await until(lambda: len(self.service.deaths) >= len(points))
        assert self.service.deaths == [*points]

    async def check_books(self, *, used: int, spoiled: int = 0, in_stock: int = 0) -> None:
        """Stock to the last card, a balance of zero, no number twice, bank and fees as the cards are."""
        found = await self.ask("GET", "/v1/stock")
        (blanks,), (numbers,) = found["blanks"], found["card_numbers"]
        wanted = {"used": used, "spoiled": spoiled, "in_stock": in_stock, "reserved": 0}
        assert {name: blanks[name] for name in wanted} == wanted
        assert [numbers[name] for name in ("used", "void", "reserved")] == [used, spoiled, 0]
        day = china_date(datetime.now(UTC)).isoformat()
        assert (await self.ask("GET", "/v1/stock/balance", params={"day": day}))["is_zero"]
        cards = self.store.sql("SELECT card_number, state, application_id FROM cards")
        assert len(cards) == len({number for number, _, _ in cards}) == used
        assert len({card for card, _, _ in cards} & set(self.voided())) == 0
        assert self.fees.booked == {application_id: FEE for _, _, application_id in cards}
        while self.store.sql("SELECT id FROM outbox_messages WHERE state = 'pending'"):
            await self.ask("GET", "/v1/stock")
        assert self.bank.states() == {number: "inactive" for number, _, _ in cards}
        assert self.store.sql("SELECT card_number, state FROM card_accounts") == [
            (number, "inactive") for number, _, _ in cards
        ]

    def voided(self) -> list[str]:
        return [number for (number,) in self.store.sql("SELECT number FROM card_numbers WHERE state = 'void'")]


@pytest.fixture(scope="module")
def roots() -> RootKeys:
    return RootKeys.generate()


@pytest.fixture(scope="module")
def key_store(tmp_path_factory: pytest.TempPathFactory, roots: RootKeys) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    with SoftKeyService.create(path, PASSPHRASE, cost=ScryptCost(n=2, r=8, p=1)) as service:
        import_roots(service, roots)
        ensure_seal_keys(service)
    return path


@pytest.fixture
def rules_path(tmp_path: Path) -> Path:
    """The shipped packs, but first cards have a fee."""
    folder = tmp_path / "rules"
    folder.mkdir()
    for pack in Path(issuance.rules.__file__).parent.glob("*.toml"):
        (folder / pack.name).write_text(pack.read_text("utf-8").replace("\nnew = 0", f"\nnew = {FEE}"), "utf-8")
    return folder


@pytest.fixture
def printer(tmp_path: Path) -> Iterator[SimCardPrinter]:
    with SimCardPrinter(tmp_path / "cards") as device:
        yield device


@pytest.fixture
async def stand(
    store: Store,
    roots: RootKeys,
    key_store: Path,
    rules_path: Path,
    printer: SimCardPrinter,
    client_keys: dict[str, ClientKey],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> AsyncIterator[Stand]:
    monkeypatch.setattr(relay, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(relay, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(printer_module, "POLL_S", 0.01)
    bank, fees = SimBank(), SimFees()
    async with town(bank, fees) as url:
        settings = {
            "database_url": store.url,
            "rules_path": str(rules_path),
            "tasks_pause_s": 0.05,
            "bank_url": url,
            "payment_url": f"{url}/fees",
        }
        service = Service(key_store, settings)
        auth = ClientAuth(client_keys["operator"])
        async with httpx.AsyncClient(base_url=service.url, auth=auth, timeout=30) as operator:
            yield Stand(service, store, printer, bank, fees, roots, operator, client_keys["terminal"], tmp_path)
            await service.close()
    bank.close()


@both_engines
async def test_a_service_killed_at_every_step_issues_one_card(stand: Stand) -> None:
    stand.service.start()
    card = stand.card(1)
    await stand.deliver(card)
    await stand.service.restart(POINTS)
    application_id = await stand.apply(1)
    job = await stand.issue(application_id, card)
    assert (job["state"], job["result"].get("outcome")) == ("done", "issued"), job
    await stand.died(*POINTS)
    assert card.state.life is Life.ISSUED
    assert len(stand.printer.printed) == 1
    await stand.check_books(used=1)


@both_engines
async def test_a_database_lost_at_every_step_issues_one_card(stand: Stand) -> None:
    stand.service.start()
    card = stand.card(1)
    await stand.deliver(card)
    await stand.service.restart(always=",".join(f"sever:{step}" for step in STEPS))
    application_id = await stand.apply(1)
    job = await stand.issue(application_id, card)
    assert (job["state"], job["sessions"]) == ("done", 1), job
    assert len(stand.printer.printed) == 1
    await stand.check_books(used=1)


@both_engines
async def test_a_terminal_killed_at_every_step_issues_one_card(stand: Stand) -> None:
    stand.service.start()
    card = stand.card(1)
    await stand.deliver(card)
    application_id = await stand.apply(1)
    key_file = stand.folder / "terminal.json"
    stand.terminal_key.save(key_file)
    with SimMt3Reader({"user": card}) as reader:
        settings = {"mt3_readers": [reader.path], "card_printer": stand.printer.address, "pin_dialog": False}
        arguments = (stand.service.url, str(key_file), settings, application_id)
        for point in RELAY:
            assert await terminal(f"kill:relay.{point}", *arguments) == KILLED, point
        assert await terminal("", *arguments) == 0
    assert len(stand.printer.printed) == 1
    await stand.check_books(used=1)


async def test_a_kiosk_killed_at_every_step_makes_one_card_and_writes_the_dead_one_off(stand: Stand) -> None:
    stand.service.start()
    first, second = stand.card(1), stand.card(2)
    await stand.deliver(first, second)
    application_id = await stand.apply(1)
    key_file = stand.folder / "terminal.json"
    stand.terminal_key.save(key_file)
    stays: list[Any] = []
    with (
        SimMt3Reader() as reader,
        SimCardMachine(stand.folder / "faces", partial(Seat, stays, reader)) as machine,
    ):
        machine.refill([DyingCard(first, 30), second])
        settings = {
            "profile": "kiosk",
            "state_dir": str(stand.folder / "state"),
            "mt3_readers": [{"port": reader.path, "label": "Encoder"}],
            "encoder_reader": "Encoder",
            "card_printer": machine.address,
            "pin_dialog": False,
        }
        arguments = (stand.service.url, str(key_file), settings, application_id)
        for point in KIOSK:
            assert await terminal(f"kill:kiosk.{point}", *arguments, run=run_kiosk) == KILLED, point
        before = len(stays)
        last = asyncio.create_task(terminal("", *arguments, run=run_kiosk))
        await until(lambda: len(stays) > before, PATIENCE_S)  # drawn in again
        await until(lambda: machine.tray is not None, PATIENCE_S)
        assert machine.take() is second
        assert await last == 0
        assert (len(machine.printed), len(machine.bin), machine.blanks) == (1, 1, [])
    await stand.check_books(used=1, spoiled=1)


class Seat:
    """A card's stay in the encoder; `stays` has the card of each there was."""

    def __init__(self, stays: list[Any], reader: SimMt3Reader, card: Any) -> None:
        self._stays, self._reader, self._card = stays, reader, card

    def insert(self) -> None:
        self._reader.insert(self._card)
        self._stays.append(self._card)

    def remove(self) -> None:
        self._reader.remove()


@both_engines
async def test_what_is_given_up_is_undone_whole(stand: Stand) -> None:
    """Killed while blank, number and fee are given back: afterwards they are back, or spoiled and void, once."""
    stand.service.start()
    first, second = stand.card(1), stand.card(2)
    await stand.deliver(first, second)
    application_id = await stand.apply(1)
    for action, card in (("cancel_mark", first), ("write_off", first), ("write_off_final", second)):
        await stand.begin(application_id, card, answers=action != "cancel_mark")
        await stand.service.restart(UNDOING[action])
        await stand.ask(
            "POST",
            f"/v1/applications/{application_id}/next-action",
            key=f"give-up-{action}",
            json={"action": action},
        )
    await stand.steps(application_id, "cancel_payment")
    await stand.died(*(point for points in UNDOING.values() for point in points))
    await stand.check_books(used=0, spoiled=2)
