"""Terminals as machines: what they say of themselves, and what operators have them do."""

from __future__ import annotations

import base64
import binascii
import secrets
import zipfile
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from cardlib.terminal_state import MAX_DIAGNOSIS_BYTES, DiagnosisUpload, Heartbeat, Lock, Orders
from issuance.input_rules import field_error
from issuance.paging import Page, PageRequest
from issuance.problems import ProblemError, bad_input
from issuance.terminals.fleet_models import DiagnosisRow, TerminalRow
from issuance.terminals.fleet_repository import SILENT_AFTER, FleetRepository, Known, Wanted
from issuance.terminals.fleet_schemas import (
    DiagnosisOrder,
    LockOrder,
    StateChange,
    TerminalAccount,
    TerminalStateView,
)
from issuance.unit import Unit

_BAD_DEVICES: Final = frozenset({"lost", "attention"})
_BAD_JOURNALS: Final = frozenset({"waiting", "full"})
_KIOSK: Final = "kiosk"
"""Once a kiosk, always one: it may do less than a counter, and would not say so itself."""


class FleetService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._rows = FleetRepository(unit.session)

    # -- what terminals say ---------------------------------------------------------------------------------------

    async def take(self, beat: Heartbeat) -> Orders:
        """A terminal that was registered by other means is known from its first heartbeat on."""
        unit = self._unit
        await self._rows.ensure(
            {
                "client_id": unit.caller.client_id,
                "region": unit.caller.region,
                "profile": beat.profile,
                "device_number": beat.device_number,
                "registered_at": unit.now,
                "state": "new",
                "clock_error_ms": 0,
            }
        )
        row, _ = await self._known(unit.caller.client_id)
        before = (row.state, _failures(row))
        row.state, row.heard_at = _state(beat), unit.now
        if row.profile != _KIOSK:
            row.profile = beat.profile
        row.clock_error_ms = round((beat.sent_at - unit.now) / timedelta(milliseconds=1))
        row.heartbeat = beat.model_dump(mode="json")
        if before != (row.state, _failures(row)):
            await unit.session.flush()
            await self._rows.note(
                {
                    "client_id": row.client_id,
                    "at": unit.now,
                    "region": row.region,
                    "state": row.state,
                    "failures": list(_failures(row)),
                }
            )
        return Orders(
            now=unit.now,
            lock=_lock(row),
            configuration_epoch=_epoch(unit.services.settings.publication_path),
            diagnosis=row.diagnosis_order,
        )

    async def take_diagnosis(self, upload: DiagnosisUpload) -> None:
        """Raises NOT_FOUND where no such order is open, INPUT_INVALID for what is no small ZIP file."""
        unit = self._unit
        row, _ = await self._known(unit.caller.client_id)
        if row.diagnosis_order != upload.order:
            raise ProblemError("NOT_FOUND", "no such order is open", subject=_subject(row))
        bundle = DiagnosisRow(
            client_id=row.client_id, region=row.region, received_at=unit.now, content=_zip(upload.content)
        )
        await self._rows.keep_diagnosis(bundle)
        row.diagnosis_order = None
        await unit.audit("terminal.diagnosis", _subject(row), region=row.region, detail={"bytes": len(bundle.content)})

    # -- what operators ask ---------------------------------------------------------------------------------------

    async def states(self, after: str, limit: int) -> list[TerminalStateView]:
        """Of the regions this caller serves, in the order of their ids."""
        return [self._view(known) for known in await self._rows.page(after, limit)]

    async def find(self, wanted: Wanted, page: PageRequest) -> Page[TerminalStateView]:
        """Of the regions this caller serves."""
        known, cursor = await self._rows.find(wanted, self._unit.now, page)
        return Page(items=[self._view(one) for one in known], next_cursor=cursor)

    async def counts(self, wanted: Wanted) -> dict[str, int]:
        """By state, of what is wanted in any state."""
        return await self._rows.counts(wanted, self._unit.now)

    async def account(self, client_id: str) -> TerminalAccount:
        known = row, _ = await self._known(client_id)
        changes = await self._rows.history(client_id)
        return TerminalAccount(
            terminal=self._view(known),
            registered_at=row.registered_at,
            locked_at=row.locked_at,
            locked_by=row.locked_by,
            heartbeat=None if row.heartbeat is None else Heartbeat.model_validate(row.heartbeat),
            history=tuple(
                StateChange.model_validate({"at": one.at, "state": one.state, "failures": one.failures})
                for one in changes
            ),
            diagnosis_order=row.diagnosis_order,
            diagnosis_at=await self._rows.diagnosis_at(client_id),
            blanks_on_book=await self._rows.blanks_on_book(client_id),
        )

    async def lock(self, client_id: str, order: LockOrder) -> TerminalStateView:
        known = row, _ = await self._known(client_id)
        row.locked_at, row.locked_by = self._unit.now, self._unit.by
        row.lock_reason, row.lock_contact = order.reason, order.contact
        await self._unit.audit("terminal.lock", _subject(row), region=row.region, reason=order.reason)
        return self._view(known)

    async def unlock(self, client_id: str) -> TerminalStateView:
        known = row, _ = await self._known(client_id)
        row.locked_at = row.locked_by = row.lock_reason = row.lock_contact = None
        await self._unit.audit("terminal.unlock", _subject(row), region=row.region)
        return self._view(known)

    async def order_diagnosis(self, client_id: str) -> DiagnosisOrder:
        """An order that is open already is the same one."""
        row, _ = await self._known(client_id)
        if row.diagnosis_order is None:
            row.diagnosis_order = secrets.token_hex(16)
            await self._unit.audit("terminal.diagnose", _subject(row), region=row.region)
        return DiagnosisOrder(order=row.diagnosis_order)

    async def diagnosis(self, client_id: str) -> bytes:
        row, _ = await self._known(client_id)
        bundle = await self._rows.diagnosis(client_id)
        if bundle is None:
            raise ProblemError("NOT_FOUND", "this terminal has sent no bundle", subject=_subject(row))
        await self._unit.audit("terminal.read_diagnosis", _subject(row), region=row.region)
        return bundle.content

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _known(self, client_id: str) -> Known:
        known = await self._rows.get(client_id)
        if known is None:
            raise ProblemError("NOT_FOUND", "no such terminal", subject=f"client:{client_id}")
        return known

    def _view(self, known: Known) -> TerminalStateView:
        row, client = known
        beat = row.heartbeat or {}
        return TerminalStateView.model_validate(
            {
                "terminal": row.client_id,
                "name": client.name,
                "region": row.region,
                "profile": row.profile,
                "device_number": row.device_number,
                "state": "silent" if self._is_silent(row) else row.state,
                "heard_at": row.heard_at,
                "version": beat.get("version"),
                "supplies": beat.get("supplies"),
                "help_wanted_s": beat.get("help_wanted_s"),
                "clock_error_s": row.clock_error_ms / 1000,
                "failures": _failures(row),
                "lock": _lock(row),
            }
        )

    def _is_silent(self, row: TerminalRow) -> bool:
        heard = row.heard_at or row.registered_at
        return row.state != "off" and heard < self._unit.now - SILENT_AFTER


def _state(beat: Heartbeat) -> str:
    if beat.is_stopping:
        return "off"
    if beat.is_locked:
        return "locked"
    is_bad = beat.failures or beat.journal.state in _BAD_JOURNALS
    return "trouble" if is_bad or any(device.state in _BAD_DEVICES for device in beat.devices) else "ok"


def _failures(row: TerminalRow) -> tuple[str, ...]:
    """Of the last heartbeat, those of its devices too."""
    beat: dict[str, Any] = row.heartbeat or {}
    of_devices = [device["failure"] for device in beat.get("devices", ()) if device["failure"]]
    return tuple(sorted({*beat.get("failures", ()), *of_devices}))


def _lock(row: TerminalRow) -> Lock | None:
    if row.locked_at is None:
        return None
    return Lock(reason=row.lock_reason or "-", contact=row.lock_contact or "-")


def _epoch(publication: Path | None) -> int:
    """Version of what is published for terminals' settings; 0 where nothing is."""
    if publication is None:
        return 0
    files = (publication / "metadata").glob("*.terminal-configuration.json")
    return max((int(file.name.partition(".")[0]) for file in files if file.name[:1].isdigit()), default=0)


def _zip(content: str) -> bytes:
    try:
        raw = base64.b64decode(content, validate=True)
        if len(raw) > MAX_DIAGNOSIS_BYTES or not zipfile.is_zipfile(BytesIO(raw)):
            raise ValueError("not a small ZIP file")
    except (ValueError, binascii.Error):
        raise bad_input(field_error("body.content", "diagnosis_zip"), status=422) from None
    return raw


def _subject(row: TerminalRow) -> str:
    return f"client:{row.client_id}"
