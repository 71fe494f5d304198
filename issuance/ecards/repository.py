"""Queries over electronic cards and links."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.cards.models import CardRow
from issuance.clients.models import ClientRow
from issuance.database import ROW_LOCK, add_unless_taken
from issuance.ecards.models import EcardRow, FamilyRow, LinkRow
from issuance.persons.models import PersonRow
from issuance.scope import unscoped

LIVE = ("asked", "active")


class EcardRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: EcardRow) -> bool:
        """False when the card has an electronic card already."""
        return await add_unless_taken(self._session, row)

    async def get(self, ecard_no: str, *, is_locking: bool = False) -> EcardRow | None:
        """As it is now when it is locked, however often this transaction has looked at it."""
        lock = ROW_LOCK if is_locking else None
        return await self._session.get(EcardRow, ecard_no, with_for_update=lock, populate_existing=is_locking)

    async def holder(self, number_index: bytes, card_number: str) -> tuple[PersonRow, CardRow] | None:
        """The person of this number and this card of that person."""
        query = (
            select(PersonRow, CardRow)
            .join(CardRow, CardRow.person_id == PersonRow.id)
            .where(PersonRow.number_index == number_index, CardRow.card_number == card_number)
        )
        found = (await self._session.execute(query)).first()
        return None if found is None else (found[0], found[1])

    async def of_card(self, card_number: str, *, is_locking: bool = False) -> EcardRow | None:
        query = select(EcardRow).where(EcardRow.card_number == card_number)
        if is_locking:
            query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
        found: EcardRow | None = await self._session.scalar(query)
        return found

    async def lower(self, card_number: str) -> None:
        """Back to level 1: the account that paid has ended."""
        await self._session.execute(
            update(EcardRow).where(EcardRow.card_number == card_number, EcardRow.level == 2).values(level=1)
        )


class FamilyRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, family_id: str, *, is_locking: bool = False) -> FamilyRow | None:
        lock = ROW_LOCK if is_locking else None
        return await self._session.get(FamilyRow, family_id, with_for_update=lock, populate_existing=is_locking)

    async def add(self, row: FamilyRow) -> bool:
        """False when this member is asked or there already."""
        return await add_unless_taken(self._session, row)

    async def live_of(self, ecard_no: str) -> list[FamilyRow]:
        """Asked and active members of a holder, oldest first."""
        query = select(FamilyRow).where(FamilyRow.ecard_no == ecard_no, FamilyRow.state.in_(LIVE))
        return list(await self._session.scalars(query.order_by(FamilyRow.asked_at, FamilyRow.id)))

    async def live_with(self, member_no: str) -> list[FamilyRow]:
        """Whose member this electronic card is, or is asked to be, oldest first."""
        query = select(FamilyRow).where(FamilyRow.member_no == member_no, FamilyRow.state.in_(LIVE))
        return list(await self._session.scalars(query.order_by(FamilyRow.asked_at, FamilyRow.id)))

    async def end_all(self, ecard_no: str, now: datetime) -> None:
        """Of a cancelled electronic card, on either side."""
        mine = or_(FamilyRow.ecard_no == ecard_no, FamilyRow.member_no == ecard_no)
        await self._session.execute(
            update(FamilyRow)
            .where(mine, FamilyRow.state.in_(LIVE))
            .values(state="ended", ended_at=now, sealed_portrait=None)
        )


_WITH_CARD: Final = (
    select(LinkRow, EcardRow, CardRow)
    .join(EcardRow, EcardRow.ecard_no == LinkRow.ecard_no)
    .outerjoin(CardRow, CardRow.card_number == EcardRow.card_number)
    .where(LinkRow.sign_no == bindparam("sign_no"))
)


class LinkRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, sign_no: str) -> LinkRow | None:
        return await self._session.get(LinkRow, sign_no)

    async def some(self, sign_nos: Collection[str]) -> dict[str, LinkRow]:
        rows = await self._session.scalars(select(LinkRow).where(LinkRow.sign_no.in_(sign_nos)))
        return {row.sign_no: row for row in rows}

    async def with_card(self, sign_no: str) -> tuple[LinkRow | None, EcardRow | None, CardRow | None]:
        """A link, its electronic card and the physical one within the scope of the session."""
        found = (await self._session.execute(_WITH_CARD, {"sign_no": sign_no})).first()
        return (None, None, None) if found is None else (found[0], found[1], found[2])

    async def add(self, row: LinkRow) -> bool:
        """False when the channel has a live link to this electronic card, made at the same moment."""
        return await add_unless_taken(self._session, row)

    async def end(self, ecard_no: str, state: str, now: datetime, *, client_id: str = "", sign_no: str = "") -> bool:
        """End the live links of a card, or the one of a channel or number; False when there was none."""
        query = update(LinkRow).where(LinkRow.ecard_no == ecard_no, LinkRow.state == "active")
        if client_id:
            query = query.where(LinkRow.client_id == client_id)
        if sign_no:
            query = query.where(LinkRow.sign_no == sign_no)
        ended = await self._session.execute(query.values(state=state, ended_at=now).returning(LinkRow.sign_no))
        return ended.first() is not None

    async def of(self, *ecards: str, is_live: bool = True) -> list[tuple[LinkRow, str, str | None]]:
        """Live links, or all there were, with name and number of their channels, oldest first."""
        query = (
            select(LinkRow, ClientRow.name, ClientRow.channel_no)
            .join(ClientRow, ClientRow.id == LinkRow.client_id)
            .where(LinkRow.ecard_no.in_(ecards))
            .order_by(LinkRow.signed_at, LinkRow.sign_no)
        )
        if is_live:
            query = query.where(LinkRow.state == "active")
        with unscoped(self._session, why="a holder sees all channels, also those of other regions"):
            return [(row[0], row[1], row[2]) for row in await self._session.execute(query)]
