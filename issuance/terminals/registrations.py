"""One-time codes of terminals: made by operators, used once, by whoever holds a new key.

A code that was used answers the same key again with the same words, for an answer may be lost; to another key it
answers no, and that is remembered and raises an alert: one of the two is not the terminal that was meant.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path
from typing import Final

from cardlib.client_auth import check_public_jwk, is_signed
from cardlib.terminal_state import Registered, RegistrationRequest, new_code, proof_text, shown_code
from issuance.audit.refusals import record_refusal
from issuance.clients.models import ClientRow
from issuance.clients.schemas import ClientRegistration, Role
from issuance.clients.service import register_client
from issuance.input_rules import field_error
from issuance.problems import ProblemError, bad_input
from issuance.services import Services
from issuance.terminals.fleet_models import InvitationRow, TerminalRow
from issuance.terminals.fleet_repository import FleetRepository
from issuance.terminals.fleet_schemas import Invitation, InvitationView
from issuance.unit import Unit, system_unit

MOST_A_MINUTE: Final = 10
"""Tries from one network; a code has 60 bits."""
_INDEX: Final = "terminal-code"
_ACT: Final = "POST /v1/terminals/registrations"
_FIRST_ROOT: Final = "metadata/1.root.json"


async def invite(unit: Unit, invitation: Invitation) -> InvitationView:
    if invitation.region is None:
        if unit.caller.region is not None:
            raise ProblemError("CLIENT_FORBIDDEN", "a regional operator invites terminals of its region only")
    else:
        unit.caller.demand_region(invitation.region)
    code = new_code()
    row = InvitationRow(
        id=secrets.token_hex(16),
        code_index=unit.services.sealer.index(_INDEX, code),
        region=invitation.region,
        profile=invitation.profile,
        name=invitation.name,
        made_by=unit.by,
        made_at=unit.now,
        expires_at=unit.now + timedelta(hours=invitation.hours),
        again=0,
    )
    FleetRepository(unit.session).invite(row)
    detail = {"profile": row.profile, "hours": invitation.hours}
    await unit.audit("terminal.invite", f"invitation:{row.id}", region=row.region, detail=detail)
    return InvitationView(id=row.id, code=shown_code(code), expires_at=row.expires_at)


class RegistrationService:
    """For callers that nobody knows yet."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._now = services.clock()

    async def register(self, request: RegistrationRequest, network: str) -> Registered:
        """Raises REQUEST_LIMIT, INPUT_INVALID, TERMINAL_CODE_INVALID."""
        try:
            if not self._services.registrations.allows(network, self._now):
                raise ProblemError("REQUEST_LIMIT", f"at most {MOST_A_MINUTE} registrations a minute")
            return await self._registered(request)
        except ProblemError as refusal:
            if self._services.unproved.allows("", self._now):
                await record_refusal(
                    self._services, refusal, at=self._now, actor="", clerk="", act=_ACT, region=None,
                    detail={"is_proved": False},
                )  # fmt: skip
            raise

    async def _registered(self, request: RegistrationRequest) -> Registered:
        try:
            jwk = check_public_jwk(request.public_jwk)
        except ValueError:
            raise bad_input(field_error("body.public_jwk", "public_jwk"), status=422) from None
        if not is_signed(jwk, proof_text(request.code, jwk), bytes.fromhex(request.proof)):
            raise bad_input(field_error("body.proof", "registration_proof"), status=422)
        index = self._services.sealer.index(_INDEX, request.code)
        async with system_unit(self._services) as unit:
            invitation = await FleetRepository(unit.session).invitation(index)
            if invitation is None:
                raise ProblemError("TERMINAL_CODE_INVALID", "no such code")
            made = await self._made(unit, invitation, jwk)
        if made is None:
            raise ProblemError(
                "TERMINAL_CODE_INVALID",
                "this code was used, or its time is over",
                subject=f"invitation:{invitation.id}",
            )
        return made

    async def _made(self, unit: Unit, invitation: InvitationRow, jwk: dict[str, str]) -> Registered | None:
        """None for a code that is over; a use by another key than the first one's is stored all the same."""
        fleet = FleetRepository(unit.session)
        name = secrets.token_hex(6)
        if invitation.used_at is None and await fleet.spend(invitation.id, f"t-{name}", unit.now):
            client, terminal = await self._new(unit, invitation, jwk, name)
            return self._answer(client, terminal)
        await unit.session.refresh(invitation)
        known = None if invitation.client_id is None else await fleet.get(invitation.client_id)
        if known is None:
            return None
        terminal, client = known
        if client.public_jwk == jwk and client.status == "active":
            return self._answer(client, terminal)
        await fleet.tried_again(invitation.id, unit.now)
        detail = {"terminal": client.id}
        await unit.audit("terminal.code_again", f"invitation:{invitation.id}", region=client.region, detail=detail)
        return None

    async def _new(
        self, unit: Unit, invitation: InvitationRow, jwk: dict[str, str], name: str
    ) -> tuple[ClientRow, TerminalRow]:
        registration = ClientRegistration(
            id=f"t-{name}", name=invitation.name, roles=(Role.TERMINAL,), region=invitation.region, public_jwk=jwk
        )
        client = await register_client(
            unit.session, registration, now=unit.now, actor=invitation.made_by, seal=self._services.audit_seal
        )
        terminal = TerminalRow(
            client_id=client.id,
            region=invitation.region,
            profile=invitation.profile,
            device_number=f"OC{invitation.region or '000000'}{name[:9].upper()}",
            registered_at=unit.now,
            state="new",
            clock_error_ms=0,
        )
        unit.session.add(terminal)
        subject = f"client:{client.id}"
        await unit.audit("terminal.register", subject, region=client.region, detail={"invitation": invitation.id})
        return client, terminal

    def _answer(self, client: ClientRow, terminal: TerminalRow) -> Registered:
        settings = self._services.settings
        return Registered.model_validate(
            {
                "client_id": client.id,
                "audience": settings.centre_id,
                "device_number": terminal.device_number,
                "profile": terminal.profile,
                "region": client.region,
                "catalog_root": _root(settings.publication_path),
            }
        )


def _root(folder: Path | None) -> str | None:
    file = None if folder is None else folder / _FIRST_ROOT
    return None if file is None or not file.is_file() else file.read_text(encoding="utf-8")
