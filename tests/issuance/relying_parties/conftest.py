"""A centre, a holder, and relying parties that know no more than the discovery document."""

from __future__ import annotations

import pytest

from tests.issuance.conftest import Centre
from tests.issuance.furnished import furnished
from tests.issuance.relying_parties.stand import Stand


@pytest.fixture
async def stand(centre: Centre) -> Stand:
    return await furnished(centre, "relying parties", Stand(centre).ready)
