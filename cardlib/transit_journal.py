"""What a transit terminal must not forget: transactions begun and receipts, in one file that survives a power cut.

A transaction is written down before the one command that moves money (transit_card.md §8); only that write waits for
the disk. What is lost of the later ones with the power, the purse itself tells again. One terminal, one journal; not
for several threads.

A terminal that hands its sales on gives them a `note`. They wait in `outbox` until `deliver`ed, and leave the file when
it is written anew; sales without a note stay as `receipts`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final

TYPE_LOAD, TYPE_PURCHASE, TYPE_OVERDRAFT, TYPE_COMPOSITE = 0x02, 0x06, 0x07, 0x09
COMPACT_LINES: Final = 4096
"""Lines of a file before it is written anew without what was delivered."""


class JournalError(Exception):
    """The journal cannot be read back; it is not overwritten."""

    failure: ClassVar[str] = "INTERNAL"


@dataclass(frozen=True, slots=True)
class Pending:
    """A transaction begun. `sequence` is the counter INIT showed; bytes are kept as hex.

    `reference` is the caller's own number of the sale: the same sale is never charged twice. `limit_fen` is the
    overdraft limit before; `amount_fen` of a change of that limit is the new one. `note` is the terminal's own, plain
    JSON: what it must know of the sale when it hands it on.
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
    note: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

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
        return {name: getattr(self, name) for name in self.__slots__} | {"transaction": self.transaction.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Receipt:
        """Raises KeyError or TypeError for anything `to_json` did not write."""
        return cls(**data | {"transaction": Pending(**data["transaction"])})


class Outcome(StrEnum):
    """What became of a sale. SUSPICIOUS (可疑): nobody here knows, or MAC2 was wrong; clearing decides."""

    PAID = "paid"
    RECOVERED = "recovered"
    SUSPICIOUS = "suspicious"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class Settled:
    """Something to be handed on: a sale may come as SUSPICIOUS first and as RECOVERED or VOID later."""

    outcome: Outcome
    receipt: Receipt

    @classmethod
    def of(cls, receipt: Receipt) -> Settled:
        if receipt.is_verified is False:
            return cls(Outcome.SUSPICIOUS, receipt)
        return cls(Outcome.RECOVERED if receipt.is_recovered else Outcome.PAID, receipt)

    @property
    def key(self) -> str:
        """32 hex digits, the same whenever the same thing is told."""
        sale = self.receipt.transaction
        name = f"{sale.terminal} {sale.terminal_sequence} {sale.serial} {sale.sequence} {self.outcome}"
        return hashlib.sha256(name.encode()).hexdigest()[:32]


_Purse = tuple[str, bool]


class TransitJournal:
    """Append-only lines of JSON; with `path` None it lives in memory only, for tests and dry runs."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lines = 0
        self._pending: dict[_Purse, Pending] = {}
        self._doubted: set[_Purse] = set()
        self._receipts: dict[str, Receipt] = {}
        self._outbox: dict[str, Settled] = {}
        self._newest = ""
        self._last_serial = ""
        if path is not None and path.exists():
            self._read(path)

    @classmethod
    def delivered_in(cls, path: Path) -> list[Settled]:
        """What was handed on since the file was last written anew, oldest first. Raises JournalError."""
        journal, found = cls(), dict[str, Settled]()
        if path.exists():
            journal._read(path, lambda settled: found.setdefault(settled.key, settled))
        return list(found.values())

    @property
    def receipts(self) -> list[Receipt]:
        """Of sales without a note, oldest first."""
        return list(self._receipts.values())

    @property
    def outbox(self) -> list[Settled]:
        """What became of sales with a note and was not delivered yet, oldest first."""
        return list(self._outbox.values())

    @property
    def unresolved(self) -> list[Pending]:
        """Transactions of purses that have not come back: suspicious (可疑) after the terminal's own time-out."""
        return list(self._pending.values())

    @property
    def newest_moment(self) -> str:
        """Latest time of any purchase, fourteen digits; empty before the first. A clock behind it was set back."""
        return self._newest

    @property
    def last_serial(self) -> str:
        """Whose purchase was booked last; empty before the first."""
        return self._last_serial

    def pending(self, serial: str, *, is_online: bool = False) -> Pending | None:
        """The transaction of this purse whose end is not known."""
        return self._pending.get((serial, is_online))

    def is_doubted(self, pending: Pending) -> bool:
        """Whether it was told as suspicious."""
        return _purse(pending) in self._doubted

    def receipt(self, reference: str) -> Receipt | None:
        """What became of a sale without a note that was finished."""
        return self._receipts.get(reference)

    def begin(self, pending: Pending) -> None:
        """On disk when this returns; only then may the card be told to pay."""
        self._write("begin", pending.to_json(), is_urgent=True)

    def void(self, pending: Pending) -> None:
        """The card did not carry it out."""
        self._write("void", pending.to_json())

    def finish(self, receipt: Receipt) -> None:
        """Again for the same sale when MAC2 was looked at later."""
        self._write("finish", receipt.to_json())

    def doubt(self, pending: Pending) -> None:
        """To be told as suspicious; the purse may still come back."""
        self._write("doubt", pending.to_json())

    def drop(self, pending: Pending) -> None:
        """No longer waited for: the purse cannot tell any more, or others need the place."""
        self._write("drop", pending.to_json())

    def deliver(self, key: str) -> None:
        """Whoever it was for has it safely."""
        if key in self._outbox:
            self._write("deliver", {"key": key})
            if self._path is not None and self._lines > COMPACT_LINES > 4 * self._live:
                self._compact(self._path)

    def set_clock(self, moment: str) -> None:
        """The clock is known to be right now: a later time seen before was wrong."""
        self._write("clock", {"moment": moment})

    @property
    def _live(self) -> int:
        return len(self._pending) + len(self._receipts) + len(self._outbox)

    def _write(self, act: str, data: dict[str, Any], *, is_urgent: bool = False) -> None:
        if self._path is not None:
            append_text(self._path, _line(act, data), is_urgent=is_urgent)
        self._apply(act, data)

    def _apply(self, act: str, data: dict[str, Any]) -> None:
        self._lines += 1
        match act:
            case "finish":
                receipt = Receipt.from_json(data)
                if not receipt.transaction.is_online:
                    self._last_serial = receipt.transaction.serial
                self._settle(Settled.of(receipt))
            case "told":
                settled = Settled(Outcome(data["outcome"]), Receipt.from_json(data["receipt"]))
                self._outbox[settled.key] = settled
            case "deliver":
                self._outbox.pop(data["key"], None)
            case "clock":
                self._newest = str(data["moment"])
                self._last_serial = str(data.get("last", self._last_serial))
            case _:
                self._apply_pending(act, Pending(**data))

    def _apply_pending(self, act: str, pending: Pending) -> None:
        purse, receipt = _purse(pending), Receipt(pending, "", None)
        match act:
            case "begin":
                self._pending[purse] = pending
                self._doubted.discard(purse)
                if not pending.is_online:
                    self._newest = max(self._newest, pending.moment)
            case "void":
                self._settle(Settled(Outcome.VOID, receipt))
            case "doubt":
                self._doubted.add(purse)
                if pending.note:
                    settled = Settled(Outcome.SUSPICIOUS, receipt)
                    self._outbox[settled.key] = settled
            case "doubted":
                self._doubted.add(purse)
            case "drop":
                self._close(purse)
            case _:
                raise ValueError(f"no act {act}")

    def _settle(self, settled: Settled) -> None:
        sale = settled.receipt.transaction
        self._close(_purse(sale))
        if sale.note:
            # A MAC2 found wrong after the sale was written as paid takes that back.
            self._outbox.pop(Settled(Outcome.PAID, settled.receipt).key, None)
            self._outbox[settled.key] = settled
        elif settled.outcome is not Outcome.VOID:
            self._receipts[sale.reference] = settled.receipt

    def _close(self, purse: _Purse) -> None:
        self._pending.pop(purse, None)
        self._doubted.discard(purse)

    def _read(self, path: Path, on_delivered: Callable[[Settled], object] = lambda _: None) -> None:
        """Raises JournalError."""
        for number, line in enumerate(whole_lines(path), start=1):
            try:
                entry = json.loads(line)
                if entry["act"] == "deliver" and (settled := self._outbox.get(entry["data"]["key"])):
                    on_delivered(settled)
                self._apply(entry["act"], entry["data"])
            except (ValueError, KeyError, TypeError) as error:
                raise JournalError(f"{path.name}: line {number} is not a journal entry") from error

    def _compact(self, path: Path) -> None:
        """The file anew with what still counts: whole on disk before it takes the old one's place."""
        lines = [_line("clock", {"moment": self._newest, "last": self._last_serial})]
        lines += [_line("finish", receipt.to_json()) for receipt in self._receipts.values()]
        for purse, pending in self._pending.items():
            lines.append(_line("begin", pending.to_json()))
            if purse in self._doubted:
                lines.append(_line("doubted", pending.to_json()))
        lines += [
            _line("told", {"outcome": settled.outcome, "receipt": settled.receipt.to_json()})
            for settled in self._outbox.values()
        ]
        fresh = path.with_name(path.name + ".new")
        fresh.unlink(missing_ok=True)
        append_text(fresh, "".join(lines), is_urgent=True)
        fresh.replace(path)
        if os.name == "posix":  # else a power cut could bring the old file back, without the taps begun since
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        self._lines = len(lines)


def _purse(pending: Pending) -> _Purse:
    return pending.serial, pending.is_online


def _line(act: str, data: dict[str, Any]) -> str:
    return json.dumps({"act": act, "data": data}, separators=(",", ":")) + "\n"


def whole_lines(path: Path) -> list[bytes]:
    """A last line that power cut short was never acted upon: it is taken away."""
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if len(whole) != len(raw):
        os.truncate(path, len(whole))
    return whole.splitlines()


def append_text(path: Path, text: str, *, is_urgent: bool) -> None:
    """All of it or none; `is_urgent`: on disk when this returns. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        raw, before = text.encode(), os.fstat(descriptor).st_size
        if os.write(descriptor, raw) != len(raw):
            os.ftruncate(descriptor, before)  # half a line in the middle could never be read back
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if is_urgent:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
