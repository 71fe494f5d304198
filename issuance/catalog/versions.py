"""The life of a version in the service, by the steps of `apps_catalog.version_rules`; every step is on record.

The audit trail's entry is the record of a review: who, for which province, of which content (SM3 over all files).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from apps_catalog import version_rules as rules
from apps_catalog.catalog import HEAD_FILE, Catalog
from apps_catalog.diff import diff
from apps_catalog.lint import findings
from apps_catalog.model import Item
from apps_catalog.version_rules import Review, Version, VersionError
from apps_catalog.writing import table_of, with_item
from hsm.primitives import default_engine
from issuance.catalog.authority import Authority
from issuance.catalog.current import version_of
from issuance.catalog.drafts import Drafts, State, find, shared_part
from issuance.catalog.models import CatalogEditRow, CatalogReviewRow, CatalogVersionRow
from issuance.catalog.repository import CatalogRepository
from issuance.clerks.sessions import SignedIn
from issuance.clock import china_date
from issuance.problems import ProblemError
from issuance.unit import Unit

_BEHIND: Final = "起草后又发布了新版本，请先跟上 / a newer version was released: catch up first"


@dataclass(frozen=True, slots=True)
class Standing:
    """A version with the words that count now, and the provinces that have not said yes."""

    row: CatalogVersionRow
    reviews: tuple[CatalogReviewRow, ...]
    waits_for: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """`both`: items that the draft and the newer release changed; the draft's text stays."""

    both: tuple[Item, ...]


class CatalogVersions:
    def __init__(self, unit: Unit, who: SignedIn) -> None:
        self._unit, self._who = unit, who
        self._rows = CatalogRepository(unit.session)
        self._authority = Authority.of(who)

    # -- looking ------------------------------------------------------------------------------------------------------

    async def standings(self) -> list[Standing]:
        """Newest number first."""
        rows = await self._rows.rows()
        reviews = await self._rows.reviews(*(row for row in rows if row.state == "review"))
        return [self._standing(row, reviews) for row in rows]

    async def standing(self, version_id: str) -> Standing:
        """Raises NOT_FOUND."""
        return await self._standing_of(await self._rows.row(version_id))

    async def edits(self, row: CatalogVersionRow) -> Sequence[CatalogEditRow]:
        return await self._rows.edits(row)

    async def reviews(self, row: CatalogVersionRow) -> Sequence[CatalogReviewRow]:
        """Of every round, oldest first."""
        return await self._rows.reviews(row)

    async def is_behind(self, row: CatalogVersionRow) -> bool:
        """Whether another version was released since this one began."""
        return await self.newest() not in ("", row.base)

    async def newest(self) -> str:
        """Number of the newest release, empty while there is none."""
        row = await self._rows.newest_release()
        return row.number if row else ""

    # -- steps --------------------------------------------------------------------------------------------------------

    async def draft(self, note: str) -> CatalogVersionRow:
        """A copy of the newest released version, to be changed."""
        base = await self._base()
        row = await self._begin(base, await self._rows.files(base), note, state="draft", again=None)
        await self._audit("catalog.draft", row, {"base": base.number})
        return row

    async def rollback(self, version_id: str, note: str) -> CatalogVersionRow:
        """The content of an older released version under a new number, handed in for review.

        Raises NOT_FOUND, CONFLICT for what was never released or is the newest, CATALOG_INVALID for what lint finds.
        """
        base, to = await self._base(), await self._rows.row(version_id)
        if to.state != "released" or to.number == base.number:
            raise ProblemError("CONFLICT", "只能退回较早发布的版本 / only an older released version can come back")
        files = await self._rows.files(to)
        rules.demand_manifest(version_of(to), files)
        self._demand_sound(await self._unit.services.catalogs.parse(files), self._subject(to))
        row = await self._begin(base, files, note, state="review", again=to.number)
        row.round, row.handed_in_by, row.handed_in_at = 1, self._who.login, self._unit.now
        await self._audit("catalog.rollback", row, {"to": to.number})
        return row

    async def hand_in(self, version_id: str) -> None:
        """From now on the provinces look at it and nobody changes it.

        Raises CONFLICT for what is no draft, changes nothing, has fallen behind or changed an item under its old
        number; CATALOG_INVALID for what lint objects to.
        """
        state = await self._state(version_id, "draft")
        row = state.row
        if await self.is_behind(row):
            raise ProblemError("CONFLICT", _BEHIND, subject=self._subject(row))
        if not diff(state.base, state.catalog) and shared_part(state.base.head) == shared_part(state.catalog.head):
            raise ProblemError("CONFLICT", "和现行版本没有差别 / it differs in nothing from what is in force")
        self._demand_sound(state.catalog, self._subject(row))
        try:
            rules.demand_items_rose(state.base, state.catalog)
        except VersionError as error:
            raise ProblemError("CONFLICT", f"{error.zh} / {error}", subject=self._subject(row)) from error
        row.revision += 1
        await self._renumber(row, state.files, row.number)
        self._rows.add_edit(self._edit(row, "hand_in", []))
        row.state, row.round = "review", row.round + 1
        row.handed_in_by, row.handed_in_at = self._who.login, self._unit.now
        await self._audit("catalog.hand_in", row, {"round": row.round})

    async def take_back(self, version_id: str) -> None:
        """A draft again; what was said so far counts no more. Raises CONFLICT, for an older content too."""
        row = await self._row(version_id, "review")
        if row.again is not None:
            raise ProblemError("CONFLICT", "退回的内容不能改，只能放弃 / older content is not changed, only dropped")
        row.state = "draft"
        await self._audit("catalog.take_back", row, {"round": row.round})

    async def drop(self, version_id: str) -> None:
        """It stays on record and goes nowhere. Raises CONFLICT for what was released or dropped."""
        row = await self._row(version_id, "draft", "review")
        row.state = "dropped"
        await self._audit("catalog.drop", row, {})

    async def review(self, version_id: str, *, accepts: bool, note: str, round_seen: int) -> None:
        """The word of the clerk's province; the last one counts.

        Raises CONFLICT where the page showed another round, ACT_FORBIDDEN, APPROVAL_SELF for who worked at it.
        """
        row = await self._row(version_id, "review")
        if row.round != round_seen:
            raise ProblemError("CONFLICT", "内容已经改过，请重新看 / the content has changed: look again")
        province = self._authority.demand_province(self._unit.services.catalogs.packaged, self._subject(row))
        await self._demand_other(row)
        standing = await self._standing_of(row)
        said = Review(province, accepts, self._who.login, note, self._today)
        rules.reviewed(self._version(standing), self._regions, said)
        self._rows.add_review(
            CatalogReviewRow(
                version_id=row.id,
                round=row.round,
                province=province,
                accepts=accepts,
                by=self._who.login,
                note=note,
                at=self._unit.now,
            )
        )
        detail = {"province": province, "accepts": accepts, "round": row.round}
        await self._audit("catalog.review", row, detail, reason=note)

    async def release(self, version_id: str, effective: date, note: str) -> None:
        """In force from that day on. Raises CONFLICT without every province's yes or for a day before that of an
        earlier release, INPUT_INVALID for one that is past or too far off, APPROVAL_SELF for who worked at it.
        """
        row = await self._row(version_id, "review")
        await self._demand_other(row)
        await self._rows.newest_release(is_alone=True)
        if await self.is_behind(row):
            raise ProblemError("CONFLICT", _BEHIND, subject=self._subject(row))
        standing = await self._standing_of(row)
        known = [version_of(other) for other in await self._rows.rows()]
        try:
            rules.released(self._version(standing), self._regions, known, effective=effective, on=self._today)
        except VersionError as error:
            raise ProblemError(error.failure, f"{error.zh} / {error}", subject=self._subject(row)) from error
        row.state, row.effective = "released", effective
        row.released_by, row.released_at = self._who.login, self._unit.now
        self._unit.after_commit.append(self._unit.services.catalogs.forget)
        await self._audit("catalog.release", row, {"effective": effective.isoformat()}, reason=note)

    async def catch_up(self, version_id: str) -> CaughtUp:
        """The draft's changes on top of the version that was released meanwhile, under a new number.

        Raises CONFLICT where both changed what all files share.
        """
        state, base = await self._state(version_id, "draft"), await self._base()
        newer_files = await self._rows.files(base)
        newer = await self._unit.services.catalogs.parse(newer_files)
        files, both = _merged(state, newer_files, newer)
        number = rules.next_number([known.number for known in await self._rows.rows()], self._today)
        row = state.row
        row.base, row.revision = base.number, row.revision + 1
        await self._renumber(row, files, number)
        self._rows.add_edit(self._edit(row, "catch_up", [item.id for item in both]))
        await self._audit("catalog.catch_up", row, {"base": base.number, "both": len(both)})
        return CaughtUp(tuple(both))

    # -- parts --------------------------------------------------------------------------------------------------------

    @property
    def _today(self) -> date:
        return china_date(self._unit.now)

    async def _base(self) -> CatalogVersionRow:
        """The newest released version; what came with the software becomes one at the first draft."""
        catalogs = self._unit.services.catalogs
        known = await self._rows.newest_release(is_alone=True)
        return known or await self._rows.adopt(catalogs.packaged, await catalogs.files(), self._unit.now)

    async def _begin(
        self, base: CatalogVersionRow, files: dict[str, bytes], note: str, *, state: str, again: str | None
    ) -> CatalogVersionRow:
        number = rules.next_number([known.number for known in await self._rows.rows()], self._today)
        head = rules.renumbered(files[HEAD_FILE].decode(), number, self._today).encode()
        files = files | {HEAD_FILE: head}
        row = CatalogVersionRow(
            id=uuid.uuid4().hex,
            number=number,
            base=base.number,
            again=again,
            note=note,
            state=state,
            revision=0,
            round=0,
            manifest={},
            drafted_by=self._who.login,
            access_by=self._who.access_by,
            drafted_at=self._unit.now,
        )
        await self._rows.add(row, files)
        return row

    async def _renumber(self, row: CatalogVersionRow, files: dict[str, bytes], number: str) -> None:
        head = rules.renumbered(files[HEAD_FILE].decode(), number, self._today).encode()
        row.number = number
        await self._rows.put_files(row, files | {HEAD_FILE: head})

    def _edit(self, row: CatalogVersionRow, act: str, items: list[str]) -> CatalogEditRow:
        return CatalogEditRow(
            version_id=row.id,
            revision=row.revision,
            at=self._unit.now,
            by=self._who.login,
            access_by=self._who.access_by,
            act=act,
            items=items,
        )

    async def _row(self, version_id: str, *states: str) -> CatalogVersionRow:
        row = await self._rows.row(version_id, is_locking=True)
        if row.state not in states:
            text = "这个版本的状态变了，请刷新再看 / the version's state has changed: look again"
            raise ProblemError("CONFLICT", text, subject=self._subject(row))
        return row

    async def _state(self, version_id: str, *states: str) -> State:
        return await Drafts(self._unit, self._who).state(await self._row(version_id, *states))

    def _demand_sound(self, catalog: Catalog, subject: str) -> None:
        """Raises CATALOG_INVALID for what lint objects to."""
        found = findings(catalog, self._today)
        if found:
            text = f"还有{len(found)}处要改，见“检查” / {len(found)} findings are left, see “Check”"
            raise ProblemError("CATALOG_INVALID", text, status=409, subject=subject)

    async def _demand_other(self, row: CatalogVersionRow) -> None:
        """Four eyes: who drafted, changed or handed it in does not speak for it, nor one who gave the other access."""
        edits = await self._rows.edits(row)
        authors = {row.drafted_by, row.handed_in_by, *(edit.by for edit in edits)}
        gave = {row.access_by, *(edit.access_by for edit in edits)}
        if self._who.login in authors | gave or self._who.access_by in authors:
            raise ProblemError("APPROVAL_SELF", "the same clerk worked at it", subject=self._subject(row))

    @property
    def _regions(self) -> tuple[str, ...]:
        return tuple(region.code for region in self._unit.services.catalogs.packaged.regions)

    async def _standing_of(self, row: CatalogVersionRow) -> Standing:
        return self._standing(row, await self._rows.reviews(row))

    def _standing(self, row: CatalogVersionRow, reviews: Sequence[CatalogReviewRow]) -> Standing:
        said = tuple(one for one in reviews if (one.version_id, one.round) == (row.id, row.round))
        standing = Standing(row, said, ())
        return replace(standing, waits_for=tuple(self._version(standing).missing(self._regions)))

    def _version(self, standing: Standing) -> Version:
        said = tuple(
            Review(review.province, review.accepts, review.by, review.note, china_date(review.at))
            for review in standing.reviews
        )
        return replace(version_of(standing.row), reviews=said)

    def _subject(self, row: CatalogVersionRow) -> str:
        return f"catalog:{row.number}"

    async def _audit(self, act: str, row: CatalogVersionRow, detail: dict[str, Any], reason: str = "") -> None:
        content = default_engine().sm3(json.dumps(row.manifest, sort_keys=True).encode()).hex()
        detail = detail | {"content_sm3": content}
        await self._unit.audit(act, self._subject(row), region=self._who.region, detail=detail, reason=reason)


def _merged(state: State, newer_files: dict[str, bytes], newer: Catalog) -> tuple[dict[str, bytes], list[Item]]:
    """The newer version's files with the draft's items in them, and the items both had changed."""
    files, both = dict(newer_files), []
    for change in diff(state.base, state.catalog):
        item_id = change.item.id
        mine, was, theirs = state.item(item_id), find(state.base, item_id), find(newer, item_id)
        if theirs != was and mine != theirs:
            both.append(change.item)
        if mine is not None and theirs is not None:
            mine = replace(mine, version=theirs.version + 1)
        files = with_item(files, item_id, change.item.owner, table_of(mine) if mine else None)
    heads = [_undated(known[HEAD_FILE]) for known in (state.base_files, newer_files, state.files)]
    if heads[2] != heads[0]:
        if heads[1] not in (heads[0], heads[2]):
            raise ProblemError(
                "CONFLICT",
                "两边都改了catalog.toml，请导出后人工合并 / both changed catalog.toml: export and merge by hand",
            )
        files[HEAD_FILE] = state.files[HEAD_FILE]
    return files, both


def _undated(head: bytes) -> str:
    return rules.renumbered(head.decode(), "2000.1.1", date(2000, 1, 1))
