"""Two cards in the safe, one of them issued, and phones for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.issuance.conftest import Centre
from tests.issuance.furnished import furnished
from tests.issuance.wallet.test_wallet import Wallet


@pytest.fixture
async def wallet(centre: Centre, tmp_path: Path) -> AsyncIterator[Wallet]:
    await furnished(centre, "one card issued", lambda: _issue(centre))
    made = Wallet(centre, tmp_path / "phones", [])
    yield made
    for http in made.open:
        await http.aclose()


async def _issue(centre: Centre) -> None:
    await centre.stock(2, 2)
    await centre.issue(1)
