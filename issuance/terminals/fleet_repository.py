"""Queries over terminals as machines."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, case, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.clients.models import ClientRow
from issuance.database import insert_new
from issuance.paging import PageRequest, fetch_page
from issuance.stock.models import BlankRow, PlaceRow
from issuance.terminals.fleet_models import DiagnosisRow, InvitationRow, TerminalRow, TerminalStateRow

HISTORY: Final = 50
SILENT_AFTER: Final = timedelta(minutes=10)
Known = tuple[TerminalRow, ClientRow]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Terminals of one profile, one region, one state (`silent` too); "" stands for all."""

    profile: str = ""
    region: str = ""
    state: str = ""


def is_silent(now: datetime) -> ColumnElement[bool]:
    """Of rows of terminals that are not switched off."""
    heard = func.coalesce(TerminalRow.heard_at, TerminalRow.registered_at)
    return and_(TerminalRow.state != "off", heard < now - SILENT_AFTER)


async def is_kiosk(session: AsyncSession, client_id: str) -> bool:
    """Whether this client is a terminal without staff."""
    profile = await session.scalar(select(TerminalRow.profile).where(TerminalRow.client_id == client_id))
    return profile == "kiosk"


class FleetRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    # -- invitations ----------------------------------------------------------------------------------------------

    def invite(self, row: InvitationRow) -> None:
        self._session.add(row)

    async def invitation(self, code_index: bytes) -> InvitationRow | None:
        found: InvitationRow | None = await self._session.scalar(
            select(InvitationRow).where(InvitationRow.code_index == code_index)
        )
        return found

    async def spend(self, invitation_id: str, client_id: str, now: datetime) -> bool:
        """False where another request was first, or the time is over."""
        mine = update(InvitationRow).where(
            InvitationRow.id == invitation_id, InvitationRow.used_at.is_(None), InvitationRow.expires_at > now
        )
        spent = mine.values(used_at=now, client_id=client_id).returning(InvitationRow.id)
        return (await self._session.execute(spent)).first() is not None

    async def tried_again(self, invitation_id: str, now: datetime) -> None:
        row = update(InvitationRow).where(InvitationRow.id == invitation_id)
        await self._session.execute(row.values(again=InvitationRow.again + 1, again_at=now))

    # -- terminals ------------------------------------------------------------------------------------------------

    async def ensure(self, row: dict[str, Any]) -> None:
        """Made of `row` where the terminal is not there yet."""
        await insert_new(self._session, TerminalRow, [row])

    async def get(self, client_id: str) -> Known | None:
        query = self._known().where(TerminalRow.client_id == client_id)
        row = (await self._session.execute(query)).first()
        return None if row is None else (row[0], row[1])

    async def page(self, after: str, limit: int) -> list[Known]:
        query = self._known().where(TerminalRow.client_id > after, ClientRow.status == "active")
        rows = await self._session.execute(query.order_by(TerminalRow.client_id).limit(limit))
        return [(row[0], row[1]) for row in rows]

    async def find(self, wanted: Wanted, now: datetime, page: PageRequest) -> tuple[list[Known], str | None]:
        """In the order of their ids."""
        query = self._chosen(select(TerminalRow), wanted, now)
        rows, cursor = await fetch_page(self._session, query, [TerminalRow.client_id], page)
        named = select(ClientRow).where(ClientRow.id.in_([row.client_id for row in rows]))
        clients = {client.id: client for client in await self._session.scalars(named)}
        return [(row, clients[row.client_id]) for row in rows], cursor

    async def counts(self, wanted: Wanted, now: datetime) -> dict[str, int]:
        """By state, whichever state is wanted."""
        state = case((is_silent(now), "silent"), else_=TerminalRow.state)
        query = self._chosen(select(state, func.count()).select_from(TerminalRow), replace(wanted, state=""), now)
        return {row[0]: row[1] for row in await self._session.execute(query.group_by(state))}

    async def regions(self) -> list[str]:
        """Where there are terminals."""
        found = await self._session.scalars(select(TerminalRow.region).distinct().order_by(TerminalRow.region))
        return [region for region in found if region is not None]

    def _chosen(self, query: Select[Any], wanted: Wanted, now: datetime) -> Any:
        active = select(ClientRow.id).where(ClientRow.status == "active")
        query = query.where(TerminalRow.client_id.in_(active))
        if wanted.profile:
            query = query.where(TerminalRow.profile == wanted.profile)
        if wanted.region:
            query = query.where(TerminalRow.region == wanted.region)
        if wanted.state == "silent":
            query = query.where(is_silent(now))
        elif wanted.state:
            query = query.where(TerminalRow.state == wanted.state, ~is_silent(now))
        return query

    def _known(self) -> Any:
        return select(TerminalRow, ClientRow).join(ClientRow, ClientRow.id == TerminalRow.client_id)

    async def blanks_on_book(self, client_id: str) -> int | None:
        """Blanks in the stock place that has the terminal's id, its hopper; None where there is no such place."""
        if await self._session.scalar(select(PlaceRow.id).where(PlaceRow.id == client_id)) is None:
            return None
        lying = (BlankRow.place_id == client_id, BlankRow.kind == "blank", BlankRow.state == "in_stock")
        return await self._session.scalar(select(func.count()).select_from(BlankRow).where(*lying)) or 0

    # -- history and diagnosis ------------------------------------------------------------------------------------

    async def history(self, client_id: str, limit: int = HISTORY) -> list[TerminalStateRow]:
        query = select(TerminalStateRow).where(TerminalStateRow.client_id == client_id)
        return list(await self._session.scalars(query.order_by(TerminalStateRow.at.desc()).limit(limit)))

    async def note(self, row: dict[str, Any]) -> None:
        """Add a change; what is older than the newest `HISTORY` goes."""
        await insert_new(self._session, TerminalStateRow, [row])
        kept = (await self.history(row["client_id"]))[-1].at
        await self._session.execute(
            delete(TerminalStateRow).where(TerminalStateRow.client_id == row["client_id"], TerminalStateRow.at < kept),
            execution_options={"synchronize_session": False},
        )

    async def diagnosis(self, client_id: str) -> DiagnosisRow | None:
        found: DiagnosisRow | None = await self._session.get(DiagnosisRow, client_id)
        return found

    async def diagnosis_at(self, client_id: str) -> datetime | None:
        found: datetime | None = await self._session.scalar(
            select(DiagnosisRow.received_at).where(DiagnosisRow.client_id == client_id)
        )
        return found

    async def keep_diagnosis(self, row: DiagnosisRow) -> None:
        await self._session.merge(row)
