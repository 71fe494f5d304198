"""The journal: one SQLite file of records in a chain of hashes (`cardlib.terminal_records`), each on disk before
`append` returns.

What a power cut leaves is a prefix of what was appended (WAL, synchronous=FULL). A file that cannot be read any more is
put aside, and what it still gives goes into a new journal, which the centre takes without doubling anything: a record
keeps its key. Nothing is held in memory that the file could contradict, so two agents on one folder do no harm.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

from cardlib.terminal_records import (
    MAX_BATCH_BYTES,
    MAX_RECORDS,
    Payload,
    RecordBody,
    RecordRefusal,
    SentRecord,
    chained,
    genesis,
    spans,
)
from terminal_agent.journal.damage import Kept, Remains, is_damage, readable, set_aside, whatever_is_left
from terminal_agent.problems import AgentError

NAME: Final = "journal.sqlite"
RESERVE: Final = "journal.reserve"
RESERVE_BYTES: Final = 256 * 1024
MONEY_SHARE: Final = 0.9
"""Of each limit: what is left above it is for what has happened already and must be written down."""
CLIENT_CHANGED: Final = "CLIENT_CHANGED"
DAMAGED: Final = "JOURNAL_DAMAGED"
_BUSY_S: Final = 5.0
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_SCHEMA: Final = """
CREATE TABLE journal (id TEXT NOT NULL, client TEXT, follows TEXT, reason TEXT, carried TEXT, begun_at TEXT NOT NULL,
                      acknowledged INTEGER NOT NULL);
CREATE TABLE records (sequence INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL UNIQUE, at TEXT NOT NULL,
                      body TEXT NOT NULL, hash BLOB NOT NULL, bytes_until INTEGER NOT NULL,
                      told_at TEXT, failure TEXT, detail TEXT);
CREATE INDEX records_aside ON records (sequence) WHERE failure IS NOT NULL;
PRAGMA user_version = 1;
"""
LOG = logging.getLogger("terminal_agent.journal")


class JournalFullError(AgentError):
    """Nothing more can be written down for the centre: what would have to be is not begun."""

    failure: ClassVar[str] = "JOURNAL_FULL"


@dataclass(frozen=True, slots=True)
class Limits:
    """Of what waits for the centre. `keep` is how long a record stays after the centre has it."""

    rows: int = 100_000
    bytes: int = 64 * 1024 * 1024
    age: timedelta = timedelta(hours=72)
    keep: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Standing:
    """`sequence` is the newest record, `acknowledged` the last that the centre has. `oldest_at`: of what waits.
    `carried`: as in `cardlib.terminal_records.RecordBatch`."""

    journal_id: str
    follows: str | None
    reason: str | None
    carried: tuple[tuple[int, int], ...] | None
    begun_at: datetime
    sequence: int
    acknowledged: int
    waiting_bytes: int
    oldest_at: datetime | None

    @property
    def waiting(self) -> int:
        return self.sequence - self.acknowledged


@dataclass(frozen=True, slots=True)
class Aside:
    """A record that the centre has and cannot use."""

    sequence: int
    kind: str
    at: datetime
    failure: str
    detail: str


class RecordJournal:
    """Any thread may call; a call takes a lock and waits for the disk. Files are made with mode 0600.

    `client` is what the centre knows this terminal as. A journal that was begun as another is begun anew with what that
    one had not sent, as the centre takes it from nobody else."""

    def __init__(
        self,
        folder: Path,
        limits: Limits | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        client: str | None = None,
    ) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._limits = limits or Limits()
        self._clock = clock
        self._client = client
        self._lock = threading.RLock()
        self.on_append: Callable[[], None] = lambda: None
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._connection = self._opened()
        self._keep_reserve()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # -- writing ------------------------------------------------------------------------------------------------

    def admit(self, *, is_money: bool = False) -> None:
        """Before something is done that has to be written down afterwards. Raises JournalFullError.

        Purchases stop being taken first, so that there is room for the end of those that are under way.
        """
        standing, share = self.standing(), MONEY_SHARE if is_money else 1.0
        if standing.waiting >= self._limits.rows * share or standing.waiting_bytes >= self._limits.bytes * share:
            raise JournalFullError(f"{standing.waiting} records wait for the centre")
        if is_money and standing.oldest_at and self._clock() - standing.oldest_at > self._limits.age:
            raise JournalFullError(f"records have been waiting for the centre since {standing.oldest_at.isoformat()}")
        if not self._keep_reserve():
            raise JournalFullError("no space is left on the disk")

    def append(self, payload: Payload, *, key: str | None = None) -> int:
        """On disk when it returns; the record's sequence. A `key` that is there already gives its record again.

        Raises JournalFullError when the disk does not take it, not even with the space that is held back for this.
        """
        body = RecordBody.of(payload, key=key or uuid.uuid4().hex, at=self._clock(), boot=boot_id(), up_ms=up_ms())
        with self._lock:
            try:
                sequence = self._insert(body)
            except (sqlite3.OperationalError, JournalFullError) as error:
                LOG.warning("the journal cannot be written (%s): the reserve is given up", error)
                with suppress(OSError):
                    (self._folder / RESERVE).unlink()
                try:
                    sequence = self._insert(body)
                except sqlite3.OperationalError as again:
                    raise JournalFullError(f"the journal cannot be written: {again}") from again
        self.on_append()
        return sequence

    def _insert(self, body: RecordBody) -> int:
        with self._transaction() as sql:
            known = sql.execute("SELECT sequence FROM records WHERE key = ?", (body.key,)).fetchone()
            if known is not None:
                return int(known[0])
            return _add(sql, body.kind, body.key, body.at.isoformat(), body.to_text())

    # -- to the centre ------------------------------------------------------------------------------------------

    def batch(self, most_rows: int = MAX_RECORDS, most_bytes: int = MAX_BATCH_BYTES) -> list[SentRecord]:
        """What the centre is to get next, in order; empty when it has all. At least one, however long."""
        found: list[SentRecord] = []
        size = 0
        with self._reading() as sql:
            rows = sql.execute(
                "SELECT sequence, hash, body FROM records WHERE sequence > (SELECT acknowledged FROM journal)"
                " ORDER BY sequence LIMIT ?",
                (most_rows,),
            )
            for sequence, digest, body in rows:
                size += len(body)
                if found and size > most_bytes:
                    break
                found.append(SentRecord(sequence=sequence, hash=digest.hex(), body=body))
        return found

    def acknowledge(
        self, sequence: int, refused: tuple[RecordRefusal, ...] = (), *, journal_id: str | None = None
    ) -> None:
        """The centre has everything up to `sequence`, which may be less than it once said: then it lost some.

        An answer about another `journal_id` changes nothing: this one was begun while that was under way. Raises
        ValueError for what is not in the journal, or gone from it.
        """
        now = self._clock().isoformat()
        with self._transaction() as sql:
            if journal_id not in (None, sql.execute("SELECT id FROM journal").fetchone()[0]):
                return
            first, last = _bounds(sql)
            if not max(0, first - 1) <= sequence <= last:
                raise ValueError(f"the centre has {sequence}, the journal {first} to {last}")
            sql.execute("UPDATE journal SET acknowledged = ?", (sequence,))
            sql.execute("UPDATE records SET told_at = ? WHERE told_at IS NULL AND sequence <= ?", (now, sequence))
            sql.executemany(
                "UPDATE records SET failure = ?, detail = ? WHERE sequence = ?",
                [(refusal.failure, refusal.detail, refusal.sequence) for refusal in refused],
            )

    def renew(self, reason: str) -> None:
        """Begin a new journal with all records that are kept: the centre and this one cannot go on from each other."""
        with self._transaction() as sql:
            self._renew(sql, reason)

    def _renew(self, sql: sqlite3.Connection, reason: str, *, after: int = 0) -> None:
        old, client = sql.execute("SELECT id, client FROM journal").fetchone()
        rows = sql.execute(
            "SELECT sequence, kind, key, at, body FROM records WHERE sequence > ? ORDER BY sequence", (after,)
        ).fetchall()
        sql.execute("DELETE FROM records")
        sql.execute("DELETE FROM journal")
        _begin(sql, self._clock(), self._client or client, old, reason, {row[0]: row[1:] for row in rows})
        LOG.error("the journal was begun anew: %s; %d records go with it", reason, len(rows))

    def trim(self) -> None:
        """Remove what the centre has had long enough; the newest record stays, as the next one is chained to it."""
        limit = (self._clock() - self._limits.keep).isoformat()
        with self._transaction() as sql:
            sql.execute(
                "DELETE FROM records WHERE told_at < ? AND sequence <= (SELECT acknowledged FROM journal)"
                " AND sequence < (SELECT max(sequence) FROM records)",
                (limit,),
            )

    # -- looking ------------------------------------------------------------------------------------------------

    def standing(self) -> Standing:
        with self._reading() as sql:
            journal_id, follows, reason, carried, begun, told = sql.execute(
                "SELECT id, follows, reason, carried, begun_at, acknowledged FROM journal"
            ).fetchone()
            last = sql.execute("SELECT sequence, bytes_until FROM records ORDER BY sequence DESC LIMIT 1").fetchone()
            next_ = sql.execute("SELECT at FROM records WHERE sequence = ?", (told + 1,)).fetchone()
            before = sql.execute("SELECT bytes_until FROM records WHERE sequence = ?", (told,)).fetchone()
        return Standing(
            journal_id=journal_id,
            follows=follows,
            reason=reason,
            carried=None if carried is None else tuple((first, last) for first, last in json.loads(carried)),
            begun_at=datetime.fromisoformat(begun),
            sequence=last[0] if last else 0,
            acknowledged=told,
            waiting_bytes=(last[1] if last else 0) - (before[0] if before else 0),
            oldest_at=datetime.fromisoformat(next_[0]) if next_ else None,
        )

    def waiting_kinds(self) -> dict[str, int]:
        with self._reading() as sql:
            return dict(
                sql.execute(
                    "SELECT kind, count(*) FROM records WHERE sequence > (SELECT acknowledged FROM journal)"
                    " GROUP BY kind ORDER BY kind"
                )
            )

    def has(self, key: str) -> bool:
        with self._reading() as sql:
            return sql.execute("SELECT 1 FROM records WHERE key = ?", (key,)).fetchone() is not None

    def bodies(self, kinds: Collection[str], since: datetime) -> list[str]:
        """Of records of these kinds, made since then by this terminal's clock; oldest first."""
        marks = ", ".join("?" * len(kinds))
        with self._reading() as sql:
            rows = sql.execute(
                f"SELECT body FROM records WHERE kind IN ({marks}) AND at >= ? ORDER BY sequence",  # noqa: S608 - marks
                (*kinds, since.astimezone(UTC).isoformat()),
            ).fetchall()
        return [row[0] for row in rows]

    def aside(self, limit: int = 100) -> list[Aside]:
        """The newest first."""
        with self._reading() as sql:
            rows = sql.execute(
                "SELECT sequence, kind, at, failure, detail FROM records WHERE failure IS NOT NULL"
                " ORDER BY sequence DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [Aside(row[0], row[1], datetime.fromisoformat(row[2]), row[3], row[4] or "") for row in rows]

    # -- the file -----------------------------------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._connected()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise JournalFullError(f"the journal cannot be opened: {error}") from error
            return self._begun_anew(error)

    def _begun_anew(self, error: sqlite3.Error) -> sqlite3.Connection:
        LOG.error("the journal cannot be read (%s): what it still gives goes into a new one", error)
        remains = whatever_is_left(self._path)
        set_aside(self._path)
        return self._connected(remains)

    def _connected(self, remains: Remains | None = None) -> sqlite3.Connection:
        wal = self._path.with_name(NAME + "-wal")
        was_cut_off = wal.exists() and wal.stat().st_size > 0
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        connection.text_factory = readable
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "trusted_schema = OFF"):
                connection.execute(f"PRAGMA {pragma}")
            if was_cut_off and connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("the check found damage")
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                found = (remains.journal_id, DAMAGED, remains.records) if remains else (None, None, None)
                _begin(connection, self._clock(), self._client, *found)
            self._claim(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _claim(self, sql: sqlite3.Connection) -> None:
        client, told = sql.execute("SELECT client, acknowledged FROM journal").fetchone()
        if self._client is None or client == self._client:
            return
        if client is None:
            sql.execute("UPDATE journal SET client = ?", (self._client,))
        else:
            self._renew(sql, CLIENT_CHANGED, after=told)

    def _keep_reserve(self) -> bool:
        """Space that is given up when the disk is full and something that happened must still be written down."""
        path = self._folder / RESERVE
        if path.exists() and path.stat().st_size == RESERVE_BYTES:
            return True
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(bytes(RESERVE_BYTES))
                os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                path.unlink()
            return False
        return True

    @contextmanager
    def _mending(self) -> Iterator[None]:
        """A file that turns out to be damaged is begun anew at once; what was asked of it has to be asked again."""
        with self._lock:
            try:
                yield
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._connection.close()
                self._connection = self._begun_anew(error)
                raise JournalFullError("the journal could not be read and was begun anew") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._mending():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # some errors roll back by themselves
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._mending():
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._connection.execute("COMMIT")


def _begin(
    sql: sqlite3.Connection,
    now: datetime,
    client: str | None,
    follows: str | None,
    reason: str | None,
    records: dict[int, Kept] | None,
) -> None:
    """With `records` of the one before, by their sequences there. A journal's id is drawn, so that one which begins
    again at 1 is never taken for an older one."""
    carried = None if records is None else json.dumps(spans(records))
    sql.execute(
        "INSERT INTO journal (id, client, follows, reason, carried, begun_at, acknowledged)"
        " VALUES (?, ?, ?, ?, ?, ?, 0)",
        (secrets.token_hex(16), client, follows, reason, carried, now.isoformat()),
    )
    for record in (records or {}).values():
        _add(sql, *record)


def _add(sql: sqlite3.Connection, kind: str, key: str, at: str, body: str) -> int:
    last = sql.execute("SELECT sequence, hash, bytes_until FROM records ORDER BY sequence DESC LIMIT 1").fetchone()
    sequence, previous, size = last or (0, genesis(sql.execute("SELECT id FROM journal").fetchone()[0]), 0)
    digest = chained(previous, sequence + 1, body)
    sql.execute(
        "INSERT INTO records (sequence, kind, key, at, body, hash, bytes_until) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (sequence + 1, kind, key, at, body, digest, size + len(body)),
    )
    return int(sequence) + 1


def _bounds(sql: sqlite3.Connection) -> tuple[int, int]:
    """The first and the last sequence that is there; 0 without any."""
    row: Any = sql.execute("SELECT min(sequence), max(sequence) FROM records").fetchone()
    return row[0] or 0, row[1] or 0


@cache
def boot_id() -> str:
    """Of this start of the computer; where it has none, of this program."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip().replace("-", "")
    except OSError:
        return secrets.token_hex(16)


def up_ms() -> int:
    """Milliseconds since the start, sleep included where the system counts it."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    return time.monotonic_ns() // 1_000_000
