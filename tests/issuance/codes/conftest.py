"""Codes on both one-time stores, both database engines."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from issuance.app import create_app
from issuance.settings import Settings
from tests.issuance.codes.stand import phone_of_level_2
from tests.issuance.conftest import Centre
from tests.issuance.furnished import furnished
from tests.issuance.phone import Phone
from tests.issuance.redis_server import RedisServer


@pytest.fixture
async def phone(centre: Centre) -> Phone:
    return await furnished(centre, "phone of level 2", lambda: _phone(centre))


async def _phone(centre: Centre) -> Phone:
    await centre.stock()
    return await phone_of_level_2(centre)


@pytest.fixture
def with_redis(centre: Centre, redis_server: RedisServer) -> RedisServer:
    """The centre with an empty Redis; ask for it before `phone`."""
    redis_server.empty()
    use_redis(centre, redis_server)
    return redis_server


def use_redis(centre: Centre, server: RedisServer) -> None:
    """A process of the centre that has not been there before, over this Redis."""
    services = centre.app.state.services
    centre.old_apps.append(centre.app)
    settings = Settings(database_url=centre.url, redis_url=SecretStr(server.url))
    centre.app = create_app(settings, centre.keys, clock=centre.clock, catalog=services.catalog)
    centre.open_clients.clear()
