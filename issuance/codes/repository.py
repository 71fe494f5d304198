"""Queries over the uses of codes."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.clients.models import ClientRow
from issuance.codes.models import EcardUseRow
from issuance.codes.schemas import CodeUse, Scene
from issuance.paging import Page, PageRequest, fetch_page
from issuance.scope import unscoped


class UseRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def of(self, ecard_no: str, sign_no: str, page: PageRequest) -> Page[CodeUse]:
        """Newest first, each with the name of who accepted it; `sign_no`: the phone that asks."""
        query = select(EcardUseRow).where(EcardUseRow.ecard_no == ecard_no)
        columns = (EcardUseRow.at, EcardUseRow.use_id)
        rows, cursor = await fetch_page(self._session, query, columns, page, is_descending=True)
        names = await self._names({row.client_id for row in rows})
        items = [
            CodeUse(
                at=row.at,
                scene=Scene(row.scene),
                act=row.act,
                client=row.client_id,
                client_name=names[row.client_id],
                amount_fen=row.amount_fen,
                is_this_phone=row.sign_no == sign_no,
            )
            for row in rows
        ]
        return Page(items=items, next_cursor=cursor)

    async def _names(self, ids: set[str]) -> dict[str, str]:
        with unscoped(self._session, why="a holder sees whoever took a code, also outside the channel's region"):
            found = await self._session.execute(select(ClientRow.id, ClientRow.name).where(ClientRow.id.in_(ids)))
            return {row[0]: row[1] for row in found}
