"""The catalog in force, for every replica alike: the released versions of the database, else the packaged data."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from apps_catalog import version_rules as rules
from apps_catalog.catalog import DATA, Catalog, read_catalog, read_files
from apps_catalog.version_rules import Version
from issuance.catalog.models import CatalogFileRow, CatalogVersionRow
from issuance.clock import Clock, china_date
from issuance.database import Database
from issuance.problems import ProblemError

FRESH: Final = timedelta(seconds=5)
"""For so long a release of another replica may stay unseen."""
_Key = tuple[tuple[str, str], ...]
_MOST: Final = 8
"""Catalogs in memory; each is some hundred kilobytes."""


@dataclass(frozen=True, slots=True)
class Release:
    """`effective` is the first day of the version."""

    number: str
    effective: date
    released: date
    note: str


@dataclass(frozen=True, slots=True)
class _Seen:
    at: datetime
    versions: tuple[Version, ...]


class Catalogs:
    """Reads for itself, outside any unit of work: the catalog is the same for everybody."""

    def __init__(self, database: Database, clock: Clock, packaged: Catalog, path: Path | None) -> None:
        self._database = database
        self._clock = clock
        self._path = DATA if path is None else path
        self.packaged = packaged
        self._seen: _Seen | None = None
        self._known: dict[_Key, Catalog] = {}

    async def current(self, day: date | None = None) -> Catalog:
        """In force on that day, by default today in China."""
        version = await self._in_force(day)
        return self.packaged if version is None else await self._open(version)

    async def files(self, day: date | None = None) -> dict[str, bytes]:
        """Of the version in force on that day, by name."""
        version = await self._in_force(day)
        if version is None:
            return await asyncio.to_thread(read_files, self._path)
        async with self._database.look() as session:
            return await files_of(session, version.number)

    async def releases(self) -> tuple[Release, ...]:
        """Oldest first; the packaged data alone while nothing was released."""
        found = tuple(
            Release(version.number, version.effective, version.released, version.note)
            for version in await self._versions()
            if version.effective and version.released
        )
        day = self.packaged.published
        return found or (Release(self.packaged.version, day, day, ""),)

    async def get(self, number: str) -> Catalog:
        """Of a released version. Raises NOT_FOUND."""
        version = next((known for known in await self._versions() if known.number == number), None)
        if version is not None:
            return await self._open(version)
        if number == self.packaged.version:
            return self.packaged
        raise ProblemError("NOT_FOUND", "no such version of the catalog")

    async def parse(self, files: dict[str, bytes]) -> Catalog:
        """The catalog of files that are no version's yet; beside the event loop. Raises CatalogError."""
        key = tuple(rules.digests(files).items())
        return self._kept(key) or self._keep(key, await asyncio.to_thread(read_catalog, files))

    def forget(self) -> None:
        """After a release: the next question asks the database."""
        self._seen = None

    async def _in_force(self, day: date | None) -> Version | None:
        return rules.in_force(await self._versions(), china_date(self._clock()) if day is None else day)

    async def _versions(self) -> tuple[Version, ...]:
        now = self._clock()
        if self._seen is None or not timedelta() <= now - self._seen.at < FRESH:
            query = select(CatalogVersionRow).where(CatalogVersionRow.state == "released")
            async with self._database.look() as session:
                rows = list(await session.scalars(query))
            versions = sorted(map(version_of, rows), key=lambda version: rules.order(version.number))
            self._seen = _Seen(now, tuple(versions))
        return self._seen.versions

    async def _open(self, version: Version) -> Catalog:
        kept = self._kept(tuple(sorted(version.files.items())))
        if kept is not None:
            return kept
        async with self._database.look() as session:
            files = await files_of(session, version.number)
        rules.demand_manifest(version, files)
        return await self.parse(files)

    def _kept(self, key: _Key) -> Catalog | None:
        found = self._known.pop(key, None)
        return found and self._keep(key, found)

    def _keep(self, key: _Key, catalog: Catalog) -> Catalog:
        """As the one asked for last; those not asked for in a long while go."""
        self._known[key] = catalog
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
        return catalog


def version_of(row: CatalogVersionRow) -> Version:
    """Without its reviews."""
    return Version(
        number=row.number,
        drafted=china_date(row.drafted_at),
        note=row.note,
        files=row.manifest,
        again=row.again,
        released=china_date(row.released_at) if row.released_at else None,
        effective=row.effective,
    )


async def files_of(session: AsyncSession, number: str) -> dict[str, bytes]:
    """TOML files of a version by name."""
    query = select(CatalogFileRow.name, CatalogFileRow.text).join(
        CatalogVersionRow, CatalogVersionRow.id == CatalogFileRow.version_id
    )
    found = await session.execute(query.where(CatalogVersionRow.number == number).order_by(CatalogFileRow.name))
    return {name: text.encode() for name, text in found}
