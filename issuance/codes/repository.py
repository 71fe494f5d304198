"""Queries over the uses of codes, and over log-ins, which a holder sees among them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.clients.models import ClientRow
from issuance.codes.models import EcardUseRow
from issuance.codes.schemas import CodeUse, Scene
from issuance.consents.schemas import ConsentItem
from issuance.ecards.models import EcardRow
from issuance.login.items import items_named
from issuance.login.models import RelyingPartyRow
from issuance.login.provider_models import LoginUseRow
from issuance.paging import Page, PageRequest, encode_cursor, fetch_page
from issuance.scope import unscoped


class UseRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def of(self, ecard: EcardRow, sign_no: str, page: PageRequest) -> Page[CodeUse]:
        """Newest first, each with the name of who accepted it; `sign_no`: the phone that asks.

        Log-ins of the card are among them, with the electronic one or without.
        """
        codes = select(EcardUseRow).where(EcardUseRow.ecard_no == ecard.ecard_no)
        log_ins = select(LoginUseRow).where(LoginUseRow.card_number == ecard.card_number)
        used, more_used = await self._some(EcardUseRow, codes, page)
        logged_in, more_logged_in = await self._some(LoginUseRow, log_ins, page)
        rows = sorted([*used, *logged_in], key=lambda row: (row.at, row.use_id), reverse=True)
        is_all = len(rows) <= page.limit and more_used is None and more_logged_in is None
        rows = rows[: page.limit]
        clients = await self._names(ClientRow, {row.client_id for row in used})
        parties = await self._names(RelyingPartyRow, {row.client_id for row in logged_in})
        items = [
            _log_in(row, parties, sign_no) if isinstance(row, LoginUseRow) else _code(row, clients, sign_no)
            for row in rows
        ]
        cursor = None if is_all else encode_cursor((rows[-1].at, rows[-1].use_id))
        return Page(items=items, next_cursor=cursor)

    async def _some(self, kind: Any, query: Any, page: PageRequest) -> tuple[list[Any], str | None]:
        return await fetch_page(self._session, query, (kind.at, kind.use_id), page, is_descending=True)

    async def _names(self, kind: type[ClientRow | RelyingPartyRow], ids: set[str]) -> dict[str, str]:
        if not ids:
            return {}
        with unscoped(self._session, why="a holder sees whoever took a code, also outside the channel's region"):
            found = await self._session.execute(select(kind.id, kind.name).where(kind.id.in_(ids)))
            return {row[0]: row[1] for row in found}


def _code(row: EcardUseRow, names: dict[str, str], sign_no: str) -> CodeUse:
    return CodeUse(
        at=row.at,
        scene=Scene(row.scene),
        act=row.act,
        client=row.client_id,
        client_name=names[row.client_id],
        amount_fen=row.amount_fen,
        items=[],
        is_this_phone=row.sign_no == sign_no,
    )


def _log_in(row: LoginUseRow, names: dict[str, str], sign_no: str) -> CodeUse:
    return CodeUse(
        at=row.at,
        scene=Scene.LOGIN,
        act="log-in",
        client=row.client_id,
        client_name=names[row.client_id],
        amount_fen=None,
        items=[ConsentItem(name=item.name, zh=item.zh, en=item.en) for item in items_named(row.items)],
        is_this_phone=row.sign_no == sign_no,
    )
