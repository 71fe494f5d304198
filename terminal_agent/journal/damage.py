"""A journal's file that cannot be read any more: what it still gives, and where it is put."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SIDES: Final = ("", "-wal", "-shm")
_FORWARD: Final = "SELECT sequence, kind, key, at, body FROM records ORDER BY sequence"
_BACKWARD: Final = "SELECT sequence, kind, key, at, body FROM records ORDER BY sequence DESC"
_MAGIC: Final = b"SQLite format 3\0"
_MOST_BYTES: Final = 2**31
_ID: Final = re.compile(r"[0-9a-f]{32}")

Kept = tuple[str, str, str, str]
"""Kind, key, time and body of a record."""


@dataclass(frozen=True, slots=True)
class Remains:
    """`journal_id` is None where it cannot be read; the records are by their sequences, with gaps."""

    journal_id: str | None
    records: dict[int, Kept]


def is_damage(error: sqlite3.Error) -> bool:
    """Of the file itself, and not of the disk or of who may write."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def readable(text: bytes) -> str:
    """What every database takes as a text; the hash tells that it is not the one that was written."""
    return text.decode(errors="replace").replace("\0", "\ufffd")


def whatever_is_left(path: Path) -> Remains:
    """What can be read from both ends; never raises for what the file is. A file that was cut off is made as long as it
    says it is, as SQLite reads nothing of it else."""
    with suppress(OSError):
        _fill_up(path)
    found: dict[int, Kept] = {}
    for query in (_FORWARD, _BACKWARD):
        with _reading(path) as sql:
            for row in sql.execute(query):
                if all(isinstance(text, str) for text in row[1:]):
                    found[row[0]] = row[1:]
    journal_id = None
    with _reading(path) as sql:
        journal_id = str(sql.execute("SELECT id FROM journal").fetchone()[0])
    by_key = {found[sequence][1]: sequence for sequence in sorted(found)}
    records = {sequence: found[sequence] for sequence in sorted(by_key.values())}
    return Remains(journal_id if journal_id and _ID.fullmatch(journal_id) else None, records)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    with (
        suppress(sqlite3.DatabaseError, TypeError),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as sql,
    ):
        sql.text_factory = readable
        yield sql


def _fill_up(path: Path) -> None:
    """By its header: size of a page at 16, number of pages at 28 (SQLite's file format, 1.3)."""
    with path.open("rb") as file:
        header = file.read(32)
    page = int.from_bytes(header[16:18], "big")
    size = (65536 if page == 1 else page) * int.from_bytes(header[28:32], "big")
    if header.startswith(_MAGIC) and path.stat().st_size < size <= _MOST_BYTES:
        os.truncate(path, size)


def set_aside(path: Path) -> Path:
    """Rename the file and what belongs to it; nothing is deleted. The name of the first."""
    number = 1
    while (target := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for side in _SIDES:
        with suppress(FileNotFoundError):
            path.with_name(path.name + side).rename(target.with_name(target.name + side))
    return target
