"""A centre with a holder who is asked for consent."""

from __future__ import annotations

import pytest

from tests.issuance.conftest import Centre
from tests.issuance.consents.stand import Consents
from tests.issuance.furnished import furnished


@pytest.fixture
async def consents(centre: Centre) -> Consents:
    return await furnished(centre, "consents", Consents(centre).ready)
