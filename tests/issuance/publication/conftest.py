"""A centre that publishes into a folder, with every holder's key in its key service, and a terminal that fetches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apps_catalog.block_list import BlockList, Kind
from apps_catalog.distribution.client import fetch
from apps_catalog.distribution.held import Held
from apps_catalog.distribution.repository import Repository
from apps_catalog.distribution.roles import ROLES
from issuance.app import create_app
from issuance.publication.service import Round
from issuance.publication.signing import make_signers
from issuance.publication.tasks import publish_due, publish_now
from issuance.services import Services
from tests.issuance.conftest import Centre, ok


@dataclass
class Press:
    centre: Centre
    folder: Path
    terminal: Path

    @property
    def services(self) -> Services:
        services: Services = self.centre.app.state.services
        return services

    def replica(self) -> Services:
        self.centre.restart()
        return self.services

    async def due(self) -> int:
        return await publish_due(self.services)

    async def publish(self, *, is_full: bool = False) -> Round:
        return await publish_now(self.services, is_full=is_full)

    async def good(self, *, is_full: bool = False) -> Round:
        done = await self.publish(is_full=is_full)
        assert done.is_good, done.outcomes
        return done

    def fetched(self) -> Held:
        root = (self.folder / "metadata" / "1.root.json").read_bytes()
        return fetch(self.folder.as_uri(), self.terminal, root=root, clock=self.centre.clock)

    def list(self) -> BlockList:
        return BlockList(self.fetched().files / "blocklist")

    def look(self, kind: Kind, number: str) -> str:
        with self.list() as blocked:
            return blocked.look(kind, number).value

    def edition(self) -> int:
        ((edition,),) = self.centre.store.sql("SELECT edition FROM publications WHERE part = 'block-list'")
        return int(edition)

    async def card(self, serial: int = 1) -> dict[str, str]:
        """`card_number`, `identification_code`, `ecard_no` of a card that was issued."""
        await self.centre.stock(blanks=serial, numbers=serial) if serial == 1 else None
        made = await self.centre.issue(serial)
        shown = ok(await self.centre.as_("operator").get(f"/v1/cards/{made['card_number']}"))
        return {"identification_code": shown["identification_code"]} | made

    async def act(self, number: str, act: str, **order: str) -> None:
        headers = {"Idempotency-Key": f"{act}-{self.centre.clock().isoformat()}"}
        path = f"/v1/cards/{number}/{act}"
        ok(await self.centre.as_("operator").post(path, json=order, headers=headers))

    def with_settings(self, **change: object) -> None:
        """The same centre, started with other settings."""
        old = self.services
        self.centre.old_apps.append(self.centre.app)
        settings = old.settings.model_copy(update=change)
        self.centre.app = create_app(settings, self.centre.keys, clock=self.centre.clock, catalog=old.catalog)
        self.centre.open_clients.clear()


@pytest.fixture
async def press(centre: Centre, tmp_path: Path) -> Press:
    centre.clock.now = datetime.now(UTC).replace(microsecond=0)  # python-tuf judges terms by the machine's clock
    folder = tmp_path / "repository"
    Repository(folder, make_signers(centre.keys, ROLES.holders), clock=centre.clock).create()
    press = Press(centre, folder, tmp_path / "terminal")
    press.with_settings(publication_path=folder)
    return press
