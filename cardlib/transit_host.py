"""Who lets a purse be loaded: the operator's host, here over a key service and a ledger in one file.

The host sets money aside before it gives its leave, books it on the purse's TAC, and frees it when the purse was not
credited. It decides once per (purse, online number): asked again, it gives the same answer.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Protocol

from cardlib.errors import CardNotGenuineError
from cardlib.money import yuan
from cardlib.transit_journal import TYPE_LOAD, JournalError, Pending, append_text, whole_lines
from cardlib.transit_keys import TransitKeys
from cardlib.transit_records import encode_moment
from hsm.transactions import CryptogramError

BALANCE_MAX_FEN = 100000
"""Most that a purse may hold after a load (a product parameter, §9)."""


class LoadAuthority(Protocol):
    """The operator's host. Every method may be called again for the same transaction and then changes nothing more."""

    def approve(self, load: Pending) -> tuple[bytes, bytes]:
        """Check MAC1 and set the money aside; date and time (7 bytes BCD) and MAC2. Raises to refuse; the load then
        stays open in the journal, and is reversed when the purse is seen again."""
        ...

    def confirm(self, load: Pending, tac: bytes) -> None:
        """The purse was changed: book it. `tac` is empty where only the purse's log could tell."""
        ...

    def reverse(self, load: Pending) -> None:
        """The purse was not changed: free the money. A load that was never approved has none."""
        ...


class LoadRefusedError(Exception):
    """The host does not allow this load: it decided otherwise before."""

    failure: ClassVar[str] = "CARD_STATE"


class LoadTooLargeError(LoadRefusedError):
    """The purse would hold more than it may."""

    failure: ClassVar[str] = "INPUT_INVALID"


class LoadState(StrEnum):
    APPROVED = "approved"
    BOOKED = "booked"
    REVERSED = "reversed"


@dataclass(slots=True)
class LoadEntry:
    """What the host decided on one online number of one purse."""

    kind: int
    amount_fen: int
    random: str
    moment: str
    state: LoadState


class LoadLedger:
    """Append-only lines of JSON, each on disk before its method returns; in memory only with `path` None."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._entries: dict[tuple[str, int], LoadEntry] = {}
        if path is not None and path.exists():
            self._read(path)

    def find(self, load: Pending) -> LoadEntry | None:
        return self._entries.get((load.serial, load.sequence))

    def total(self, state: LoadState) -> int:
        """Fen of all loads in this state."""
        return sum(e.amount_fen for e in self._entries.values() if e.kind == TYPE_LOAD and e.state is state)

    def put(self, load: Pending, state: LoadState, moment: str) -> None:
        line: list[str | int] = [load.serial, load.sequence, load.kind, load.amount_fen, load.random, moment, state]
        if self._path is not None:
            append_text(self._path, json.dumps(line) + "\n", is_urgent=True)
        self._apply(line)

    def _apply(self, line: list[str | int]) -> None:
        serial, sequence, kind, amount, random, moment, state = line
        entry = LoadEntry(int(kind), int(amount), str(random), str(moment), LoadState(str(state)))
        self._entries[str(serial), int(sequence)] = entry

    def _read(self, path: Path) -> None:
        """Raises JournalError."""
        for number, line in enumerate(whole_lines(path), start=1):
            try:
                self._apply(json.loads(line))
            except (ValueError, TypeError) as error:
                raise JournalError(f"{path.name}: line {number} is no ledger entry") from error


class KeyLoadHost(LoadAuthority):
    """A host in this process: `keys` compute, `ledger` remembers, `clock` is its own time."""

    def __init__(
        self,
        keys: TransitKeys,
        ledger: LoadLedger,
        *,
        balance_max_fen: int = BALANCE_MAX_FEN,
        clock: Callable[[], datetime.datetime] = datetime.datetime.now,
    ) -> None:
        self._keys = keys
        self._ledger = ledger
        self._balance_max_fen = balance_max_fen
        self._clock = clock

    def approve(self, load: Pending) -> tuple[bytes, bytes]:
        """Raises CardNotGenuineError for a wrong MAC1, LoadRefusedError."""
        if load.kind == TYPE_LOAD and load.balance_fen + load.amount_fen > self._balance_max_fen:
            raise LoadTooLargeError(f"a purse may hold {yuan(self._balance_max_fen)} yuan at most")
        known = self._ledger.find(load)
        if known is not None and known.state is LoadState.BOOKED:
            raise LoadRefusedError("this online number of the purse is booked already")
        # The same request gets the same answer; a new one under this number shows that the former was not carried out.
        moment = encode_moment(self._clock())
        if known is not None and known.random == load.random:
            if known.state is LoadState.REVERSED:
                raise LoadRefusedError("this load has been reversed")
            moment = bytes.fromhex(known.moment)
        try:
            mac2 = self._keys.online_mac2(load, moment)
        except CryptogramError as error:
            raise CardNotGenuineError("MAC1 of the purse is wrong") from error
        self._ledger.put(load, LoadState.APPROVED, moment.hex())
        return moment, mac2

    def confirm(self, load: Pending, tac: bytes) -> None:
        """Raises CardNotGenuineError for a wrong TAC; the money then stays set aside for clearing to decide."""
        entry = self._ledger.find(load)
        if entry is None or entry.state is LoadState.REVERSED:
            raise LoadRefusedError("this load was never approved here, or has been reversed")
        if tac:
            try:
                self._keys.check_tac(load, bytes.fromhex(entry.moment), tac)
            except CryptogramError as error:
                raise CardNotGenuineError("TAC of the purse is wrong") from error
        if entry.state is LoadState.APPROVED:
            self._ledger.put(load, LoadState.BOOKED, entry.moment)

    def reverse(self, load: Pending) -> None:
        """Raises LoadRefusedError for a load that is booked."""
        entry = self._ledger.find(load)
        if entry is None or entry.state is LoadState.REVERSED:
            return
        if entry.state is LoadState.BOOKED:
            raise LoadRefusedError("a booked load is not reversed here")
        self._ledger.put(load, LoadState.REVERSED, entry.moment)
