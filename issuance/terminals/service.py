"""Taking in what terminals send: each record once, in the order of its journal, handed to who needs it, all in one
transaction.

A terminal sends again whatever it has no answer to, and begins a journal anew when the two sides cannot go on from each
other; sequence and chain tell the first, the records' keys the second.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cardlib.client_auth import is_signed
from cardlib.terminal_records import (
    CardUse,
    Payload,
    PurchaseRecord,
    RecordBatch,
    RecordBody,
    RecordInvalidError,
    RecordRefusal,
    RecordsTaken,
    SentRecord,
    chained,
    genesis,
    head_text,
)
from cardlib.transit_clearing import Verdict
from hsm.primitives import default_engine
from issuance.clients.repository import ClientRepository
from issuance.clock import china_date
from issuance.database import insert_all, lock_name
from issuance.journeys.intake import JourneyIntake, names_of
from issuance.problems import ProblemError
from issuance.terminals.models import CardUseRow, TakingRow, TerminalJournalRow, TerminalRecordRow
from issuance.terminals.purchase_tacs import PurchaseTacs
from issuance.terminals.repository import Card, TerminalRepository
from issuance.unit import Unit

UNREADABLE: Final = "unreadable"
_CONFLICT: Final = "CONFLICT"
_LONGEST_MS: Final = 10 * 365 * 86_400_000
"""No computer runs longer; a date must come out."""
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Where a clock without a battery begins."""


@dataclass(slots=True)
class Taken:
    """A new record on its way into the books. `body` is None where it cannot be read; `verdict` is on a settlement's
    TAC."""

    sent: SentRecord
    at: datetime
    body: RecordBody | None = None
    payload: Payload | None = None
    is_repeated: bool = False
    failure: str | None = None
    detail: str | None = None
    verdict: Verdict | None = None

    def refuse(self, failure: str, detail: str) -> None:
        self.failure, self.detail, self.payload = failure, detail[:128], None


@dataclass(slots=True)
class _Books:
    """What the centre knows already that these records are about."""

    records: Mapping[str, TerminalRecordRow]
    settled: set[tuple[str, str, str]]


class TerminalRecordService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._rows = TerminalRepository(unit.session)
        self._journeys = JourneyIntake(unit)

    async def take(self, batch: RecordBatch) -> RecordsTaken:
        """Of a batch that begins beyond what is here nothing is taken: the answer says where to go on.

        Raises CLIENT_FORBIDDEN for a head that the caller did not sign or a
        journal of another terminal, JOURNAL_FORKED where hashes do not follow from each other or from what is here.
        """
        await self._demand_head(batch)
        owners = await self._owners(batch)
        for owner in sorted(owners):  # whose records' keys hold over all their journals
            await self._lock("client", owner)
        first = batch.records[0].sequence
        row = await self._journal(batch, is_new=first == 1)
        if row is None or first > row.head_sequence + 1:
            head = 0 if row is None else row.head_sequence
            return RecordsTaken(journal_id=batch.journal_id, acknowledged=head)
        known = await self._rows.records(row.id, max(1, first - 1), batch.records[-1].sequence)
        self._demand_chain(batch, {one.sequence: one.hash for one in known} | {row.head_sequence: row.head_hash})
        taken = await self._opened(batch, [one for one in batch.records if one.sequence > row.head_sequence], owners)
        if taken:
            await self._store(row, batch, taken)
        row.told_sequence = max(row.told_sequence, batch.told)
        row.heard_at = self._unit.now
        row.clock_error_ms = round((batch.sent_at - self._unit.now) / timedelta(milliseconds=1))
        await self._unit.session.flush()
        refused = [(one.sequence, one.failure, one.detail) for one in known if one.sequence >= first]
        refused += [(one.sent.sequence, one.failure, one.detail) for one in taken]
        return RecordsTaken(
            journal_id=row.id,
            acknowledged=row.head_sequence,
            refused=tuple(
                RecordRefusal(sequence=sequence, failure=failure, detail=detail or "")
                for sequence, failure, detail in refused
                if failure is not None
            ),
        )

    # -- the journal --------------------------------------------------------------------------------------------

    async def _demand_head(self, batch: RecordBatch) -> None:
        client = await ClientRepository(self._unit.session).get(self._unit.caller.client_id)
        last = batch.records[-1]
        text = head_text(batch.journal_id, last.sequence, bytes.fromhex(last.hash))
        if client is None or not is_signed(client.public_jwk, text, bytes.fromhex(batch.signature)):
            raise ProblemError("CLIENT_FORBIDDEN", "the head of the journal is not signed by this terminal")

    async def _owners(self, batch: RecordBatch) -> set[str]:
        """The caller, and what it was registered as when it began the journal before this one."""
        before = None if batch.follows is None else await self._rows.owner(batch.follows)
        return {self._unit.caller.client_id} | ({before} if before else set())

    async def _journal(self, batch: RecordBatch, *, is_new: bool) -> TerminalJournalRow | None:
        """Locked, so that two batches of one journal come one after the other."""
        unit = self._unit
        fresh = {
            "id": batch.journal_id,
            "client_id": unit.caller.client_id,
            "region": unit.caller.region,
            "follows": batch.follows,
            "reason": batch.reason,
            "carried": None if batch.carried is None else [list(span) for span in batch.carried],
            "head_sequence": 0,
            "head_hash": genesis(batch.journal_id),
            "head_signature": bytes.fromhex(batch.signature),
            "told_sequence": 0,
            "clock_error_ms": 0,
            "began_at": unit.now,
            "heard_at": unit.now,
        }
        row = await self._rows.journal(batch.journal_id, fresh if is_new else None)
        if row is not None and row.client_id != unit.caller.client_id:
            raise ProblemError("CLIENT_FORBIDDEN", "this journal is another terminal's")
        return row

    def _demand_chain(self, batch: RecordBatch, hashes: Mapping[int, bytes]) -> None:
        first = batch.records[0].sequence
        before = genesis(batch.journal_id) if first == 1 else hashes.get(first - 1)
        if before is None:
            raise ProblemError("JOURNAL_FORKED", f"record {first - 1} is not in the books any more")
        digest = before
        for sent in batch.records:
            digest = chained(digest, sent.sequence, sent.body)
            wanted = hashes.get(sent.sequence, digest)
            is_same = hmac.compare_digest(digest, bytes.fromhex(sent.hash)) and hmac.compare_digest(digest, wanted)
            if not is_same:
                raise ProblemError("JOURNAL_FORKED", f"record {sent.sequence} does not follow from those before it")

    async def _store(self, row: TerminalJournalRow, batch: RecordBatch, taken: list[Taken]) -> None:
        unit, last = self._unit, taken[-1].sent
        await insert_all(unit.session, TerminalRecordRow, [self._record(batch, one) for one in taken])
        await self._hand_on(batch.journal_id, taken)
        row.head_sequence, row.head_hash = last.sequence, bytes.fromhex(last.hash)
        row.head_signature = bytes.fromhex(batch.signature)
        refused = sum(one.failure is not None for one in taken)
        detail = {"journal": row.id, "first": taken[0].sent.sequence, "last": last.sequence, "refused": refused}
        await unit.audit("terminal.records", f"terminal:{row.client_id}", region=row.region, detail=detail)

    async def _lock(self, kind: str, name: str) -> None:
        """Until the end of the transaction: what is looked up before it is stored is true when it is."""
        await lock_name(self._unit.session, default_engine().sm3(f"terminal records\n{kind}\n{name}".encode()))

    # -- the records --------------------------------------------------------------------------------------------

    async def _opened(self, batch: RecordBatch, new: list[SentRecord], owners: set[str]) -> list[Taken]:
        """Read and judged; one that cannot be used is kept like any other and says why."""
        taken = [self._read(batch, sent) for sent in new]
        keys = [one.body.key for one in taken if one.body is not None]
        purchases = [_transaction(one.payload) for one in taken if isinstance(one.payload, PurchaseRecord)]
        for kind, name in sorted({("psam", terminal) for terminal, _, _ in purchases} | names_of(taken)):
            await self._lock(kind, name)
        books = _Books(await self._rows.by_key(owners, keys), await self._rows.settled(purchases))
        seen: set[str] = set()
        for one in taken:
            if one.body is not None:
                _judge(one, one.body, books, seen)
        await self._prove([one for one in taken if not one.is_repeated])
        await self._journeys.judge(taken)
        return taken

    async def _prove(self, taken: list[Taken]) -> None:
        settled = [(one, one.payload) for one in taken if isinstance(one.payload, PurchaseRecord)]
        chips = await self._rows.chips({_card(purchase) for _, purchase in settled})
        verdicts = await PurchaseTacs(self._unit.services, chips).verdicts([purchase for _, purchase in settled])
        for (one, _), verdict in zip(settled, verdicts, strict=True):
            one.verdict = verdict
            if verdict is Verdict.WRONG:
                one.refuse("SECURE_MESSAGING_FAILED", "the TAC is not this card's")

    def _read(self, batch: RecordBatch, sent: SentRecord) -> Taken:
        now = self._unit.now
        try:
            body = RecordBody.from_text(sent.body)
        except RecordInvalidError as error:
            return Taken(sent, now, failure=error.failure, detail=str(error))
        taken = Taken(sent, _moment(body, batch, now), body)
        try:
            taken.payload = body.opened()
        except RecordInvalidError as error:
            taken.refuse(error.failure, str(error))
        return taken

    def _record(self, batch: RecordBatch, one: Taken) -> dict[str, Any]:
        unit, body = self._unit, one.body
        return {
            "journal_id": batch.journal_id,
            "sequence": one.sent.sequence,
            "client_id": unit.caller.client_id,
            "region": unit.caller.region,
            "day": china_date(one.at),
            "kind": UNREADABLE if body is None else body.kind,
            "key": None if body is None or one.is_repeated else body.key,
            "at": one.at,
            "received_at": unit.now,
            "hash": bytes.fromhex(one.sent.hash),
            "body": one.sent.body,
            "failure": one.failure,
            "detail": one.detail,
        }

    # -- who needs them -----------------------------------------------------------------------------------------

    async def _hand_on(self, journal_id: str, taken: list[Taken]) -> None:
        """Card uses to the trail of their card, purchases to the takings, what transit terminals tell to the journeys;
        the other kinds are told of by the books."""
        usable = [one for one in taken if one.payload is not None and not one.is_repeated]
        uses = [(one, one.payload) for one in usable if isinstance(one.payload, CardUse)]
        cards = await self._rows.our_cards({_card(use) for _, use in uses})
        own = {"journal_id": journal_id, "client_id": self._unit.caller.client_id}
        rows = [
            own
            | {"sequence": one.sent.sequence, "card_number": use.card_number, "region": cards[_card(use)]}
            | {"act": use.act, "at": one.at}
            for one, use in uses
            if _card(use) in cards
        ]
        await insert_all(self._unit.session, CardUseRow, rows)
        takings = [
            own
            | {"sequence": one.sent.sequence, "region": self._unit.caller.region, "day": one.payload.day}
            | one.payload.model_dump()
            | {"verdict": one.verdict}
            for one in usable
            if isinstance(one.payload, PurchaseRecord)
        ]
        await insert_all(self._unit.session, TakingRow, takings)
        await self._journeys.book(journal_id, usable)


def _judge(one: Taken, body: RecordBody, books: _Books, seen: set[str]) -> None:
    before = books.records.get(body.key)
    if before is not None or body.key in seen:
        one.is_repeated = True
        if before is None or (before.body is not None and not _is_same(before.body, body)):
            one.refuse(_CONFLICT, "another record has this key")
        elif before.failure is not None:
            one.refuse(before.failure, before.detail or "")
    elif isinstance(one.payload, PurchaseRecord):
        transaction = _transaction(one.payload)
        if transaction in books.settled:
            one.refuse(_CONFLICT, "this settlement is in the books already")
        books.settled.add(transaction)
    seen.add(body.key)


def _is_same(before: str, body: RecordBody) -> bool:
    """Told again by a journal that was lost meanwhile: when it was written down may be another moment."""
    known = RecordBody.from_text(before)
    return (known.kind, known.payload) == (body.kind, body.payload)


def _moment(body: RecordBody, batch: RecordBatch, now: datetime) -> datetime:
    """When it happened. Of the start that still runs the terminal counts the time itself, whatever its clock says; of
    an earlier one there is its clock alone, which is not believed about the future or the time before computers."""
    if body.boot == batch.boot and body.up_ms <= batch.up_ms:
        return now - timedelta(milliseconds=min(batch.up_ms - body.up_ms, _LONGEST_MS))
    return max(min(body.at, now), _EARLIEST)


def _transaction(purchase: PurchaseRecord) -> tuple[str, str, str]:
    return purchase.terminal, purchase.number, purchase.time


def _card(use: CardUse | PurchaseRecord) -> Card:
    return use.card_number, use.identification_code
