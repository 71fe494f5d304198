"""A centre that people log in through."""

from __future__ import annotations

import pytest

from tests.issuance.conftest import Centre
from tests.issuance.furnished import furnished
from tests.issuance.log_ins.stand import LogIns


@pytest.fixture
async def log_ins(centre: Centre) -> LogIns:
    return await furnished(centre, "log-ins", LogIns(centre).ready)
