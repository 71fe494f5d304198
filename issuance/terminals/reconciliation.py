"""A terminal's day in both sides' books: what is missing, what cannot be used, and the sums."""

from __future__ import annotations

import hmac
from collections import Counter
from datetime import date
from itertools import groupby
from typing import Any

from cardlib.terminal_records import chained, genesis
from issuance.clients.models import ClientRow
from issuance.clients.repository import ClientRepository
from issuance.clients.schemas import Role
from issuance.problems import ProblemError
from issuance.terminals.models import TerminalJournalRow
from issuance.terminals.repository import TerminalRepository
from issuance.terminals.schemas import JournalAccount, Reconciliation, RefusedRecord, TakingSum, TerminalView
from issuance.unit import Unit


class ReconciliationService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._rows = TerminalRepository(unit.session)

    async def terminals(self) -> list[TerminalView]:
        """Of the regions this caller serves."""
        refused = await self._rows.refused_counts()
        rows = await self._rows.terminals()
        everything = [row for _, row in rows]
        return [
            _view(client, [row for _, row in own], everything, refused.get(client.id, 0))
            for client, own in groupby(rows, lambda row: row[0])
        ]

    async def of_day(self, client_id: str, day: date) -> Reconciliation:
        """A terminal asks about itself. Raises NOT_FOUND for one of another region, or none."""
        caller = self._unit.caller
        is_told = Role.OPERATOR in caller.roles or caller.client_id == client_id
        client = await ClientRepository(self._unit.session).get(client_id)
        if not is_told or client is None:
            raise ProblemError("NOT_FOUND", "no such terminal", subject=f"client:{client_id}")
        records = await self._rows.of_day(client_id, day)
        of_journal = {key: list(rows) for key, rows in groupby(records, lambda row: row.journal_id)}
        rows = await self._rows.journals_of(client_id)
        successors = _successors(client, [row for row, _ in rows], await self._rows.followers(client_id))
        journals = [_account(row, count, of_journal.get(row.id, []), successors[row.id]) for row, count in rows]
        refused = [
            RefusedRecord(
                journal_id=row.journal_id,
                sequence=row.sequence,
                kind=row.kind,
                received_at=row.received_at,
                failure=row.failure or "",
                detail=row.detail or "",
            )
            for row in await self._rows.refused_of(client_id, day)
        ]
        takings = await self._rows.takings_of(client_id, day)
        wanting = sum(one.missing + one.outstanding + (not one.is_whole) for one in journals)
        wanting += sum(row.failure is not None for row in records)
        return Reconciliation(
            terminal=client_id,
            day=day,
            journals=journals,
            kinds=dict(sorted(Counter(row.kind for row in records if row.key is not None).items())),
            repeated=sum(row.key is None and row.failure is None for row in records),
            refused=refused,
            takings=[
                TakingSum(outcome=row[0], count=row[1], account_fen=row[2], self_paid_fen=row[3], pooling_fen=row[4])
                for row in takings
            ],
            difference=wanting,
        )

    async def gaps(self, client_id: str) -> dict[str, tuple[int, int]]:
        """By journal of this terminal, first and last of as many sequences as are not here, behind its head."""
        client = await ClientRepository(self._unit.session).get(client_id)
        rows = await self._rows.journals_of(client_id)
        if client is None or not rows:
            return {}
        successors = _successors(client, [row for row, _ in rows], await self._rows.followers(client_id))
        found = {}
        for row, count in rows:
            account = _account(row, count, [], successors[row.id])
            if wanting := account.missing + account.outstanding:
                found[row.id] = (row.head_sequence + 1, row.head_sequence + wanting)
        return found


def _view(
    client: ClientRow, journals: list[TerminalJournalRow], everything: list[TerminalJournalRow], refused: int
) -> TerminalView:
    """`journals` end with the newest; `everything` are those of all terminals."""
    successors = _successors(client, journals, everything)
    return TerminalView(
        terminal=client.id,
        name=client.name,
        region=client.region,
        journals=len(journals),
        records=sum(row.head_sequence for row in journals),
        outstanding=sum(sum(_wanting(row, successors[row.id])) for row in journals),
        refused=refused,
        clock_error_s=journals[-1].clock_error_ms / 1000,
        heard_at=journals[-1].heard_at,
    )


def _successors(
    client: ClientRow, journals: list[TerminalJournalRow], others: list[TerminalJournalRow]
) -> dict[str, list[TerminalJournalRow]]:
    """By journal, those that took its place: what it had not sent comes with them. Of a file that could not be read the
    id is not known, so that it may be any begun before.

    Two disks with one key have journals that stand beside each other, and so have a lost one and the next. The word of
    another registration is believed once this one is suspended.
    """
    believed = list(journals)
    if client.status != "active":
        believed += [row for row in others if row.client_id != client.id]
    found = {row.id: [one for one in believed if one.follows == row.id] for row in journals}
    for number, row in enumerate(journals):
        if row.reason == "JOURNAL_DAMAGED" and row.follows is None:
            for before in journals[:number]:
                found[before.id].append(row)
    return found


def _wanting(row: TerminalJournalRow, successors: list[TerminalJournalRow]) -> tuple[int, int]:
    """Records that are not here: how many cannot come any more, as no successor took them along, and how many may."""
    if not successors:
        return 0, row.told_sequence - row.head_sequence
    if any(one.carried is None for one in successors):
        return 0, 0
    named = [last for one in successors if one.follows == row.id for _, last in one.carried or ()]
    lost, here, end = 0, row.head_sequence, max(row.told_sequence, *named, 0)
    for first, last in sorted((first, last) for one in successors for first, last in one.carried or ()):
        lost += max(0, min(first - 1, end) - here)
        here = max(here, last)
    return lost + max(0, end - here), 0


def _account(
    row: TerminalJournalRow, count: int, records: list[Any], successors: list[TerminalJournalRow]
) -> JournalAccount:
    lost, outstanding = _wanting(row, successors)
    return JournalAccount(
        journal_id=row.id,
        follows=row.follows,
        reason=row.reason,
        first=records[0].sequence if records else None,
        last=records[-1].sequence if records else None,
        count=len(records),
        head=row.head_sequence,
        told=row.told_sequence,
        missing=row.head_sequence - count + lost,
        outstanding=outstanding,
        is_whole=all(_follows(row.id, record) for record in records),
    )


def _follows(journal_id: str, record: Any) -> bool:
    """Whether hash and body are those that were chained; a body that was forgotten proves nothing any more."""
    previous = genesis(journal_id) if record.sequence == 1 else record.previous
    if previous is None:
        return False
    return record.body is None or hmac.compare_digest(chained(previous, record.sequence, record.body), record.hash)
