from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from apps_catalog.catalog import DATA
from apps_catalog.distribution.client import fetch
from apps_catalog.distribution.contents import by_owner
from apps_catalog.distribution.held import Held
from apps_catalog.distribution.keys import ServiceSigner
from apps_catalog.distribution.repository import Repository
from apps_catalog.distribution.roles import ROLES
from hsm.api import Algorithm, KeyRef
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService

NOW = datetime.now(UTC)


class Publisher:
    """A repository whose signing clock can be set, with every holder's key in one store."""

    def __init__(self, path: Path, keys: SoftKeyService) -> None:
        self.path, self.keys, self.now = path, keys, NOW
        self.signers = {holder: self.signer(holder) for holder in ROLES.holders}

    def signer(self, holder: str, version: int = 1) -> ServiceSigner:
        key = KeyRef(f"TEST_{holder}", Algorithm.SM2, version)
        if version not in self.keys.versions(key.name, Algorithm.SM2):
            self.keys.generate_pair(key)
        return ServiceSigner(self.keys, key, holder)

    def without(self, *holders: str) -> Repository:
        kept = {name: signer for name, signer in self.signers.items() if name not in holders}
        return Repository(self.path, kept, clock=lambda: self.now)

    @property
    def all(self) -> Repository:
        return self.without()

    def rotate(self, holder: str, version: int, *, good: int | None = None) -> None:
        new = self.signer(holder, version)
        self.all.rotate(holder, new, good=good)
        self.signers[holder] = new

    @property
    def root(self) -> bytes:
        return (self.path / "metadata" / "1.root.json").read_bytes()


class Terminal:
    def __init__(self, publisher: Publisher, into: Path) -> None:
        self.publisher, self.into = publisher, into

    def fetch(self, url: str = "") -> Held:
        return fetch(url or self.publisher.path.as_uri(), self.into, root=self.publisher.root)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def signing_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftKeyService]:
    path = tmp_path_factory.mktemp("keys") / "keys"
    with SoftKeyService.create(path, "just for tests", cost=ScryptCost(n=2, r=1)) as service:
        yield service


@pytest.fixture(scope="session")
def base(signing_keys: SoftKeyService, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the shipped catalog and a block list, and a terminal that has it."""
    folder = tmp_path_factory.mktemp("base")
    publisher = Publisher(folder / "repo", signing_keys)
    publisher.all.create()
    for role, files in by_owner(DATA).items():
        publisher.all.publish(role, files)
    publisher.all.publish("blocklist", {"full-1.bin": b"first" * 50_000})
    publisher.all.refresh()
    Terminal(publisher, folder / "terminal").fetch()
    return folder


@pytest.fixture
def copied(base: Path, tmp_path: Path) -> Path:
    for name in ("repo", "terminal"):
        shutil.copytree(base / name, tmp_path / name, symlinks=True)
    return tmp_path


@pytest.fixture
def publisher(copied: Path, signing_keys: SoftKeyService) -> Publisher:
    return Publisher(copied / "repo", signing_keys)


@pytest.fixture
def terminal(copied: Path, publisher: Publisher) -> Terminal:
    return Terminal(publisher, copied / "terminal")


@pytest.fixture
def back(publisher: Publisher) -> Callable[..., None]:
    """Let the publisher sign as of some days ago."""

    def set_clock(days: float) -> None:
        publisher.now = NOW - timedelta(days=days)

    return set_clock
