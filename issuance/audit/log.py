"""Queries over the tree and, as they are stored, over the entries under it.

Entries are read as the database keeps them, type and bytes, not as Python would understand them: two texts that mean
the same time or the same JSON are two texts, so that no change of the table goes unseen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Row, delete, exists, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.audit.merkle import Interval, Kept, Node, wanted
from issuance.audit.models import AuditRow, HeadRow, LeafRow, NodeRow, PendingRow
from issuance.audit.verifier import Hash

_LOCK: Final = 0x6F6E6561756469
"""Key of the advisory lock of the sequencer; any number of our own."""
PAGE: Final = 2000
ENTRY_COLUMNS: Final = tuple(column.name for column in AuditRow.__table__.columns)
_HEAD_COLUMNS: Final = tuple(column.name for column in HeadRow.__table__.columns)
_TABLES: Final[tuple[Any, ...]] = tuple(row.__table__ for row in (AuditRow, PendingRow, LeafRow, NodeRow, HeadRow))
ENTRIES, PENDING, LEAVES, NODES, HEADS = _TABLES

Entry = dict[str, Any]
Leaf = tuple[int, int, str, Entry | None]
"""Sequence, entry id, hash in hex, and the entry, None where it is gone."""


class LogRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._is_sqlite = session.get_bind().dialect.name == "sqlite"
        self._width = 2 if self._is_sqlite else 1

    # -- what the sequencer needs ---------------------------------------------------------------------------------

    async def claim(self) -> bool:
        """Whether this transaction is the one that may add to the tree. On SQLite every writing one is."""
        if self._is_sqlite:
            return True
        return bool(await self._session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK}))

    async def is_waiting(self) -> bool:
        return bool(await self._session.scalar(select(exists().select_from(PENDING))))

    async def wait(self) -> tuple[int, datetime | None]:
        """How many entries wait, and since when the oldest does; None also for a time that was made unreadable."""
        at = "CAST(min(e.at) AS BLOB)" if self._is_sqlite else "min(e.at)"
        queue = "audit_pending p LEFT JOIN audit_entries e ON e.id = p.entry_id"
        count, oldest = (await self._session.execute(text(f"SELECT count(*), {at} FROM {queue}"))).one()  # noqa: S608
        return count, _moment(oldest)

    async def waiting(self, limit: int) -> list[Entry]:
        """The oldest entries without a place; one that was deleted is None under its id, see `Entry`."""
        statement = (
            f"SELECT p.entry_id, {self._entry('e')} FROM audit_pending p"  # noqa: S608
            " LEFT JOIN audit_entries e ON e.id = p.entry_id ORDER BY p.entry_id LIMIT :limit"
        )
        rows = await self._session.execute(text(statement), {"limit": limit})
        return [self._entry_of(row, 1) or {"id": row[0], "is_gone": True} for row in rows]

    async def placed(self, entry_ids: list[int]) -> set[int]:
        """Those of them that have a leaf."""
        return set(await self._session.scalars(select(LEAVES.c.entry_id).where(LEAVES.c.entry_id.in_(entry_ids))))

    async def add_leaves(self, leaves: list[tuple[int, int, bytes]], nodes: list[tuple[int, int, bytes]]) -> None:
        """Sequence, entry id, hash; level, position, hash."""
        names = ("sequence", "entry_id", "hash")
        await self._session.execute(insert(LEAVES), [dict(zip(names, leaf, strict=True)) for leaf in leaves])
        if nodes:
            names = ("level", "position", "hash")
            await self._session.execute(insert(NODES), [dict(zip(names, node, strict=True)) for node in nodes])

    async def settle(self, entry_ids: list[int]) -> None:
        await self._session.execute(delete(PENDING).where(PENDING.c.entry_id.in_(entry_ids)))

    async def add_head(self, values: dict[str, Any]) -> None:
        await self._session.execute(insert(HEADS).values(**values))

    # -- heads ----------------------------------------------------------------------------------------------------

    async def head(self, size: int | None = None) -> dict[str, Any] | None:
        """The last head, or the one of `size`; as `verifier` has it."""
        which = "" if size is None else " WHERE size = :size"
        rows = await self._heads(f"{which} ORDER BY size DESC LIMIT 1", {} if size is None else {"size": size})
        return rows[0] if rows else None

    async def heads_after(self, size: int, limit: int = PAGE) -> list[dict[str, Any]]:
        return await self._heads(" WHERE size > :size ORDER BY size LIMIT :limit", {"size": size, "limit": limit})

    async def _heads(self, rest: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        columns = self._raw("h", *_HEAD_COLUMNS)
        rows = await self._session.execute(text(f"SELECT {columns} FROM audit_heads h{rest}"), values)  # noqa: S608
        return [head_of(dict(zip(_HEAD_COLUMNS, self._values(row), strict=True))) for row in rows]

    # -- the tree -------------------------------------------------------------------------------------------------

    async def kept(self, intervals: Iterable[Interval], digest: Hash) -> Kept:
        """The stored hashes that make up those intervals."""
        hashes: dict[Node, bytes] = {}
        for level, runs in wanted(intervals).items():
            for run in runs:
                table, place = (NODES, NODES.c.position) if level else (LEAVES, LEAVES.c.sequence)
                query = select(place, table.c.hash).where(place >= run.start, place < run.stop)
                if level:
                    query = query.where(NODES.c.level == level)
                hashes |= {(level, position): value for position, value in await self._session.execute(query)}
        return Kept(digest, hashes)

    async def place_of(self, entry_id: int) -> int | None:
        found: int | None = await self._session.scalar(select(LEAVES.c.sequence).where(LEAVES.c.entry_id == entry_id))
        return found

    async def leaf(self, entry_id: int) -> Leaf | None:
        found = await self._leaves(" WHERE l.entry_id = :entry_id", {"entry_id": entry_id})
        return found[0] if found else None

    async def leaves(self) -> AsyncIterator[list[Leaf]]:
        """All leaves with their entries, page by page in the order of the tree."""
        last = -(1 << 63)
        while page := await self._leaves(
            " WHERE l.sequence > :last ORDER BY l.sequence LIMIT :limit", {"last": last, "limit": PAGE}
        ):
            yield page
            last = page[-1][0]

    async def nodes(self) -> AsyncIterator[tuple[tuple[Any, Any], Any]]:
        """As they are stored: what was changed may be of any type."""
        columns = self._raw("n", "level", "position", "hash")
        for row in await self._session.execute(text(f"SELECT {columns} FROM audit_nodes n")):  # noqa: S608
            level, position, value = self._values(row)
            yield (level, position), value

    async def _leaves(self, rest: str, values: dict[str, Any]) -> list[Leaf]:
        """The entry id of a leaf that holds no number there is 0: nobody's."""
        statement = (
            f"SELECT {self._raw('l', 'sequence', 'entry_id', 'hash')}, {self._entry('e')} FROM audit_leaves l"  # noqa: S608
            f" LEFT JOIN audit_entries e ON e.id = l.entry_id{rest}"
        )
        found = []
        for row in await self._session.execute(text(statement), values):
            sequence, entry_id, value = self._values(row[: 3 * self._width])
            entry = self._entry_of(row, 3 * self._width)
            found.append((sequence, entry_id if isinstance(entry_id, int) else 0, _hex(value), entry))
        return found

    # -- what stands beside the tree --------------------------------------------------------------------------------

    async def queued_again(self, limit: int = 1000) -> list[int]:
        """Entries in the tree that wait for a place all the same."""
        query = select(PENDING.c.entry_id).join(LEAVES, LEAVES.c.entry_id == PENDING.c.entry_id)
        return list(await self._session.scalars(query.order_by(PENDING.c.entry_id).limit(limit)))

    async def outside(self, limit: int = 1000) -> list[int]:
        """Entries that are neither in the tree nor on their way into it."""
        query = (
            select(ENTRIES.c.id)
            .where(~exists().where(LEAVES.c.entry_id == ENTRIES.c.id))
            .where(~exists().where(PENDING.c.entry_id == ENTRIES.c.id))
            .order_by(ENTRIES.c.id)
            .limit(limit)
        )
        return list(await self._session.scalars(query))

    async def copies(self, limit: int = 1000) -> list[int]:
        """Entries that bear the seal of another one."""
        other = ENTRIES.alias()
        twice = select(other.c.seal).where(other.c.seal.is_not(None)).group_by(other.c.seal).having(func.count() > 1)
        query = select(ENTRIES.c.id).where(ENTRIES.c.seal.in_(twice)).order_by(ENTRIES.c.id).limit(limit)
        return list(await self._session.scalars(query))

    # -- columns as they are stored -------------------------------------------------------------------------------

    def _raw(self, alias: str, *names: str) -> str:
        """SQL for columns as they are stored: on SQLite the type and the bytes of each, so that a text which is none
        can be read."""
        columns = (f'{alias}."{name}"' for name in names)
        if not self._is_sqlite:
            return ", ".join(columns)
        return ", ".join(
            f"typeof({column}), CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB) ELSE {column} END"
            for column in columns
        )

    def _values(self, row: Sequence[Any]) -> list[Any]:
        """Of columns that were asked for by `_raw`."""
        if not self._is_sqlite:
            return list(row)
        pairs = zip(row[::2], row[1::2], strict=True)
        return [value.decode(errors="surrogateescape") if kind == "text" else value for kind, value in pairs]

    def _entry(self, alias: str) -> str:
        """SQL for every column: on SQLite as stored, on PostgreSQL the one text it can have."""
        if self._is_sqlite:
            return self._raw(alias, *ENTRY_COLUMNS)
        forms = {
            "at": "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
            "detail": "CAST({} AS text)",
        }
        return ", ".join(forms.get(name, "{}").format(f'{alias}."{name}"') for name in ENTRY_COLUMNS)

    def _entry_of(self, row: Row[Any], first: int) -> Entry | None:
        if not self._is_sqlite:
            values = [value.hex() if isinstance(value, bytes) else value for value in row[first:]]
        else:
            pairs = zip(row[first::2], row[first + 1 :: 2], strict=True)
            values = [_stored(kind, value, name) for name, (kind, value) in zip(ENTRY_COLUMNS, pairs, strict=True)]
        return None if values[0] is None else dict(zip(ENTRY_COLUMNS, values, strict=True))


def head_of(values: dict[str, Any]) -> dict[str, Any]:
    """A head as `verifier` has it: hashes in hex; 0 is the version of no key."""
    frontier = _hex(values["frontier"])
    version = values["key_version"]
    return values | {
        "centre": _text(values["centre"]),
        "at": _text(values["at"]),
        "key_version": version if isinstance(version, int) else 0,
        "root": _hex(values["root"]),
        "signature": _hex(values["signature"]),
        "frontier": [frontier[place : place + 64] for place in range(0, len(frontier), 64)],
    }


def _stored(kind: str, value: Any, name: str) -> Any:
    """A value of SQLite; one of another type than its column's shows that."""
    if kind == "null":
        return None
    if kind == "integer" and name == "id":
        return value
    if kind == "text" and name != "seal":
        return value.decode(errors="surrogateescape")
    if kind == "blob" and name == "seal":
        return value.hex()
    return {"stored_as": kind, "value": _hex(value)}


def _moment(stored: Any) -> datetime | None:
    if isinstance(stored, datetime):
        return stored.astimezone(UTC)
    try:
        return datetime.fromisoformat(stored.decode()).replace(tzinfo=UTC)
    except (AttributeError, ValueError):
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"not a text: {value!r}"


def _hex(value: Any) -> str:
    """Of bytes; anything else is no hash and shows as what it is."""
    return value.hex() if isinstance(value, bytes) else f"not a hash: {value!r}"
