"""SQLite's driver with one visit to the connection's thread for each statement.

SQLAlchemy's own opens a cursor, executes, fetches and closes it in a visit each, and what a visit costs, to wake the
thread and to be woken, is more than what most statements do there.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiosqlite
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
)


@dataclass(frozen=True, slots=True)
class _Done:
    """What SQLAlchemy asks a cursor for once its statement is over."""

    description: Any = None
    rows: Sequence[Any] = ()
    rowcount: int = -1
    lastrowid: int | None = None
    arraysize: int = 1
    in_transaction: bool = False


def _run(connection: sqlite3.Connection, way: str, *given: Any) -> _Done:
    """In the connection's thread. `way`: `execute` or `executemany`."""
    cursor = connection.cursor()
    try:
        getattr(cursor, way)(*given)
        rows = cursor.fetchall() if cursor.description else ()
        return _Done(cursor.description, rows, cursor.rowcount, cursor.lastrowid, 1, connection.in_transaction)
    finally:
        cursor.close()


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    """Nothing of SQLite's stays open behind it."""

    __slots__ = ()
    _adapt_connection: _Connection
    _awaitable_cursor_close = False

    def _make_new_cursor(self, connection: Any) -> Any:
        return _Done()

    def _aenter_cursor(self, cursor: Any) -> Any:
        return cursor

    async def _execute_async(self, operation: Any, parameters: Any) -> None:
        await self._visit("execute", operation, *(() if parameters is None else (parameters,)))

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> None:
        await self._visit("executemany", operation, seq_of_parameters)

    async def _visit(self, *asked: Any) -> None:
        connection: Any = self._connection
        self._adapt_connection.is_idle = False
        async with self._adapt_connection._execute_mutex:
            done: Any = await connection._execute(_run, connection._conn, *asked)
        self._cursor, self._rows = done, deque(done.rows)
        self._adapt_connection.is_idle = not done.in_transaction

    def close(self) -> None:
        self._rows.clear()


class _Connection(AsyncAdapt_aiosqlite_connection):
    """The pool rolls back whatever it is given back; `is_idle`: there is nothing, which needs no visit."""

    __slots__ = ("is_idle",)
    _cursor_cls = _Cursor

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        self.is_idle = False

    def commit(self) -> None:
        super().commit()
        self.is_idle = True

    def rollback(self) -> None:
        if not self.is_idle:
            super().rollback()
            self.is_idle = True


class OneVisit(AsyncAdapt_aiosqlite_dbapi):
    """For `create_async_engine`, as its `module`."""

    def __init__(self) -> None:
        super().__init__(aiosqlite, sqlite3)

    def connect(self, *arg: Any, **kw: Any) -> AsyncAdapt_aiosqlite_connection:
        return _Connection(self, super().connect(*arg, **kw)._connection)
