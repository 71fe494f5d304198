"""A centre whose heads go to a file, with keys of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hsm.api import KeyService
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.services import Services
from tests.issuance.conftest import Centre


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[KeyService]:
    """Of each test its own: keys of heads are rotated."""
    with SoftKeyService.create(tmp_path / "keys", "correct horse", cost=ScryptCost(n=1 << 4)) as service:
        yield service


@pytest.fixture
def services(centre: Centre, tmp_path: Path) -> Services:
    """Heads go to a file."""
    found: Services = centre.app.state.services
    settings = found.settings.model_copy(update={"audit_heads_path": tmp_path / "anchor" / "heads.jsonl"})
    return replace(found, settings=settings)
