from __future__ import annotations

import pytest

from hsm.primitives import Engine, engines


@pytest.fixture(params=engines(), ids=lambda engine: engine.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Every engine of this machine, one after the other."""
    return request.param
