"""Two versions of the catalog released at the same moment."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from issuance.catalog.models import CatalogVersionRow
from issuance.catalog.versions import CatalogVersions
from tests.issuance.conftest import START
from tests.issuance.console.catalog_stand import provinces
from tests.issuance.console.conftest import Console

__all__ = ["provinces"]


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_of_two_releases_at_once_one_counts(provinces: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each begun from the same version, agreed on by all. On SQLite only one writes at a time."""
    asked, both = [], asyncio.Event()

    async def is_behind(self: CatalogVersions, row: CatalogVersionRow) -> bool:
        """Answers when the other has come as far, if nothing keeps it from coming."""
        found = await ask(self, row)
        asked.append(row.id)
        if len(asked) == 2:
            both.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(both.wait(), 0.3)
        return found

    store, drafts = provinces.centre.store, []
    editor = await provinces.log_in("ji-edit")
    for _ in range(2):
        await editor.get("/console/catalog")
        await editor.post("/console/catalog/draft", reason="增加扫码")
        drafts.append(editor.path)
    store.sql("UPDATE catalog_versions SET state = 'review' WHERE state = 'draft'")
    store.sql(
        "INSERT INTO catalog_reviews (version_id, round, province, accepts, by, note, at) "
        "SELECT id, 0, region, true, 'x', '', drafted_at FROM catalog_versions, "
        "(VALUES ('110000'), ('120000'), ('130000')) AS known (region) WHERE state = 'review'"
    )
    chiefs = [await provinces.log_in("jing-chief") for _ in drafts]
    for chief, at in zip(chiefs, drafts, strict=True):
        await chief.get(f"{at}/release")
    orders = [
        chief.post(f"{at}/release", effective=START.date().isoformat(), reason="一起")
        for chief, at in zip(chiefs, drafts, strict=True)
    ]
    ask = CatalogVersions.is_behind
    monkeypatch.setattr(CatalogVersions, "is_behind", is_behind)
    await asyncio.gather(*orders)
    assert sorted(chief.status for chief in chiefs) == [200, 409], [chief.words for chief in chiefs]
    states = store.sql("SELECT state FROM catalog_versions WHERE number <> base")
    assert sorted(states) == [("released",), ("review",)]
