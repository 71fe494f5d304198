"""Queries over cards, their history and what is still to be done to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import ColumnElement, delete, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.applications.models import ApplicationRow
from issuance.cards.models import (
    CardEventRow,
    CardRow,
    PersonEndRow,
    RetiredChipRow,
    RewriteRow,
    SuccessionRow,
)
from issuance.database import ROW_LOCK, add_unless_taken
from issuance.paging import PageRequest, fetch_page
from issuance.scope import unscoped

_APPLICATION_ENDED = ("enabled", "rejected", "written_off")


class CardRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: CardRow) -> bool:
        """False when the person has a live card, or number or chip belong to another card."""
        return await add_unless_taken(self._session, row)

    async def get(self, card_number: str, *, is_locking: bool = False) -> CardRow | None:
        """As it is now, however often this transaction has looked at it."""
        lock = ROW_LOCK if is_locking else None
        return await self._session.get(CardRow, card_number, with_for_update=lock, populate_existing=is_locking)

    async def of_chip(self, reset_information: str) -> CardRow | None:
        found: CardRow | None = await self._session.scalar(
            select(CardRow).where(CardRow.reset_information == reset_information)
        )
        return found

    async def live_of(self, person_id: str) -> CardRow | None:
        query = select(CardRow).where(CardRow.person_id == person_id, CardRow.state != "9")
        with unscoped(self._session, why="a person has one live card in all regions together"):
            found: CardRow | None = await self._session.scalar(query)
        return found

    async def regions_of(self, person_id: str) -> frozenset[str]:
        """Of all cards of a person, ended ones too."""
        with unscoped(self._session, why="a person may have had cards in other regions"):
            found = await self._session.scalars(select(CardRow.region).where(CardRow.person_id == person_id))
        return frozenset(found)

    async def is_retired(self, reset_information: str) -> bool:
        """Whether the number of this chip has gone on to another one."""
        return await self._session.get(RetiredChipRow, reset_information) is not None

    async def find(
        self,
        page: PageRequest,
        *,
        region_prefix: str,
        states: Sequence[str],
        expires_until: date | None,
        has_rewrite: bool | None,
    ) -> tuple[list[CardRow], str | None]:
        wanted: list[ColumnElement[bool]] = [CardRow.region.startswith(region_prefix)]
        if states:
            wanted.append(CardRow.state.in_(states))
        if expires_until is not None:
            wanted.append(CardRow.expiry_date <= expires_until)
        if has_rewrite is not None:
            pending = exists().where(RewriteRow.card_number == CardRow.card_number)
            wanted.append(pending if has_rewrite else ~pending)
        return await fetch_page(self._session, select(CardRow).where(*wanted), [CardRow.card_number], page)

    async def temporary_over(self, now: datetime, limit: int) -> list[str]:
        """Numbers of cards whose temporary loss has ended."""
        query = (
            select(CardRow.card_number).where(CardRow.temporary_until <= now).order_by(CardRow.temporary_until)
        ).limit(limit)
        return list(await self._session.scalars(query))

    # -- history ------------------------------------------------------------------------------------------------

    async def add_event(self, row: CardEventRow) -> None:
        self._session.add(row)
        await self._session.flush()

    async def history(self, card_number: str, page: PageRequest) -> tuple[list[CardEventRow], str | None]:
        """Newest first."""
        query = select(CardEventRow).where(CardEventRow.card_number == card_number)
        return await fetch_page(self._session, query, [CardEventRow.id], page, is_descending=True)

    async def event_after(self, card_number: str, version: int) -> CardEventRow | None:
        """The first thing that happened to a card after it was seen at `version`."""
        query = select(CardEventRow).where(CardEventRow.card_number == card_number, CardEventRow.version > version)
        found: CardEventRow | None = await self._session.scalar(query.order_by(CardEventRow.version).limit(1))
        return found

    # -- succession ---------------------------------------------------------------------------------------------

    async def add_succession(self, row: SuccessionRow) -> None:
        self._session.add(row)
        await self._session.flush()

    async def succession(self, application_id: str) -> SuccessionRow | None:
        return await self._session.get(SuccessionRow, application_id)

    async def open_succession(self, card_number: str) -> str | None:
        """Id of the open application whose card will take the place of this one."""
        found: str | None = await self._session.scalar(
            select(SuccessionRow.application_id)
            .join(ApplicationRow, ApplicationRow.id == SuccessionRow.application_id)
            .where(SuccessionRow.card_number == card_number, ApplicationRow.state.not_in(_APPLICATION_ENDED))
        )
        return found

    async def retire_chip(self, row: RetiredChipRow) -> None:
        self._session.add(row)
        await self._session.flush()

    # -- rewriting and ends -------------------------------------------------------------------------------------

    async def rewrite(self, card_number: str) -> RewriteRow | None:
        return await self._session.get(RewriteRow, card_number, with_for_update=ROW_LOCK, populate_existing=True)

    async def put_rewrite(self, row: RewriteRow) -> None:
        await self._session.merge(row)
        await self._session.flush()

    async def drop_rewrite(self, card_number: str) -> None:
        await self._session.execute(
            delete(RewriteRow).where(RewriteRow.card_number == card_number),
            execution_options={"synchronize_session": "evaluate"},
        )

    async def has_rewrite(self, card_number: str) -> bool:
        return bool(await self._session.scalar(select(exists().where(RewriteRow.card_number == card_number))))

    async def person_end(self, person_id: str) -> PersonEndRow | None:
        return await self._session.get(PersonEndRow, person_id)

    async def end_person(self, row: PersonEndRow) -> bool:
        """False when that is known already."""
        return await add_unless_taken(self._session, row)
