"""What a transit terminal must not forget: transactions begun and receipts, in one file that survives a power cut.

A transaction is written down before the one command that moves money (transit_card.md §8). One terminal, one journal;
not for several threads.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

TYPE_LOAD, TYPE_PURCHASE, TYPE_OVERDRAFT, TYPE_COMPOSITE = 0x02, 0x06, 0x07, 0x09


class JournalError(Exception):
    """The journal cannot be read back; it is not overwritten."""

    failure: ClassVar[str] = "INTERNAL"


@dataclass(frozen=True, slots=True)
class Pending:
    """A transaction begun. `sequence` is the counter INIT showed; bytes are kept as hex.

    `reference` is the caller's own number of the sale: the same sale is never charged twice. `limit_fen` is the
    overdraft limit before; `amount_fen` of a change of that limit is the new one.
    """

    reference: str
    kind: int
    issuer: str
    serial: str
    sequence: int
    amount_fen: int
    balance_fen: int
    terminal: str
    terminal_sequence: str
    moment: str
    key_index: int
    key_version: int
    algorithm: int
    random: str
    mac1: str
    limit_fen: int = 0

    @property
    def is_online(self) -> bool:
        """Whether the operator's host has a part in it: a load or another overdraft limit."""
        return self.kind in (TYPE_LOAD, TYPE_OVERDRAFT)

    @property
    def number(self) -> int:
        """What the card counts the transaction as, in its log and its proof (OPEN X5)."""
        return self.sequence + 1


@dataclass(frozen=True, slots=True)
class Receipt:
    """A transaction the card carried out, as it goes to clearing.

    `tac` is empty where only the card's log told of it. `is_verified` None: MAC2 could not be checked any more, and
    the TAC decides at clearing; False: the card answered with a wrong MAC2, a suspicious record (可疑).
    """

    transaction: Pending
    tac: str
    is_verified: bool | None
    is_recovered: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Receipt:
        """Raises KeyError or TypeError for anything `to_json` did not write."""
        return cls(**data | {"transaction": Pending(**data["transaction"])})


class TransitJournal:
    """Append-only lines of JSON; with `path` None it lives in memory only, for tests and dry runs."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._pending: dict[tuple[str, bool], Pending] = {}
        self._receipts: list[Receipt] = []
        if path is not None and path.exists():
            self._read(path)

    @property
    def receipts(self) -> list[Receipt]:
        """Oldest first."""
        return list(self._receipts)

    @property
    def unresolved(self) -> list[Pending]:
        """Transactions of purses that have not come back: suspicious (可疑) after the terminal's own time-out."""
        return list(self._pending.values())

    def pending(self, serial: str, *, is_online: bool = False) -> Pending | None:
        """The transaction of this purse whose end is not known."""
        return self._pending.get((serial, is_online))

    def receipt(self, reference: str) -> Receipt | None:
        """What became of a sale that was finished."""
        return next((r for r in self._receipts if r.transaction.reference == reference), None)

    def begin(self, pending: Pending) -> None:
        """On disk when this returns; only then may the card be told to pay."""
        self._write("begin", asdict(pending))

    def void(self, pending: Pending) -> None:
        """The card did not carry it out."""
        self._write("void", asdict(pending))

    def finish(self, receipt: Receipt) -> None:
        self._write("finish", receipt.to_json())

    def _write(self, act: str, data: dict[str, Any]) -> None:
        if self._path is not None:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps({"act": act, "data": data}) + "\n")
                file.flush()
                os.fsync(file.fileno())
        self._apply(act, data)

    def _apply(self, act: str, data: dict[str, Any]) -> None:
        if act == "finish":
            receipt = Receipt.from_json(data)
            self._receipts.append(receipt)
            pending = receipt.transaction
        else:
            pending = Pending(**data)
        key = pending.serial, pending.is_online
        if act == "begin":
            self._pending[key] = pending
        else:
            self._pending.pop(key, None)

    def _read(self, path: Path) -> None:
        """A last line that power cut short was never acted upon: it is taken away. Raises JournalError for others."""
        raw = path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) != len(raw):
            os.truncate(path, len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                entry = json.loads(line)
                self._apply(entry["act"], entry["data"])
            except (ValueError, KeyError, TypeError) as error:
                raise JournalError(f"{path.name}: line {number} is not a journal entry") from error
