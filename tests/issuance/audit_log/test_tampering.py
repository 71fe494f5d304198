"""Every change is found and named, by the service and by the stand-alone verifier."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from issuance.audit import merkle, report, sequencer, verifier
from issuance.audit.heads import AuditBrokenError
from issuance.audit.report import export_lines
from issuance.audit.sequencer import sequence_due
from issuance.services import Services
from tests.issuance.audit_log.stand import COUNT, act, both, filled, found, found_outside, unprotect
from tests.issuance.conftest import Store

FLIPS = ("at", "actor", "clerk", "act", "subject", "region", "reason", "place", "outcome", "detail", "seal")


@pytest.mark.parametrize("column", FLIPS)
async def test_one_flipped_bit_of_an_entry(services: Services, store: Store, tmp_path: Path, column: str) -> None:
    """Every third bit, and so some of each byte; the verifier outside is asked about the first."""
    unprotect(store, "audit_entries_no")
    await filled(services)
    sequence = 9
    ((entry_id,),) = store.sql("SELECT entry_id FROM audit_leaves WHERE sequence = 9")
    kind = "blob" if column == "seal" else "text"
    path = store.url.partition(":///")[2]
    with sqlite3.connect(path) as connection:
        value = connection.execute(
            f"SELECT CAST({column} AS BLOB) FROM audit_entries WHERE id = ?", [entry_id]
        ).fetchone()[0]
        change = f"UPDATE audit_entries SET {column} = CAST(? AS {kind}) WHERE id = ?"
        for bit in range(0, 8 * len(value), 3) if len(value) else [None]:
            flipped = bytearray(value) if bit is not None else bytearray(b"\1")
            if bit is not None:
                flipped[bit // 8] ^= 1 << bit % 8
            connection.execute(change, [bytes(flipped), entry_id])
            connection.commit()
            expected = [("entry_changed", entry_id, sequence, sequence)]
            assert [finding for finding in await found(services) if finding[0] != "seal_wrong"] == expected, bit
            if not bit:
                assert await found_outside(services, tmp_path) == expected
        connection.execute(change, [value, entry_id])
        connection.commit()
    connection.close()
    assert await found(services) == []


async def test_one_flipped_bit_of_the_file(services: Services, store: Store) -> None:
    """Anywhere in the pages of the trail, types and lengths too: what changes any value is found."""
    await filled(services)
    await services.database.close()
    path = store.url.partition(":///")[2]
    good, pages, size = _pages(path)
    before, chosen, told = _dump(path), random.Random(6), 0
    for _ in range(60):
        place = (chosen.choice(pages) - 1) * size + chosen.randrange(size)
        _flip(path, good, place, 1 << chosen.randrange(8))
        if _dump(path) == before:
            continue
        told += 1
        try:
            assert await found(services), place
        except AuditBrokenError:
            pass
        finally:
            await services.database.close()
    assert told > 5


def _pages(path: str) -> tuple[bytes, list[int], int]:
    """The file, the pages of entries and leaves (those that are reached from their roots), and their size."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
        size: int = connection.execute("PRAGMA page_size").fetchone()[0]
        query = "SELECT rootpage FROM sqlite_master WHERE type = 'table' AND name IN ('audit_entries', 'audit_leaves')"
        found = [row[0] for row in connection.execute(query)]
    connection.close()
    data = Path(path).read_bytes()
    for page in found:
        start = (page - 1) * size
        if data[start] == 5:  # an inner page of a table: its children (file format, 1.6)
            count = int.from_bytes(data[start + 3 : start + 5])
            cells = [8, *(int.from_bytes(data[start + 12 + 2 * n :][:2]) for n in range(count))]
            found += sorted({int.from_bytes(data[start + cell : start + cell + 4]) for cell in cells} - set(found))
    return data, found, size


def _flip(path: str, good: bytes, place: int, bit: int) -> None:
    damaged = bytearray(good)
    damaged[place] ^= bit
    Path(path).write_bytes(damaged)


def _dump(path: str) -> list[Any]:
    """Values and types of the trail; anything at all for a file that SQLite cannot read."""
    connection = sqlite3.connect(path)
    connection.text_factory = bytes
    try:
        return [
            connection.execute(f"SELECT *, {types} FROM {table}").fetchall()
            for table, types in (
                (
                    "audit_entries",
                    "typeof(at), typeof(actor), typeof(act), typeof(subject), typeof(detail), typeof(seal)",
                ),
                ("audit_leaves", "typeof(entry_id), typeof(hash)"),
            )
        ]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    finally:
        connection.close()


Change = Callable[[Store], object]
LEAF = "SELECT entry_id FROM audit_leaves WHERE sequence = {}"
ID = {number: f"({LEAF.format(number)})" for number in range(COUNT + 4)}
LAST = COUNT + 3


def swap(table: str, key: str, column: str, one: int, two: int) -> Change:
    def run(store: Store) -> None:
        rows = dict(store.sql(f"SELECT {key}, {column} FROM {table}"))
        for place, other in ((one, two), (two, one)):
            store.sql(f"UPDATE {table} SET {column} = :value WHERE {key} = :place", value=rows[other], place=place)

    return run


def sql(*statements: str) -> Change:
    return lambda store: [store.sql(statement) for statement in statements]


def swapped_ids(store: Store) -> None:
    """The ids of two entries change places, so the content stands under the other's id."""
    one, two = (store.sql(LEAF.format(number))[0][0] for number in (6, 7))
    for old, new in ((one, -1), (two, one), (-1, two)):
        store.sql("UPDATE audit_entries SET id = :new WHERE id = :old", old=old, new=new)


CASES: dict[str, tuple[Change, list[tuple[str, int, int, bool]]]] = {
    "entry deleted": (sql(f"DELETE FROM audit_entries WHERE id = {ID[9]}"), [("entry_missing", 9, 9, True)]),
    "two entries deleted": (
        sql(f"DELETE FROM audit_entries WHERE id IN ({ID[4]}, {ID[14]})"),
        [("entry_missing", 4, 4, True), ("entry_missing", 14, 14, True)],
    ),
    "pair reordered": (swapped_ids, [("entry_moved", 6, 6, True), ("entry_moved", 7, 7, True)]),
    "leaves reordered": (
        swap("audit_leaves", "sequence", "hash", 5, 6),
        [("leaf_changed", 5, 5, True), ("leaf_changed", 6, 6, True)],
    ),
    "tail entries deleted": (
        sql(f"DELETE FROM audit_entries WHERE id >= {ID[LAST - 1]}"),
        [("entry_missing", LAST - 1, LAST - 1, True), ("entry_missing", LAST, LAST, True)],
    ),
    "tail cut, heads stay": (
        sql(
            f"DELETE FROM audit_entries WHERE id >= {ID[LAST - 1]}",
            f"DELETE FROM audit_leaves WHERE sequence >= {LAST - 1}",
        ),
        [("tail_missing", LAST - 1, LAST, False)],
    ),
    "tail cut with its head": (
        sql(
            f"DELETE FROM audit_entries WHERE id >= {ID[LAST - 3]}",
            f"DELETE FROM audit_leaves WHERE sequence >= {LAST - 3}",
            f"DELETE FROM audit_heads WHERE size > {LAST - 3}",
        ),
        [("head_missing", LAST, LAST, False), ("tail_missing", LAST - 3, LAST, False)],
    ),
    "all cut": (
        sql("DELETE FROM audit_entries", "DELETE FROM audit_leaves", "DELETE FROM audit_heads"),
        [
            ("head_missing", 7, 7, False),
            ("head_missing", 11, 11, False),
            ("head_missing", 15, 15, False),
            ("tail_missing", 0, 7, False),
            ("tail_missing", 8, 11, False),
            ("tail_missing", 12, 15, False),
        ],
    ),
    "leaf and entry deleted": (
        sql(f"DELETE FROM audit_entries WHERE id = {ID[9]}", "DELETE FROM audit_leaves WHERE sequence = 9"),
        [("leaf_missing", 9, 9, False)],
    ),
    "root changed": (
        sql("UPDATE audit_heads SET root = zeroblob(32) WHERE size = 12"),
        [("head_missing", 11, 11, False), ("head_signature", 11, 11, False)],
    ),
}


def named(store: Store, wanted: list[tuple[str, int, int, bool]]) -> list[tuple[str, int | None, int, int]]:
    """Cases name leaves; the entry's id comes from the table before it was touched."""
    ids = dict(store.sql("SELECT sequence, entry_id FROM audit_leaves"))
    return sorted(
        [(kind, ids[first] if has_id else None, first, last) for kind, first, last, has_id in wanted], key=key_of
    )


def key_of(finding: tuple[str, int | None, int, int]) -> tuple[int, str]:
    return finding[2], finding[0]


@pytest.mark.parametrize("case", CASES)
async def test_every_manipulation_is_named(services: Services, store: Store, tmp_path: Path, case: str) -> None:
    await filled(services)
    change, wanted = CASES[case]
    expected = named(store, wanted)
    unprotect(store)
    change(store)
    assert sorted(await both(services, tmp_path), key=key_of) == expected


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize("case", ["entry deleted", "pair reordered", "tail cut with its head", "leaves reordered"])
async def test_on_postgresql_too(services: Services, store: Store, tmp_path: Path, case: str) -> None:
    await test_every_manipulation_is_named(services, store, tmp_path, case)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_changed_columns_on_postgresql(services: Services, store: Store) -> None:
    await filled(services, 1)
    unprotect(store)
    changes = {name: f"overlay({name} || ' ' placing '~' from 1 for 1)" for name in FLIPS[1:9]}
    changes |= {"at": "at + interval '1 microsecond'", "seal": "set_bit(seal, 9, 1 - get_bit(seal, 9))"}
    changes["detail"] = "replace(CAST(detail AS text), ': ', ':')::json"
    for column, value in changes.items():
        ((before, entry_id),) = store.sql(f"SELECT CAST({column} AS text), id FROM audit_entries WHERE id = {ID[5]}")
        store.sql(f"UPDATE audit_entries SET {column} = {value} WHERE id = {entry_id}")
        expected = [("entry_changed", entry_id, 5, 5)]
        assert [finding for finding in await found(services) if finding[0] != "seal_wrong"] == expected, column
        kind = {"at": "timestamptz", "detail": "json", "seal": "bytea"}.get(column, "text")
        store.sql(f"UPDATE audit_entries SET {column} = CAST(:before AS {kind}) WHERE id = {entry_id}", before=before)
    assert await found(services) == []


async def test_an_entry_rewritten_with_its_hash(services: Services, store: Store, tmp_path: Path) -> None:
    """Outside, the block between two heads is named; inside, the seal names the entry."""
    await filled(services)
    ((entry_id,),) = store.sql(LEAF.format(9))
    unprotect(store)
    store.sql("UPDATE audit_entries SET reason = 'other' WHERE id = :id", id=entry_id)
    line = next(json.loads(line) for line in [line async for line in export_lines(services)] if '"leaf":9,' in line)
    new = verifier.leaf_hash(verifier.sm3, verifier.entry_bytes(line["entry"]))
    store.sql("UPDATE audit_leaves SET hash = :new WHERE sequence = 9", new=new)
    assert await found_outside(services, tmp_path) == [("block_unfit", None, 8, 11)]
    assert ("seal_wrong", entry_id, 9, 9) in await found(services)


async def test_a_change_before_the_entry_is_in_the_tree(services: Services, store: Store, tmp_path: Path) -> None:
    """The sequencer sees it by the seal, goes on, and says so in the log itself."""
    await filled(services, 1)
    await act(services, 3)
    unprotect(store, "audit_entries_no")
    ((entry_id,),) = store.sql("SELECT max(id) FROM audit_entries")
    store.sql("UPDATE audit_entries SET outcome = 'no' WHERE id = :id", id=entry_id)
    store.sql("DELETE FROM audit_entries WHERE id = :id", id=entry_id - 2)
    assert await sequence_due(services) == 3
    assert await sequence_due(services) == 2
    assert [kind for kind, *_ in await found_outside(services, tmp_path)] == ["entry_reported"] * 2
    assert ("seal_wrong", entry_id) in [finding[:2] for finding in await found(services)]
    told = store.sql("SELECT subject, detail FROM audit_entries WHERE act = 'audit.broken' ORDER BY id")
    assert [(subject, json.loads(detail)["why"]) for subject, detail in told] == [
        (f"audit:{entry_id - 2}", "deleted"),
        (f"audit:{entry_id}", "changed"),
    ]


async def test_forged_and_copied_entries(services: Services, store: Store) -> None:
    await filled(services, 1)
    columns = "at, actor, clerk, act, subject, application_id, region, place, outcome, reason, detail"
    store.sql(f"INSERT INTO audit_entries ({columns}) SELECT {columns} FROM audit_entries WHERE id = 6")
    store.sql(f"INSERT INTO audit_entries ({columns}, seal) SELECT {columns}, seal FROM audit_entries WHERE id = 6")
    store.sql("DELETE FROM audit_pending WHERE entry_id = (SELECT max(id) FROM audit_entries)")
    ((last,),) = store.sql("SELECT max(id) FROM audit_entries")
    await sequence_due(services)
    await sequence_due(services)
    kinds = {(kind, entry_id) for kind, entry_id, *_ in await found(services)}
    assert {("seal_wrong", last - 1), ("outside", last), ("copied", last), ("copied", 6)} <= kinds


@pytest.mark.parametrize(
    ("table", "column", "key"),
    [
        *(
            ("audit_heads", name, 12)
            for name in ("root", "at", "centre", "key_version", "frontier", "signature", "size")
        ),
        *(("audit_leaves", name, 9) for name in ("hash", "entry_id", "sequence")),
        *(("audit_nodes", name, 0) for name in ("hash", "position", "level")),
    ],
)
async def test_one_flipped_bit_of_the_tree(
    services: Services, store: Store, monkeypatch: pytest.MonkeyPatch, table: str, column: str, key: int
) -> None:
    """Named by the leaf, the head's size or the leaves of the subtree."""
    for module in (merkle, sequencer, report):
        monkeypatch.setattr(module, "STEP", 2)
    await filled(services)
    unprotect(store)
    name = {"audit_heads": "size", "audit_leaves": "sequence", "audit_nodes": "position"}[table]
    ((value, rowid),) = store.sql(f"SELECT {column}, rowid FROM {table} WHERE {name} = {key} LIMIT 1")
    if isinstance(value, bytes):
        flipped: Any = value[:5] + bytes((value[5] ^ 4,)) + value[6:]
    else:
        flipped = value ^ 64 if isinstance(value, int) else value[:5] + chr(ord(value[5]) ^ 2) + value[6:]
    assert await found(services) == []
    store.sql(f"UPDATE {table} SET {column} = :flipped WHERE rowid = :rowid", flipped=flipped, rowid=rowid)
    kinds = await found(services)
    place = {"audit_heads": 11, "audit_leaves": 9, "audit_nodes": 0}[table]
    assert place in [first for _, _, first, _ in kinds], kinds
