"""The unit of work of a request that nobody signs: browsers, devices, and relying parties with a code or token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from issuance.clients.auth import Caller
from issuance.scope import EVERYWHERE
from issuance.services import Services
from issuance.unit import Unit

ACTOR: Final = "onecard-login"
"""Who acts in the trail where a relying party or a browser does."""


@asynccontextmanager
async def login_unit(services: Services, *, is_reading: bool = False) -> AsyncIterator[Unit]:
    """A card logs in to systems of every region."""
    async with services.database.transaction(is_reading=is_reading, scope=EVERYWHERE) as session:
        unit = Unit(session, services, Caller(ACTOR, frozenset()), services.clock())
        yield unit
    for callback in unit.after_commit:
        callback()
