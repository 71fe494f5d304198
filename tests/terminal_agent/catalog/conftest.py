"""A published repository for agents: catalog, block list, roots of transit codes, configuration, update manifest."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from apps_catalog.block_list import Kind, build
from apps_catalog.catalog import DATA
from apps_catalog.distribution.contents import by_owner
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from tests.apps_catalog.distribution.conftest import Publisher
from tests.cardlib.transit_code_stand import vector_anchors
from tests.terminal_agent.stand import agent_with, readers_with

LOST = "110000D156000005000000A1FFFFFFFF"
FOUND = "110000D156000005000000A2FFFFFFFF"
SM3 = "3a" * 32
ORIGIN = "https://hall.example"
RELEASES = {
    "format": "agent-updates-1",
    "levels": {
        "2": {
            "newest": "0.9.0",
            "minimum": "0.1.0",
            "notes": {"zh": "修正读卡问题", "en": "Mends a fault in reading cards"},
            "package": {"name": "onecard-agent_0.9.0_amd64.deb", "bytes": 9, "sha256": "5e" * 32, "sm3": SM3},
        }
    },
}


def as_json(content: Any) -> bytes:
    return json.dumps(content).encode()


def configuration(**settings: Any) -> bytes:
    return as_json({"format": "terminal-configuration-1", "settings": settings})


class Centre(Publisher):
    """Publishes; `cut` takes the server away until the block ends."""

    def say(self, role: str, files: dict[str, bytes]) -> None:
        self.all.publish(role, files)
        self.all.refresh()

    def block(self, *codes: str, as_of: float | None = None) -> None:
        folder = self.path.parent / "building"
        build(folder, [(Kind.CARD, code) for code in codes], as_of=int(as_of or time.time()))
        self.say("blocklist", {file.name: file.read_bytes() for file in folder.glob("*.bl")})

    @property
    def gone(self) -> Path:
        return self.path.with_name("gone")

    def go(self) -> None:
        self.path.rename(self.gone)

    def come_back(self) -> None:
        self.gone.rename(self.path)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def publishing_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftKeyService]:
    path = tmp_path_factory.mktemp("keys") / "keys"
    with SoftKeyService.create(path, "just for tests", cost=ScryptCost(n=2, r=1)) as service:
        yield service


@pytest.fixture(scope="session")
def published(publishing_keys: SoftKeyService, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    centre = Centre(folder / "repo", publishing_keys)
    centre.all.create()
    for role, files in by_owner(DATA).items():
        centre.all.publish(role, files)
    centre.all.publish("trust-anchors", {"transit-codes.json": vector_anchors().encode()})
    centre.all.publish("terminal-configuration", {"counter.json": configuration(allowed_origins=[ORIGIN])})
    centre.all.publish("agent-updates", {"manifest.json": as_json(RELEASES)})
    centre.block(LOST)
    (folder / "root.json").write_bytes(centre.root)
    return folder


@pytest.fixture
def centre(published: Path, publishing_keys: SoftKeyService, tmp_path: Path) -> Centre:
    shutil.copytree(published, tmp_path / "centre")
    return Centre(tmp_path / "centre" / "repo", publishing_keys)


Agents = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def terminal(centre: Centre, tmp_path: Path) -> dict[str, Any]:
    """Settings of an agent that fetches when it is asked to."""
    return {
        "state_dir": tmp_path / "state",
        "catalog_url": centre.path.as_uri(),
        "catalog_root": centre.path.with_name("root.json"),
        "catalog_interval_s": 3600,
    }


@pytest.fixture
def agents(terminal: dict[str, Any]) -> Agents:
    def start(**changes: Any) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        readers = changes.pop("readers", None) or readers_with()
        return agent_with(readers, **(terminal | changes))

    return start
