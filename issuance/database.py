"""The database: engine, transactions, common columns, migrations.

Portable SQL only; SQLite is the embedded default. A writing transaction on SQLite begins IMMEDIATE, so that it never
has to be upgraded half-way (SQLITE_BUSY with no retry possible); a reading one begins DEFERRED and blocks nobody.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import DateTime, Dialect, MetaData, create_engine, event, text
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeDecorator

_BEGIN = "onecard_sqlite_begin"


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
        self._is_sqlite = make_url(url).get_backend_name() == "sqlite"
        options: dict[str, Any] = {"hide_parameters": True}
        if self._is_sqlite:
            options["connect_args"] = {"timeout": timeout_s}
        else:
            options |= {"pool_pre_ping": True, "pool_timeout": timeout_s}
        self.engine: AsyncEngine = create_async_engine(url, **options)
        if self._is_sqlite:
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        self._reader = self.engine.execution_options(**{_BEGIN: "BEGIN"})

    @asynccontextmanager
    async def transaction(self, *, is_reading: bool = False) -> AsyncIterator[AsyncSession]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        bind = self._reader if is_reading else self.engine
        async with AsyncSession(bind, expire_on_commit=False, autoflush=False) as session, session.begin():
            yield session

    async def ping(self) -> None:
        async with self.transaction(is_reading=True) as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self.engine.dispose()


def migrate(url: str, revision: str = "head") -> None:
    """Bring the database to `revision`, creating the directory of a SQLite file when missing."""
    target = make_url(url)
    if target.get_backend_name() == "sqlite":
        target = target.set(drivername="sqlite")
        if target.database:
            Path(target.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(target, hide_parameters=True)
    try:
        with engine.begin() as connection:
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
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN IMMEDIATE"))
