"""Queries over terminals' journals, records and takings."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any, Final

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from issuance.applications.models import ApplicationRow, ReturnRow
from issuance.cards.models import CardRow, RetiredChipRow
from issuance.clients.models import ClientRow
from issuance.database import insert_new
from issuance.scope import unscoped
from issuance.terminals.models import TakingRow, TerminalJournalRow, TerminalRecordRow

Card = tuple[str, str]
"""Number and identification code."""
MOST_REFUSED: Final = 1000
"""Shown of a day; a terminal that has gone wrong has any number of them."""


class TerminalRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    # -- taking records in --------------------------------------------------------------------------------------

    async def journal(self, journal_id: str, row: dict[str, Any] | None = None) -> TerminalJournalRow | None:
        """Locked; made of `row` where it is not there yet."""
        if row is not None:
            await insert_new(self._session, TerminalJournalRow, [row])
        query = select(TerminalJournalRow).where(TerminalJournalRow.id == journal_id).with_for_update(key_share=True)
        with unscoped(self._session, why="that a journal is another terminal's is told to nobody by its absence"):
            found: TerminalJournalRow | None = await self._session.scalar(query)
        return found

    async def records(self, journal_id: str, first: int, last: int) -> list[TerminalRecordRow]:
        query = select(TerminalRecordRow).where(
            TerminalRecordRow.journal_id == journal_id, TerminalRecordRow.sequence.between(first, last)
        )
        return list(await self._session.scalars(query.order_by(TerminalRecordRow.sequence)))

    async def owner(self, journal_id: str) -> str | None:
        query = select(TerminalJournalRow.client_id).where(TerminalJournalRow.id == journal_id)
        with unscoped(self._session, why="a terminal that was moved to another region takes its journal along"):
            found: str | None = await self._session.scalar(query)
        return found

    async def by_key(self, client_ids: Collection[str], keys: Collection[str]) -> dict[str, TerminalRecordRow]:
        query = select(TerminalRecordRow).where(TerminalRecordRow.client_id.in_(client_ids))
        with unscoped(self._session, why="a terminal that was moved to another region takes its journal along"):
            rows = await self._session.scalars(query.where(TerminalRecordRow.key.in_(keys)))
        return {row.key: row for row in rows if row.key is not None}

    async def settled(self, transactions: Collection[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
        """Of these (terminal, number, time) those that are in the books, whoever told of them."""
        if not transactions:
            return set()
        facts = (TakingRow.terminal, TakingRow.number, TakingRow.time)
        with unscoped(self._session, why="a PSAM that was moved to another region counts on"):
            rows = await self._session.execute(select(*facts).where(tuple_(*facts).in_(transactions)))
        return {(row[0], row[1], row[2]) for row in rows}

    async def our_cards(self, cards: Collection[Card]) -> dict[Card, str]:
        """Region by card, of those that are ours: the chip in use or one that bore the number before."""
        if not cards:
            return {}
        numbers = {number for number, _ in cards}
        now = select(CardRow.card_number, CardRow.identification_code, CardRow.region)
        before = select(RetiredChipRow.card_number, RetiredChipRow.identification_code, CardRow.region).join(
            CardRow, CardRow.card_number == RetiredChipRow.card_number
        )
        found: dict[Card, str] = {}
        with unscoped(self._session, why="a card is used outside its region"):
            for query, column in ((before, RetiredChipRow.card_number), (now, CardRow.card_number)):
                rows = await self._session.execute(query.where(column.in_(numbers)))
                found |= {(row[0], row[1]): row[2] for row in rows}
        return {card: found[card] for card in cards if card in found}

    async def chips(self, cards: Collection[Card]) -> dict[Card, list[Any]]:
        """Of our cards: identification_code, reset_information, key_version, generation of the chip in use, and of
        those that bore the number before, as they were read back then."""
        if not cards:
            return {}
        row, old = CardRow, RetiredChipRow
        chip = (row.card_number, row.identification_code, row.reset_information, row.key_version, row.generation)
        before = (
            select(old.card_number, old.identification_code, old.reset_information)
            .add_columns(ReturnRow.key_version, ApplicationRow.generation)
            .join(ReturnRow, ReturnRow.application_id == old.application_id)
            .join(ApplicationRow, ApplicationRow.id == old.application_id)
        )
        numbers = {number for number, _ in cards}
        found: dict[Card, list[Any]] = {card: [] for card in cards}
        with unscoped(self._session, why="a card is used outside its region"):
            for query, column in ((select(*chip), row.card_number), (before, old.card_number)):
                for one in await self._session.execute(query.where(column.in_(numbers))):
                    found.get((one.card_number, one.identification_code), []).append(one)
        return found

    # -- comparing books ----------------------------------------------------------------------------------------

    async def terminals(self) -> list[tuple[ClientRow, TerminalJournalRow]]:
        """By client, its journals with the newest last."""
        query = select(ClientRow, TerminalJournalRow).join(
            TerminalJournalRow, TerminalJournalRow.client_id == ClientRow.id
        )
        rows = await self._session.execute(
            query.order_by(ClientRow.id, TerminalJournalRow.began_at, TerminalJournalRow.id)
        )
        return [(row[0], row[1]) for row in rows]

    async def refused_counts(self) -> dict[str, int]:
        query = select(TerminalRecordRow.client_id, func.count()).where(TerminalRecordRow.failure.is_not(None))
        rows = await self._session.execute(query.group_by(TerminalRecordRow.client_id))
        return {row[0]: row[1] for row in rows}

    async def journals_of(self, client_id: str) -> list[tuple[TerminalJournalRow, int]]:
        """Each with how many of its records are here, the newest last."""
        count = (
            select(func.count())
            .select_from(TerminalRecordRow)
            .where(TerminalRecordRow.journal_id == TerminalJournalRow.id)
            .scalar_subquery()
        )
        query = select(TerminalJournalRow, count).where(TerminalJournalRow.client_id == client_id)
        rows = await self._session.execute(query.order_by(TerminalJournalRow.began_at, TerminalJournalRow.id))
        return [(row[0], row[1]) for row in rows]

    async def followers(self, client_id: str) -> list[TerminalJournalRow]:
        """Journals of others that took the place of one of this terminal's."""
        own = select(TerminalJournalRow.id).where(TerminalJournalRow.client_id == client_id)
        query = select(TerminalJournalRow).where(
            TerminalJournalRow.follows.in_(own), TerminalJournalRow.client_id != client_id
        )
        with unscoped(self._session, why="a terminal that was moved to another region takes its journal along"):
            return list(await self._session.scalars(query))

    async def of_day(self, client_id: str, day: date) -> list[Any]:
        """Journal id, sequence, kind, key, hash, body and the hash before, in the order of journal and sequence."""
        before = aliased(TerminalRecordRow)
        query = (
            select(
                TerminalRecordRow.journal_id,
                TerminalRecordRow.sequence,
                TerminalRecordRow.kind,
                TerminalRecordRow.key,
                TerminalRecordRow.failure,
                TerminalRecordRow.hash,
                TerminalRecordRow.body,
                before.hash.label("previous"),
            )
            .outerjoin(
                before,
                (before.journal_id == TerminalRecordRow.journal_id)
                & (before.sequence == TerminalRecordRow.sequence - 1),
            )
            .where(TerminalRecordRow.client_id == client_id, TerminalRecordRow.day == day)
            .order_by(TerminalRecordRow.journal_id, TerminalRecordRow.sequence)
        )
        return list(await self._session.execute(query))

    async def refused_of(self, client_id: str, day: date) -> list[TerminalRecordRow]:
        query = select(TerminalRecordRow).where(
            TerminalRecordRow.client_id == client_id,
            TerminalRecordRow.day == day,
            TerminalRecordRow.failure.is_not(None),
        )
        order = (TerminalRecordRow.received_at, TerminalRecordRow.journal_id, TerminalRecordRow.sequence)
        return list(await self._session.scalars(query.order_by(*order).limit(MOST_REFUSED)))

    async def takings_of(self, client_id: str, day: date) -> list[Any]:
        """Outcome, count and three sums in fen, of the purchases that the day's records told of."""
        query = (
            select(
                TakingRow.outcome,
                func.count(),
                func.sum(TakingRow.account_fen),
                func.sum(TakingRow.self_paid_fen),
                func.sum(TakingRow.pooling_fen),
            )
            .join(
                TerminalRecordRow,
                (TerminalRecordRow.journal_id == TakingRow.journal_id)
                & (TerminalRecordRow.sequence == TakingRow.sequence),
            )
            .where(TerminalRecordRow.client_id == client_id, TerminalRecordRow.day == day)
            .group_by(TakingRow.outcome)
            .order_by(TakingRow.outcome)
        )
        return list(await self._session.execute(query))
