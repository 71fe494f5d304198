"""Queries over the catalog's versions. All regions share them; who may change what is `authority`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, time

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from apps_catalog import version_rules as rules
from apps_catalog.catalog import Catalog
from issuance.catalog.current import files_of
from issuance.catalog.models import CatalogEditRow, CatalogFileRow, CatalogReviewRow, CatalogVersionRow
from issuance.clock import CHINA, china_date
from issuance.database import ROW_LOCK, add_unless_taken
from issuance.problems import ProblemError
from issuance.unit import SYSTEM


class CatalogRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def row(self, version_id: str, *, is_locking: bool = False) -> CatalogVersionRow:
        """Raises NOT_FOUND."""
        lock = ROW_LOCK if is_locking else None
        row = await self._session.get(CatalogVersionRow, version_id, with_for_update=lock, populate_existing=is_locking)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such version of the catalog", subject=f"catalog:{version_id}")
        return row

    async def rows(self) -> list[CatalogVersionRow]:
        """Newest number first, as they are now; changes in hand have to be flushed."""
        query = select(CatalogVersionRow).execution_options(populate_existing=True)
        found = await self._session.scalars(query)
        return sorted(found, key=lambda row: rules.order(row.number), reverse=True)

    async def newest_release(self, *, is_alone: bool = False) -> CatalogVersionRow | None:
        """`is_alone`: until this transaction ends nobody else takes a number or releases (the oldest row is locked)."""
        rows = await self.rows()
        if rows and is_alone:
            await self.row(rows[-1].id, is_locking=True)
            rows = await self.rows()
        return next((row for row in rows if row.state == "released"), None)

    async def add(self, row: CatalogVersionRow, files: Mapping[str, bytes]) -> None:
        """Raises CONFLICT where another version took the number at the same moment."""
        if not await add_unless_taken(self._session, row):
            raise ProblemError("CONFLICT", "刚刚有人也起草了新版本，请再试一次 / another version was drafted meanwhile")
        await self.put_files(row, files)

    async def adopt(self, packaged: Catalog, files: Mapping[str, bytes], now: datetime) -> CatalogVersionRow:
        """The data that came with the software, as the first released version: in force since then or before."""
        day = min(packaged.published, china_date(now))
        row = CatalogVersionRow(
            id=uuid.uuid4().hex,
            number=packaged.version,
            base=packaged.version,
            note="随软件提供 / came with the software",
            state="released",
            manifest=rules.digests(files),
            drafted_by=SYSTEM,
            drafted_at=now,
            released_by=SYSTEM,
            released_at=datetime.combine(day, time(), CHINA),
            effective=day,
        )
        await self.add(row, files)
        return row

    async def files(self, row: CatalogVersionRow) -> dict[str, bytes]:
        return await files_of(self._session, row.number)

    async def put_files(self, row: CatalogVersionRow, files: Mapping[str, bytes]) -> None:
        """In the place of those it had; the manifest follows."""
        manifest = rules.digests(files)
        kept = {name for name, digest in row.manifest.items() if manifest.get(name) == digest}
        query = delete(CatalogFileRow).where(CatalogFileRow.version_id == row.id)
        await self._session.execute(query.where(CatalogFileRow.name.not_in(kept)))
        known = select(CatalogFileRow.name).where(CatalogFileRow.version_id == row.id)
        there = set(await self._session.scalars(known))
        self._session.add_all(
            CatalogFileRow(version_id=row.id, name=name, text=raw.decode())
            for name, raw in files.items()
            if name not in there
        )
        row.manifest = manifest
        await self._session.flush()

    async def edits(self, row: CatalogVersionRow) -> Sequence[CatalogEditRow]:
        """Newest first."""
        query = select(CatalogEditRow).where(CatalogEditRow.version_id == row.id)
        return list(await self._session.scalars(query.order_by(CatalogEditRow.revision.desc())))

    async def reviews(self, *rows: CatalogVersionRow) -> Sequence[CatalogReviewRow]:
        """Oldest first, of every round."""
        query = select(CatalogReviewRow).where(CatalogReviewRow.version_id.in_([row.id for row in rows]))
        return list(await self._session.scalars(query.order_by(CatalogReviewRow.id)))

    def add_edit(self, edit: CatalogEditRow) -> None:
        self._session.add(edit)

    def add_review(self, review: CatalogReviewRow) -> None:
        self._session.add(review)
