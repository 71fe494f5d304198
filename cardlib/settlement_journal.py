"""What a terminal must not forget of the medical account: each transaction begun, and what became of it.

One file of JSON lines, safe for several threads and processes. A line is on disk before the call that writes it
returns; the file is read anew each time, so that nothing in memory can differ from it. A line that cannot be read is
moved to `<name>.damaged` and counted, and never keeps a terminal from working.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from cardlib.codec import CodecError
from cardlib.medical import MedicalAccount, PendingTransaction, Receipt, TransactionUnresolvedError
from cardlib.session import SocialSecurityCard
from hsm.transactions import TransactionKeys

KEEP_ENDED: Final = 1000
"""Ended transactions that stay readable; older ones go at the next compaction, once the centre knows of them."""
_COMPACT_LINES: Final = 4 * KEEP_ENDED
LOGGER = logging.getLogger("cardlib.settlements")


class Outcome(StrEnum):
    """OPEN: not known yet. DONE: with the TAC. LOGGED: done by the card's log, without TAC. VOID: it did not happen.
    UNRESOLVED: the card cannot tell any more; the centre's books decide."""

    OPEN = "open"
    DONE = "done"
    LOGGED = "logged"
    VOID = "void"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction. Times ISO 8601 UTC. `is_centres`: numbered by the centre, which is to be told its outcome;
    `refusal` is the failure code with which the centre would not take it."""

    id: str
    begun_at: str
    pending: PendingTransaction
    is_centres: bool = False
    outcome: Outcome = Outcome.OPEN
    ended_at: str = ""
    mac2: bytes = b""
    tac: bytes = b""
    is_reported: bool = False
    refusal: str = ""

    @property
    def awaits_report(self) -> bool:
        return self.is_centres and self.outcome is not Outcome.OPEN and not self.is_reported

    @property
    def awaits_record(self) -> bool:
        """A settlement that the terminal numbered itself."""
        is_over = self.outcome is not Outcome.OPEN and self.pending.is_settlement
        return is_over and not self.is_centres and not self.is_reported

    def lines(self) -> list[dict[str, Any]]:
        begin = {"act": "begin", "id": self.id, "at": self.begun_at, "is_centres": self.is_centres}
        found: list[dict[str, Any]] = [begin | {"pending": self.pending.to_json()}]
        if self.outcome is not Outcome.OPEN:
            end = {"act": "end", "id": self.id, "at": self.ended_at, "outcome": self.outcome.value}
            found.append(end | {"mac2": self.mac2.hex().upper(), "tac": self.tac.hex().upper()})
        if self.is_reported:
            found.append({"act": "report", "id": self.id, "refusal": self.refusal})
        return found


class SettlementJournal:
    """Files are made with mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._damaged = path.with_name(path.name + ".damaged")
        self._thread_lock = threading.Lock()

    def begin(self, pending: PendingTransaction, *, is_centres: bool = False) -> str:
        """On disk when this returns; only then may the card be told to move money. The entry's id."""
        entry = Entry(secrets.token_hex(8), _now(), pending, is_centres)
        self._append(entry.lines())
        return entry.id

    def end(self, entry_id: str, outcome: Outcome, *, mac2: bytes = b"", tac: bytes = b"") -> None:
        line = {"act": "end", "id": entry_id, "at": _now(), "outcome": outcome.value}
        self._append([line | {"mac2": mac2.hex().upper(), "tac": tac.hex().upper()}])

    def reported(self, entry_id: str, refusal: str = "") -> None:
        """The centre knows, or will not hear of it for the reason `refusal`."""
        self._append([{"act": "report", "id": entry_id, "refusal": refusal}])

    def entries(self) -> list[Entry]:
        """Oldest first."""
        with self._locked():
            return self._read()

    def open_of(self, identification_code: str, card_number: str) -> list[Entry]:
        """Transactions of this card whose end is not known, oldest first."""
        wanted = identification_code, card_number
        return [
            entry
            for entry in self.entries()
            if entry.outcome is Outcome.OPEN
            and (entry.pending.identification_code, entry.pending.card_number) == wanted
        ]

    def damaged_lines(self) -> int:
        """How many lines were put aside because they could not be read."""
        with self._locked():
            return self._damaged.read_bytes().count(b"\n") if self._damaged.exists() else 0

    def _append(self, lines: list[dict[str, Any]]) -> None:
        raw = b"".join(json.dumps(line).encode("ascii") + b"\n" for line in lines)
        with self._locked():
            self._write(self._path, raw)

    def _write(self, path: Path, raw: bytes) -> None:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                # A line that power cut short must not swallow the next one.
                raw = raw if file.read(1) == b"\n" else b"\n" + raw
            while raw:
                raw = raw[file.write(raw) :]
            os.fsync(file.fileno())

    def _read(self) -> list[Entry]:
        if not self._path.exists():
            return []
        entries: dict[str, Entry] = {}
        damaged = []
        lines = self._path.read_bytes().splitlines()
        for line in filter(None, lines):
            try:
                _apply(entries, json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError, CodecError):
                damaged.append(line)
        if damaged or len(lines) > _COMPACT_LINES:
            self._compact(list(entries.values()), damaged)
        return list(entries.values())

    def _compact(self, entries: list[Entry], damaged: list[bytes]) -> None:
        """The same without damaged lines and without old ended transactions: old file or new one, never a mixture."""
        if damaged:
            LOGGER.error("%s: %d lines cannot be read; kept in %s", self._path.name, len(damaged), self._damaged.name)
            self._write(self._damaged, b"".join(line + b"\n" for line in damaged))
        over = [e for e in entries if e.outcome is not Outcome.OPEN and not e.awaits_report]
        dropped = {entry.id for entry in over[:-KEEP_ENDED]}
        kept = [line for entry in entries if entry.id not in dropped for line in entry.lines()]
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name, suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(b"".join(json.dumps(line).encode("ascii") + b"\n" for line in kept))
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(self._path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The lock has a file of its own, as compaction replaces the journal's."""
        path = self._path.with_name(self._path.name + ".lock")
        with self._thread_lock, os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@dataclass(slots=True)
class Slip:
    """A `Journal` for one transaction after the other: remembers which entry is under way."""

    journal: SettlementJournal
    is_centres: bool = False
    entry_id: str = ""

    def __call__(self, pending: PendingTransaction) -> None:
        self.entry_id = self.journal.begin(pending, is_centres=self.is_centres)

    def end(self, *, mac2: bytes = b"", tac: bytes = b"") -> None:
        """The card carried it out."""
        entry_id, self.entry_id = self.entry_id, ""
        self.journal.end(entry_id, Outcome.DONE, mac2=mac2, tac=tac)


def resolve(
    journal: SettlementJournal, card: SocialSecurityCard, keys: TransactionKeys | None = None
) -> list[tuple[Entry, Receipt | None]]:
    """Ask an open card what became of each interrupted transaction, and write it down; the entries now ended.

    A transaction that did not happen shows only once the PIN is verified, where the holder has one: until then
    AccessDeniedError, and the entry stays open. Raises as `MedicalAccount.recover` otherwise.
    """
    ended = []
    for entry in journal.open_of(card.identification_code, card.card_number):
        receipt: Receipt | None = None
        try:
            receipt = MedicalAccount(card).recover(entry.pending, keys)
            outcome = Outcome.VOID if receipt is None else Outcome.LOGGED if receipt.is_from_log else Outcome.DONE
        except TransactionUnresolvedError:
            outcome = Outcome.UNRESOLVED
        mac2, tac = (b"", b"") if receipt is None else (receipt.mac2, receipt.tac)
        journal.end(entry.id, outcome, mac2=mac2, tac=tac)
        LOGGER.info("interrupted transaction %s of %s: %s", entry.id, entry.begun_at, outcome.value)
        ended.append((replace(entry, outcome=outcome, mac2=mac2, tac=tac), receipt))
    return ended


def _apply(entries: dict[str, Entry], line: dict[str, Any]) -> None:
    """Raises one of what `_read` catches for a line that is not the journal's."""
    act, entry_id = line["act"], line["id"]
    if act == "begin":
        if not isinstance(entry_id, str) or entry_id in entries:
            raise ValueError("an id is a text, and given once")
        pending = PendingTransaction.from_json(line["pending"])
        entries[entry_id] = Entry(entry_id, str(line["at"]), pending, bool(line["is_centres"]))
        return
    entry = entries[entry_id]
    if act == "end":
        outcome, codes = Outcome(line["outcome"]), (bytes.fromhex(line["mac2"]), bytes.fromhex(line["tac"]))
        entries[entry_id] = replace(entry, outcome=outcome, ended_at=str(line["at"]), mac2=codes[0], tac=codes[1])
    elif act == "report":
        entries[entry_id] = replace(entry, is_reported=True, refusal=str(line["refusal"]))
    else:
        raise ValueError("no such act")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
