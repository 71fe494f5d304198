"""A centre with a simulated bank behind it, and hands that take one card through its life."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from issuance.app import create_app
from issuance.bank.link import HttpBank
from issuance.bank.reconciliation import reconcile
from issuance.outbox.delivery import LEASE, LONGEST_PAUSE, deliver_due
from issuance.services import Services
from issuance.settings import Settings
from issuance.tasks import run_once
from simulators.bank import SimBank
from tests.issuance.conftest import Centre, atr, ok

ANY_BANK = "http://bank.example"
_keys = itertools.count(1)


def link_to(bank: SimBank, centre: Centre) -> HttpBank:
    """In this process; a request without answer ends at once, as status 504."""
    return HttpBank(ANY_BANK, centre.clock, transport=httpx.ASGITransport(bank.app))


@dataclass
class BankStand:
    centre: Centre
    bank: SimBank
    serial: int = field(default=0)

    @property
    def services(self) -> Services:
        services: Services = self.centre.app.state.services
        return services

    def replica(self) -> Services:
        """Another process on the same database."""
        settings = Settings(database_url=self.centre.url)
        app = create_app(
            settings,
            self.centre.keys,
            clock=self.centre.clock,
            catalog=self.services.catalog,
            bank=link_to(self.bank, self.centre),
        )
        self.centre.old_apps.append(app)
        services: Services = app.state.services
        return services

    async def card(self, **application: Any) -> str:
        """A card fresh from the terminal, its account opened at the bank; returns the number."""
        self.serial += 1
        application_id = ok(await self.centre.apply(self.serial, **application), 201)["id"]
        number = await self.issue(application_id)
        await deliver_due(self.services)
        return number

    async def issue(self, application_id: str) -> str:
        await self.centre.stock(blanks=self.serial, numbers=self.serial)
        outcome = await self.centre.run(ok(await self.centre.start(application_id, atr(self.serial)), 201))
        assert outcome["status"] == "done", outcome
        return str(outcome["result"]["card_number"])

    async def act(self, number: str, act: str, *, by: str = "operator", **body: Any) -> httpx.Response:
        headers = {"Idempotency-Key": body.pop("key", f"act-{next(_keys):06d}")}
        if (seen := body.pop("if_match", None)) is not None:
            headers["If-Match"] = f'"{seen}"'
        return await self.centre.as_(by).post(f"/v1/cards/{number}/{act}", json=body, headers=headers)

    async def view(self, number: str) -> dict[str, Any]:
        found: dict[str, Any] = ok(await self.centre.as_("operator").get(f"/v1/cards/{number}"))
        return found

    async def notice(self, number: str, event: str, notice_id: str = "") -> httpx.Response:
        body = {"notice_id": notice_id or f"n-{next(_keys)}", "card_number": number, "event": event}
        return await self.centre.as_("bank").post("/v1/bank/notices", json=body)

    async def settle(self) -> None:
        """Let time pass until everything that waits to be sent has been."""
        for _ in range(12):
            await deliver_due(self.services)
            if not self.centre.store.sql("SELECT 1 FROM outbox_messages WHERE state = 'pending'"):
                return
            self.centre.clock.advance(max(LONGEST_PAUSE, LEASE).total_seconds())
        raise AssertionError("the outbox does not empty")

    async def reconcile(self) -> int:
        run = await reconcile(self.services, link_to(self.bank, self.centre))
        assert run is not None
        assert run.state == "done", run.reason
        return run.differences

    async def jobs(self) -> dict[str, int]:
        return await run_once(self.services)


@pytest.fixture
async def stand(centre: Centre) -> AsyncIterator[BankStand]:
    bank = SimBank()
    centre.old_apps.append(centre.app)
    centre.app = create_app(
        Settings(database_url=centre.url),
        centre.keys,
        clock=centre.clock,
        catalog=centre.app.state.services.catalog,
        bank=link_to(bank, centre),
    )
    centre.open_clients.clear()
    await centre.register("bank", ("bank",))
    yield BankStand(centre, bank)
    bank.close()
