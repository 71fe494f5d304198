"""After a rotation of PERSON_SEAL every sealed value is sealed again under the new version, so the old key can go.

It begins when every older version is retired, because until then new values may still be sealed under one. Rows are
taken in the order of their keys, chunk by chunk; a value that somebody changes meanwhile is theirs. Look-ups do not
depend on it: indexes have a key of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import LargeBinary, and_, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from hsm.api import KeyState
from issuance.persons.models import PersonRow
from issuance.persons.repository import name_index, person_context
from issuance.privacy.classification import SealedColumn, sealed_columns
from issuance.privacy.models import PrivacyJobRow
from issuance.scope import EVERYWHERE
from issuance.sealing import PERSON_SEAL

if TYPE_CHECKING:
    from issuance.services import Services

CHUNK: Final = 200
CHUNKS: Final = 25
"""A round of the background jobs; a large database takes many rounds, other jobs go on between them."""


async def reseal_due(services: Services) -> int:
    """At most `CHUNKS` chunks; returns how many values were sealed anew."""
    version = await asyncio.to_thread(version_to_reach, services)
    if version is None:
        return 0
    done = 0
    for _ in range(CHUNKS):
        column = await _next(services, version)
        if column is None:
            return done
        done += await _chunk(services, column, version)
    return done


def version_to_reach(services: Services) -> int | None:
    """The version that every value should be under; None while there is one version only or an older one is active."""
    versions = services.keys.versions(PERSON_SEAL.name, PERSON_SEAL.algorithm)
    current: int = services.keys.current(PERSON_SEAL.name, PERSON_SEAL.algorithm).version
    older = [services.keys.info(replace(PERSON_SEAL, version=version)) for version in versions if version < current]
    return current if older and all(info.state is KeyState.RETIRED for info in older) else None


async def remaining(services: Services) -> dict[str, int]:
    """Values under another version than the current one, by column: 0 everywhere before the old key is destroyed.

    Reads every table from end to end.
    """
    current = services.keys.current(PERSON_SEAL.name, PERSON_SEAL.algorithm).version
    counts = {}
    async with services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
        for column in sealed_columns():
            query = select(func.count()).select_from(column.table).where(_is_stale(column, current))
            counts[column.name] = int(await session.scalar(query) or 0)
    return counts


async def restart(services: Services) -> None:
    """Begin every column from its first row again: for values that were in the making when the last pass went by."""
    async with services.database.transaction() as session:
        for column in sealed_columns():
            row = await session.get(PrivacyJobRow, f"reseal:{column.name}")
            if row is not None:
                await session.delete(row)


async def fill_name_index(services: Services) -> int:
    """Persons that were stored before there was an index over names."""
    async with services.database.look(scope=EVERYWHERE) as session:
        if await session.scalar(select(PersonRow.id).where(PersonRow.name_index.is_(None)).limit(1)) is None:
            return 0
    async with services.database.transaction(scope=EVERYWHERE) as session:
        query = select(PersonRow).where(PersonRow.name_index.is_(None)).order_by(PersonRow.id).limit(CHUNK)
        rows = list(await session.scalars(query.with_for_update(skip_locked=True, key_share=True)))
        for row in rows:
            person = services.sealer.unseal(row.sealed, person_context(row.id))
            row.name_index = name_index(services.sealer, person["name"])
    return len(rows)


async def _next(services: Services, version: int) -> SealedColumn | None:
    async with services.database.look() as session:
        query = select(PrivacyJobRow.name, PrivacyJobRow.state).where(PrivacyJobRow.name.startswith("reseal:"))
        states: dict[str, Any] = {row.name: row.state for row in await session.execute(query)}
    for column in sealed_columns():
        state = states.get(f"reseal:{column.name}")
        if state is None or state["version"] != version or not state["is_done"]:
            return column
    return None


async def _chunk(services: Services, column: SealedColumn, version: int) -> int:
    name = f"reseal:{column.name}"
    async with services.database.transaction() as session:
        job = await session.get(PrivacyJobRow, name, with_for_update=True)
        if job is None:
            job = PrivacyJobRow(name=name, state={"version": 0}, updated_at=services.clock())
            session.add(job)
        fresh: dict[str, Any] = {"version": version, "cursor": None, "done": 0}
        state = job.state if job.state["version"] == version else fresh
        rows = await _stale_rows(session, column, version, state["cursor"])
        sealed = await asyncio.to_thread(_sealed_again, services, column, rows)
        for row, value in zip(rows, sealed, strict=True):
            key = and_(*(part == row[part.name] for part in column.key))
            unchanged = column.column == row[column.column.name]
            await session.execute(update(column.table).where(key, unchanged).values({column.column: value}))
        cursor = [rows[-1][part.name] for part in column.key] if rows else state["cursor"]
        job.state = {
            "version": version,
            "cursor": cursor,
            "done": state["done"] + len(rows),
            "is_done": len(rows) < CHUNK,
        }
        job.updated_at = services.clock()
    return len(rows)


async def _stale_rows(
    session: AsyncSession, column: SealedColumn, version: int, cursor: Sequence[Any] | None
) -> list[Mapping[str, Any]]:
    wanted = {part.name: part for part in (*column.key, *column.parts, column.column)}
    query = select(*wanted.values()).where(_is_stale(column, version)).order_by(*column.key).limit(CHUNK)
    if cursor is not None:
        query = query.where(tuple_(*column.key) > tuple_(*cursor))
    return [dict(row) for row in (await session.execute(query)).mappings()]


def _sealed_again(services: Services, column: SealedColumn, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
    sealer = services.sealer
    found = []
    for row in rows:
        context = column.context_of(row)
        found.append(sealer.seal_bytes(sealer.unseal_bytes(row[column.column.name], context), context))
    return found


def _is_stale(column: SealedColumn, version: int) -> Any:
    """By the first byte, see `issuance.sealing`. What was forgotten is null or empty."""
    first = func.substr(column.column, 1, 1, type_=LargeBinary)
    return and_(func.length(column.column) > 0, first != bytes((version,)))
