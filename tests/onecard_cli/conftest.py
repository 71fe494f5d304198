"""Passphrases cost next to nothing here: each key command checks three of them, and `tests/hsm` tests the real cost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hsm.sealed_store import DEFAULT_COST


@pytest.fixture(scope="module", autouse=True)
def quick_passphrases() -> Iterator[None]:
    cost = DEFAULT_COST.n
    # The one instance is the default of every signature; what is made meanwhile says its own cost in its header.
    object.__setattr__(DEFAULT_COST, "n", 1 << 4)
    yield
    object.__setattr__(DEFAULT_COST, "n", cost)
