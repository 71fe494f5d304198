"""The deny list that operators keep while the service runs, beside the one of the settings."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import delete, select

from cardlib.wire import Message
from issuance.database import WITHOUT_NUL, add_unless_taken
from issuance.login.limits import DenyList, denied_network
from issuance.login.provider_models import DenialRow
from issuance.problems import ProblemError
from issuance.unit import Unit

KNOWN_FOR: Final = timedelta(seconds=2)
"""How long a process goes by what it last read; the one that changes the list reads it at once."""
_CLIENT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
Entry = Annotated[str, Field(min_length=1, max_length=64, description="Network, address, or id of a relying party")]


class DenialEntry(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"entry": "203.0.113.0/24"}]})

    entry: Entry

    @field_validator("entry")
    @classmethod
    def _is_either(cls, value: str) -> str:
        """Networks in one form, so that each is listed once; an address is the network of that address alone."""
        with suppress(ValueError):
            network = denied_network(value)
            if network is not None or _CLIENT.fullmatch(value):
                return str(network or value)
        raise PydanticCustomError("value_error", "a network, an address or a client_id")


class NewDenial(DenialEntry):
    model_config = ConfigDict(json_schema_extra={"examples": [{"entry": "203.0.113.0/24", "reason": "phishing"}]})

    reason: str = Field(min_length=1, max_length=256, pattern=WITHOUT_NUL)


class Denial(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "entry": "203.0.113.0/24",
                    "reason": "phishing",
                    "created_by": "operator-1",
                    "created_at": "2026-01-05T01:00:00Z",
                }
            ]
        }
    )

    entry: str
    reason: str
    created_by: str
    created_at: datetime


class DenialService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    async def list(self) -> list[Denial]:
        rows = await self._unit.session.scalars(select(DenialRow).order_by(DenialRow.entry))
        return [_view_of(row) for row in rows]

    async def add(self, wanted: NewDenial) -> Denial:
        """What is listed already stays as it is. Raises CLIENT_FORBIDDEN for an operator of one region."""
        unit = self._unit
        self._demand_nation()
        row = DenialRow(entry=wanted.entry, reason=wanted.reason, created_by=unit.by, created_at=unit.now)
        if not await add_unless_taken(unit.session, row):
            return _view_of(await unit.session.get_one(DenialRow, wanted.entry))
        await self._changed("login.deny", wanted.entry, wanted.reason)
        return _view_of(row)

    async def remove(self, entry: str) -> Denial:
        """Raises NOT_FOUND; CLIENT_FORBIDDEN as `add` does."""
        self._demand_nation()
        row = await self._unit.session.get(DenialRow, entry)
        if row is None:
            raise ProblemError("NOT_FOUND", "not on the deny list", subject=f"login-denial:{entry}")
        view = _view_of(row)
        await self._unit.session.execute(delete(DenialRow).where(DenialRow.entry == entry))
        await self._changed("login.allow", entry, "")
        return view

    def _demand_nation(self) -> None:
        if self._unit.caller.region is not None:
            raise ProblemError("CLIENT_FORBIDDEN", "the deny list holds for every region")

    async def _changed(self, act: str, entry: str, reason: str) -> None:
        self._unit.after_commit.append(self._unit.services.login_limits.forget_stored)
        await self._unit.audit(act, f"login-denial:{entry}", region=None, reason=reason)


async def demand_not_denied(unit: Unit, client_id: str, address: str) -> None:
    """By either list. Raises LOGIN_DENIED."""
    limits = unit.services.login_limits
    limits.denied.demand(client_id, address)
    stored = limits.stored_at(unit.now, KNOWN_FOR)
    if stored is None:
        changes = limits.changes
        stored = DenyList.of(await unit.session.scalars(select(DenialRow.entry)))
        limits.keep_stored(stored, unit.now, changes)
    stored.demand(client_id, address)


def _view_of(row: DenialRow) -> Denial:
    return Denial(entry=row.entry, reason=row.reason, created_by=row.created_by, created_at=row.created_at)
