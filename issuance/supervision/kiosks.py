"""How kiosks are, by what each said last: cards, ribbon, paper, faults of the card machine, people who wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.clients.models import ClientRow
from issuance.supervision.sources import fixed
from issuance.terminals.fleet_models import TerminalRow
from issuance.terminals.fleet_repository import is_silent

SHORT_PAPER: Final = frozenset({"low", "out"})
_MACHINE: Final = "PRINTER_"
"""Failures of what makes cards begin with it."""
_SUPPLY: Final = frozenset({"PRINTER_RIBBON_LOW", "PRINTER_RIBBON_EMPTY", "PRINTER_HOPPER_EMPTY"})
"""Measured as counts, which say it before."""


@dataclass(frozen=True, slots=True)
class KioskState:
    client_id: str
    region: str | None
    heartbeat: dict[str, Any]

    @property
    def supplies(self) -> dict[str, Any]:
        return self.heartbeat.get("supplies") or {}

    @property
    def machine_faults(self) -> list[str]:
        of_devices = [device["failure"] for device in self.heartbeat.get("devices", ()) if device["failure"]]
        found = {*self.heartbeat.get("failures", ()), *of_devices}
        return sorted(code for code in found if code.startswith(_MACHINE) and code not in _SUPPLY)


async def kiosk_states(session: AsyncSession, now: datetime) -> list[KioskState]:
    """Of kiosks that are on and heard of; silence has an alert of its own."""
    query = (
        select(TerminalRow.client_id, TerminalRow.region, TerminalRow.heartbeat)
        .join(ClientRow, ClientRow.id == TerminalRow.client_id)
        .where(
            TerminalRow.profile == fixed("kiosk"),
            TerminalRow.state != fixed("off"),
            TerminalRow.heartbeat.is_not(None),
            ClientRow.status == fixed("active"),
            ~is_silent(now),
        )
        .order_by(TerminalRow.client_id)
    )
    return [KioskState(row[0], row[1], row[2]) for row in await session.execute(query)]


Reading = Callable[[KioskState], float | None]
READINGS: Final[dict[str, Reading]] = {
    "kiosk_cards": lambda kiosk: kiosk.supplies.get("hopper"),
    "kiosk_ribbon": lambda kiosk: kiosk.supplies.get("ribbon"),
    "kiosk_paper": lambda kiosk: float(kiosk.supplies.get("paper") in SHORT_PAPER),
    "kiosk_faults": lambda kiosk: len(kiosk.machine_faults),
    "kiosk_help_minutes": lambda kiosk: (kiosk.heartbeat.get("help_wanted_s") or 0) / 60,
}
"""By measure; None where the kiosk does not say."""
