"""SQLite's driver: what every statement gives, its failures, and one visit to the connection's thread for each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiosqlite
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.database import Database, sever

ADD = text("INSERT INTO notes (id, word) VALUES (:id, :word)")
ROWS = [{"id": 1, "word": "a"}, {"id": 2, "word": "b"}]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite+aiosqlite:///{tmp_path}/notes.db")
    async with made.transaction() as session:
        await session.execute(text("CREATE TABLE notes (id INTEGER PRIMARY KEY, word TEXT)"))
        await session.execute(ADD, ROWS)
    yield made
    await made.close()


async def _words(session: AsyncSession) -> list[tuple[int, str]]:
    return [tuple(row) for row in await session.execute(text("SELECT id, word FROM notes ORDER BY id"))]


async def test_rows_and_counts_are_sqlites_own(database: Database) -> None:
    async with database.transaction() as session:
        assert await _words(session) == [(1, "a"), (2, "b")]
        changed: Any = await session.execute(text("UPDATE notes SET word = 'c'"))
        assert changed.rowcount == 2
        gone = await session.execute(text("DELETE FROM notes WHERE id = 2 RETURNING word"))
        assert gone.scalars().all() == ["c"]
        added: Any = await session.execute(text("INSERT INTO notes (word) VALUES ('d')"))
        assert added.lastrowid == 2
        assert [row.word async for row in await session.stream(text("SELECT word FROM notes ORDER BY id"))] == [
            "c",
            "d",
        ]


async def test_a_refused_statement_rolls_all_back(database: Database) -> None:
    async def twice() -> None:
        async with database.transaction() as session:
            await session.execute(text("DELETE FROM notes WHERE id = 2"))
            await session.execute(ADD, ROWS[0])

    with pytest.raises(IntegrityError):
        await twice()
    async with database.transaction(is_reading=True) as session:
        assert await _words(session) == [(1, "a"), (2, "b")]


async def test_a_lost_connection_is_told_and_the_next_one_works(database: Database) -> None:
    async def severed() -> None:
        async with database.transaction() as session:
            await session.execute(text("DELETE FROM notes"))
            await sever(session)
            await session.execute(text("SELECT 1"))

    with pytest.raises(OperationalError):
        await severed()
    async with database.transaction(is_reading=True) as session:
        assert await _words(session) == [(1, "a"), (2, "b")]


async def test_a_statement_is_one_visit(database: Database) -> None:
    visits = 0
    visit = aiosqlite.Connection._execute

    async def counted(connection: Any, *asked: Any) -> Any:
        nonlocal visits
        visits += 1
        return await visit(connection, *asked)

    with patch.object(aiosqlite.Connection, "_execute", counted):
        async with database.transaction() as session:
            await session.execute(ADD, {"id": 3, "word": "c"})
            await _words(session)
        assert visits == 4  # BEGIN, the two, COMMIT
        async with database.look() as session:
            await _words(session)
        assert visits == 5
