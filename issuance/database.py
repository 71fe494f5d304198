"""The database: engine, transactions, common columns, migrations.

SQLite is the embedded default: a writing transaction begins IMMEDIATE, so that writers come one after the other and
none has to be upgraded half-way (SQLITE_BUSY with no retry possible); a reading one begins DEFERRED and blocks nobody.

On PostgreSQL writers run side by side at READ COMMITTED: every statement sees what others have committed, so a row
that was waited for is seen as it became. What must not happen twice is kept by constraints, by conditional UPDATEs and
by row locks, which are always taken in this order: kept answer, person or application, blank, card session. A reading
transaction sees one moment (REPEATABLE READ) and locks nothing. A deadlock or a lock waited for too long is an
OperationalError, to the caller DATABASE_UNAVAILABLE: nothing was stored, the request may be repeated.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    JSON,
    ColumnElement,
    DateTime,
    Delete,
    Dialect,
    MetaData,
    Text,
    bindparam,
    cast,
    column,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy import tuple_ as columns
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DisconnectionError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeDecorator

from issuance.scope import Scope, set_scope
from issuance.sqlite_hops import OneVisit

_BEGIN = "onecard_sqlite_begin"
_LAST_USE = "onecard_last_use"
_TRUSTED_S = 1.0
"""A connection used so lately is taken without asking whether it is still there."""
_MIGRATION_LOCK = 0x6F6E6563617264
"""Key of the advisory lock under which replicas migrate one after the other; any number of our own."""
_ROWS = "all_rows"
"""Name of a parameter."""
MAX_ID = 2**63 - 1
WITHOUT_NUL = r"^[^\x00]*$"
"""Pattern of free text: PostgreSQL stores no NUL."""
ROW_LOCK = {"key_share": True}
"""FOR NO KEY UPDATE: excludes other writers of the row, not rows of other tables that refer to it."""


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime everywhere; SQLite, which keeps no zone, stores the UTC wall clock."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time must say its zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """Engine and sessions of one process. Statement parameters never reach logs or exceptions: they may be personal."""

    def __init__(self, url: str, *, timeout_s: float = 15.0) -> None:
        target = parse_url(url)
        options: dict[str, Any] = {"hide_parameters": True}
        reading: dict[str, Any]
        if target.get_backend_name() == "sqlite":
            options |= {"module": OneVisit(), "connect_args": {"timeout": timeout_s}}
            self.engine: AsyncEngine = create_async_engine(target, **options)
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
            reading, looking = {_BEGIN: "BEGIN"}, {_BEGIN: ""}
        else:
            options |= {"pool_timeout": timeout_s, "isolation_level": "READ COMMITTED"}
            # As many as there may be are kept: an overflow is connected and thrown away again under every little load.
            options |= {"pool_size": 15, "max_overflow": 0}
            connecting = {"connect_timeout": max(2, round(timeout_s))}
            self.engine = create_async_engine(target, connect_args=connecting, **options)
            event.listen(self.engine.sync_engine, "connect", _prepare_postgresql(timeout_s))
            event.listen(self.engine.sync_engine, "checkin", _note_use)
            event.listen(self.engine.sync_engine, "checkout", _ping_idle(self.engine.dialect))
            reading = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            looking = {"isolation_level": "AUTOCOMMIT"}
        self._reader = self.engine.execution_options(**reading)
        self._looker = self.engine.execution_options(**looking)

    @asynccontextmanager
    async def transaction(self, *, is_reading: bool = False, scope: Scope | None = None) -> AsyncIterator[AsyncSession]:
        """One transaction: committed when the block ends, rolled back when it raises.

        Without a `scope` it refuses to query what belongs to a region (`issuance.scope`).
        """
        bind = self._reader if is_reading else self.engine
        async with AsyncSession(bind, expire_on_commit=False, autoflush=False) as session, session.begin():
            set_scope(session, scope)
            yield session

    @asynccontextmanager
    async def look(self, *, scope: Scope | None = None) -> AsyncIterator[AsyncSession]:
        """For one SELECT: no transaction around it, two round trips to the database less."""
        async with AsyncSession(self._looker, expire_on_commit=False, autoflush=False) as session:
            set_scope(session, scope)
            yield session

    async def ping(self) -> None:
        async with self.transaction(is_reading=True) as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self.engine.dispose()


def parse_url(url: str) -> URL:
    """`postgresql://` and `postgres://`, as PostgreSQL's own tools write them, mean the driver that is installed."""
    target = make_url(url)
    return target.set(drivername="postgresql+psycopg") if target.drivername in ("postgresql", "postgres") else target


async def insert_new(
    session: AsyncSession, row_type: type[Base], rows: Sequence[dict[str, Any]]
) -> list[tuple[Any, ...]]:
    """Add the rows whose key is not there yet; returns the keys of those that were added.

    Give them in the order of their keys: two callers with the same keys then wait for each other, and not in a circle.
    """
    if not rows:
        return []
    keys = inspect(row_type).primary_key
    if session.get_bind().dialect.name == "sqlite":
        statement = sqlite.insert(row_type).on_conflict_do_nothing().returning(*keys)
        return [tuple(key) for key in (await session.execute(statement, list(rows))).all()]
    found = await session.execute(_insert_new(row_type, tuple(rows[0])), {_ROWS: _as_json(rows)})
    return [tuple(key) for key in found.all()]


async def insert_all(session: AsyncSession, row_type: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Rows with the same columns, in one statement."""
    if not rows:
        return
    if session.get_bind().dialect.name == "sqlite":
        await session.execute(insert(row_type), list(rows))
    else:
        await session.execute(_insert_rows(row_type, tuple(rows[0])), {_ROWS: _as_json(rows)})


@cache
def _insert_rows(row_type: type[Base], names: tuple[str, ...]) -> postgresql.Insert:
    """All rows in one parameter: one text for any number of them, made, parsed and planned once."""
    given = inspect(row_type).columns
    keys = [given[name].name for name in names]
    shape = [column(name, given[name].type) for name in names]
    read = func.json_to_recordset(cast(bindparam(_ROWS, type_=Text), JSON))
    rows = read.table_valued(*shape).render_derived(with_types=True)
    table = Base.metadata.tables[row_type.__tablename__]
    return postgresql.insert(table).from_select(keys, select(*(rows.c[name] for name in names)))


@cache
def _insert_new(row_type: type[Base], names: tuple[str, ...]) -> Any:
    return _insert_rows(row_type, names).on_conflict_do_nothing().returning(*inspect(row_type).primary_key)


def _as_json(rows: Sequence[dict[str, Any]]) -> str:
    return json.dumps(rows, default=_json_value)


def _json_value(value: Any) -> str:
    """As PostgreSQL reads it. Raises TypeError."""
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError("a stored time must say its zone")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not stored")


async def add_unless_taken(session: AsyncSession, row: Base) -> bool:
    """False when a constraint of the database refuses the row; the transaction goes on."""
    try:
        async with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return False
    return True


async def forget(session: AsyncSession, row_type: type[Base], *conditions: ColumnElement[bool]) -> None:
    """Delete rows that are over, leaving to the next time those that another transaction holds."""
    await session.execute(forgetting(row_type, *conditions))


def forgetting(row_type: type[Base], *conditions: ColumnElement[bool]) -> Delete:
    """The statement of `forget`."""
    key = inspect(row_type).primary_key
    free = select(*key).where(*conditions).with_for_update(skip_locked=True)
    return delete(row_type).where(columns(*key).in_(free)).execution_options(synchronize_session=False)


async def lock_name(session: AsyncSession, name: bytes) -> None:
    """Until the end of the transaction, against all who lock the same name, of at least eight bytes by chance."""
    if session.get_bind().dialect.name != "sqlite":
        key = int.from_bytes(name[:8], signed=True)
        await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


async def plan_for_values(session: AsyncSession) -> None:
    """Until the end of the transaction PostgreSQL plans every statement for the values it comes with.

    Else a statement asked often gets one plan for all values, in which a province is as small as an office.
    """
    if session.get_bind().dialect.name != "sqlite":
        await session.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))


async def sever(session: AsyncSession) -> None:
    """Lose the connection in mid-transaction, as when the server dies (`cardlib.crash_points`)."""
    connection = await session.connection()
    raw = await connection.get_raw_connection()
    if raw.driver_connection is not None:
        await raw.driver_connection.close()


async def refresh_statistics(session: AsyncSession, *row_types: type[Base]) -> None:
    """After many rows were added at once: PostgreSQL plans by what it last counted, which may have been nothing."""
    if session.get_bind().dialect.name != "sqlite":
        await session.execute(text(f"ANALYZE {', '.join(row_type.__tablename__ for row_type in row_types)}"))


def migrate(url: str, revision: str = "head") -> None:
    """Bring the database to `revision`, creating the directory of a SQLite file when missing."""
    target = parse_url(url)
    if target.get_backend_name() == "sqlite":
        target = target.set(drivername="sqlite")
        if target.database:
            Path(target.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(target, hide_parameters=True)
    try:
        with engine.begin() as connection:
            if target.get_backend_name() != "sqlite":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            migrate_connection(connection, revision)
    finally:
        engine.dispose()


def migrate_connection(connection: Connection, revision: str = "head") -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _prepare_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    begin = connection.get_execution_options().get(_BEGIN, "BEGIN IMMEDIATE")
    if begin:
        connection.exec_driver_sql(begin)


def _note_use(_connection: Any, entry: ConnectionPoolEntry) -> None:
    entry.info[_LAST_USE] = monotonic()


def _ping_idle(dialect: Dialect) -> Callable[[Any, ConnectionPoolEntry, Any], None]:
    """A connection that has lain in the pool may be gone with a server that was restarted; under load none has."""

    def ping(connection: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
        if monotonic() - entry.info.get(_LAST_USE, monotonic()) < _TRUSTED_S:
            return
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error

    return ping


def _prepare_postgresql(timeout_s: float) -> Callable[[Any, ConnectionPoolEntry], None]:
    """A lock is waited for as long as on SQLite, not for ever."""

    def prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET lock_timeout = {max(1, round(timeout_s * 1000))}")
        cursor.close()
        connection.commit()

    return prepare
