"""Changes of a draft: one item at a time or many from a list, each on record, none over what another clerk wrote."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from apps_catalog import version_rules as rules
from apps_catalog.catalog import HEAD_FILE, Catalog, read_files
from apps_catalog.diff import FieldChange, diff
from apps_catalog.errors import CatalogError
from apps_catalog.fields import Fault
from apps_catalog.importer import Report, import_list
from apps_catalog.model import Item
from apps_catalog.reader import Head, check_item, read_item
from apps_catalog.writing import say_same, table_of, with_item
from issuance.catalog.authority import Authority
from issuance.catalog.models import CatalogEditRow, CatalogVersionRow
from issuance.catalog.repository import CatalogRepository
from issuance.clerks.sessions import SignedIn
from issuance.problems import ProblemError
from issuance.unit import Unit

SHOWN_ITEMS = 20
MAX_NAME = 60
_NO_NAME = re.compile(r"[^A-Za-z0-9.-]+|^[.]+")
"""At most so many ids go into an audit entry."""


class ItemRefusedError(ProblemError):
    """What was typed is no item; nothing was stored."""

    def __init__(self, faults: Sequence[Fault], subject: str) -> None:
        super().__init__("INPUT_INVALID", "; ".join(map(str, faults)), subject=subject)
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """Another clerk's change of the same item. `changes` are those against what was there when the page was opened."""

    by: str
    at: Any
    changes: tuple[FieldChange, ...]


class ItemChangedError(ProblemError):
    """Another clerk changed the item since the page was opened; nothing was stored."""

    def __init__(self, meanwhile: Meanwhile, subject: str) -> None:
        super().__init__("CONFLICT", f"changed meanwhile by {meanwhile.by}", subject=subject)
        self.meanwhile = meanwhile


@dataclass(frozen=True, slots=True)
class State:
    """A draft as it stands, and the version it began from."""

    row: CatalogVersionRow
    files: dict[str, bytes]
    catalog: Catalog
    base_files: dict[str, bytes]
    base: Catalog

    @property
    def subject(self) -> str:
        return f"catalog:{self.row.number}"

    def item(self, item_id: str) -> Item | None:
        return find(self.catalog, item_id)


def find(catalog: Catalog, item_id: str) -> Item | None:
    return next((item for item in catalog.items if item.id == item_id), None)


class Drafts:
    def __init__(self, unit: Unit, who: SignedIn) -> None:
        self._unit, self._who = unit, who
        self._rows = CatalogRepository(unit.session)
        self._authority = Authority.of(who)

    async def state(self, row: CatalogVersionRow) -> State:
        catalogs = self._unit.services.catalogs
        base = next(known for known in await self._rows.rows() if known.number == row.base)
        files, base_files = await self._rows.files(row), await self._rows.files(base)
        return State(row, files, await catalogs.parse(files), base_files, await catalogs.parse(base_files))

    async def put(self, version_id: str, item_id: str | None, owner: str, table: dict[str, Any], seen: int) -> Item:
        """`table` as the item, under the number and with the change note that follow from the base; None: a new item.

        What equals the base again is the base's. Raises ItemRefusedError, ItemChangedError, ACT_FORBIDDEN, NOT_FOUND,
        and CONFLICT for what is no draft any more.
        """
        state = await self._open(version_id)
        old = None if item_id is None else await self._unchanged(state, item_id, seen)
        base = None if item_id is None else find(state.base, item_id)
        self._authority.demand([old] if old else [], state.subject)
        table = _in_order(table, table_of(old)) if old else table
        item, faults = check_item(_numbered(table, base), owner=owner, head=state.catalog.head)
        if base is not None and _is_as_before(table, base, state.catalog.head):
            item = base
        if item is not None and item_id is None and (state.item(item.id) or find(state.base, item.id)):
            item, faults = None, [Fault("id", "is used by an earlier item")]
        if item is None:
            raise ItemRefusedError(faults, state.subject)
        self._authority.demand([item], state.subject)
        if item != old:
            await self._store(state, item.id, item, "change" if old else "add", old)
        return item

    async def remove(self, version_id: str, item_id: str, seen: int) -> None:
        """Raises as `put`."""
        state = await self._open(version_id)
        old = await self._unchanged(state, item_id, seen)
        self._authority.demand([old], state.subject)
        await self._store(state, item_id, None, "remove", old)

    async def restore(self, version_id: str, item_id: str, seen: int) -> None:
        """Back to what the base says of the item: it comes again, goes, or is as it was. Raises as `put`."""
        state = await self._open(version_id)
        old, base = state.item(item_id), find(state.base, item_id)
        if old is not None:
            await self._unchanged(state, item_id, seen)
        known = [item for item in (old, base) if item]
        if not known:
            raise ProblemError("NOT_FOUND", "no such item", subject=state.subject)
        self._authority.demand(known, state.subject)
        if old != base:
            await self._store(state, item_id, base, "restore", old)

    async def bring(
        self, version_id: str, name: str, data: bytes, *, owner: str, defaults: bytes, replace: bool, seen: int
    ) -> Report:
        """A list as CSV or XLSX, or an item file as TOML; stored whole or not at all.

        Raises TableError, CatalogError, ACT_FORBIDDEN, and CONFLICT where the draft changed since `seen`.
        """
        name = _NO_NAME.sub("-", name)[-MAX_NAME:]
        state = await self._open(version_id)
        if state.row.revision != seen:
            raise ProblemError("CONFLICT", "草稿已被改动，请重新打开再导入 / the draft has changed: open it again")
        if name.endswith(".toml"):
            files, report = {**state.files, name: data}, Report((), None)
        else:
            files, report = await asyncio.to_thread(_imported, state.files, name, data, owner, defaults, replace)
        if report.faults:
            return report
        catalog = await self._unit.services.catalogs.parse(files)
        touched = [change.item for change in diff(state.catalog, catalog)]
        before = [item for item in map(state.item, (item.id for item in touched)) if item]
        self._authority.demand([*touched, *before], state.subject)
        has_new_head = shared_part(catalog.head) != shared_part(state.catalog.head)
        if has_new_head:
            self._authority.demand_head(state.subject)
        if not touched and not has_new_head:
            return report
        head = rules.renumbered(files[HEAD_FILE].decode(), state.row.number, catalog.published)
        await self._keep(state, files | {HEAD_FILE: head.encode()}, "import", [item.id for item in touched], None)
        return report

    async def _open(self, version_id: str) -> State:
        row = await self._rows.row(version_id, is_locking=True)
        if row.state != "draft":
            raise ProblemError("CONFLICT", "这个版本已不是草稿 / this version is no draft any more")
        return await self.state(row)

    async def _unchanged(self, state: State, item_id: str, seen: int) -> Item:
        """Raises NOT_FOUND, ItemChangedError."""
        item = state.item(item_id)
        since = [edit for edit in await self._rows.edits(state.row) if edit.revision > seen]
        edits = [edit for edit in since if edit.act == "catch_up" or item_id in edit.items]
        if item is None:
            raise ProblemError("NOT_FOUND", "the item is not in this version", subject=state.subject)
        if edits:
            was = _item_of(edits[-1].before, item, state.catalog.head)
            changes = next((change.fields for change in diff_of(state.catalog, was, item)), ())
            raise ItemChangedError(Meanwhile(edits[0].by, edits[0].at, changes), state.subject)
        return item

    async def _store(self, state: State, item_id: str, item: Item | None, act: str, old: Item | None) -> None:
        owner = (item or old or state.base.item(item_id)).owner
        files = with_item(state.files, item_id, owner, table_of(item) if item else None)
        files = _as_in_base(files, state.base_files)
        await self._unit.services.catalogs.parse(files)
        await self._keep(state, files, act, [item_id], old)

    async def _keep(
        self, state: State, files: Mapping[str, bytes], act: str, items: list[str], before: Item | None
    ) -> None:
        row = state.row
        await self._rows.put_files(row, files)
        row.revision += 1
        self._rows.add_edit(
            CatalogEditRow(
                version_id=row.id,
                revision=row.revision,
                at=self._unit.now,
                by=self._who.login,
                access_by=self._who.access_by,
                act=act,
                items=items,
                before=None if before is None else _json(table_of(before)),
            )
        )
        detail = {"items": items[:SHOWN_ITEMS], "count": len(items), "revision": row.revision}
        await self._unit.audit(f"catalog.{act}", state.subject, region=self._who.region, detail=detail)


def diff_of(catalog: Catalog, old: Item | None, new: Item) -> list[Any]:
    """The differences of two items, in the words of a catalog."""
    return diff(Catalog(catalog.head, [old] if old else []), Catalog(catalog.head, [new]))


def _numbered(table: dict[str, Any], base: Item | None) -> dict[str, Any]:
    if base is None:
        return {key: value for key, value in table.items() if key != "change"} | {"version": 1}
    return table | {"version": base.version + 1}


def _in_order(new: Any, old: Any) -> Any:
    """`new` with the words of its lists as `old` has them, and what is added behind: boxes of a form have no order."""
    if isinstance(new, dict) and isinstance(old, dict):
        return {key: _in_order(value, old.get(key)) for key, value in new.items()}
    if isinstance(new, list) and isinstance(old, list) and all(isinstance(entry, str) for entry in new + old):
        return [entry for entry in old if entry in new] + [entry for entry in new if entry not in old]
    return new


def _is_as_before(table: dict[str, Any], base: Item, head: Head) -> bool:
    """Whether the table differs from the base's item in nothing but number and note."""
    told = {key: value for key, value in table_of(base).items() if key in ("version", "change")}
    rest = {key: value for key, value in table.items() if key not in ("version", "change")}
    return check_item(rest | told, owner=base.owner, head=head)[0] == base


def _as_in_base(files: Mapping[str, bytes], base: Mapping[str, bytes]) -> dict[str, bytes]:
    """With the base's own text, comments and all, where a file says the same."""
    return {
        name: base[name] if name in base and name != HEAD_FILE and say_same(raw, base[name]) else raw
        for name, raw in files.items()
    }


def shared_part(head: Head) -> tuple[object, ...]:
    """What two versions of `catalog.toml` say, number and day apart."""
    return head.notice, head.domains, head.regions, head.sources, head.areas


def _imported(
    files: Mapping[str, bytes], name: str, data: bytes, owner: str, defaults: bytes, replace: bool
) -> tuple[dict[str, bytes], Report]:
    with tempfile.TemporaryDirectory() as folder:
        into, beside = Path(folder) / "into", Path(folder) / "beside"
        into.mkdir()
        beside.mkdir()
        for known, raw in files.items():
            (into / known).write_bytes(raw)
        table, shared = beside / name, Path(folder) / "defaults.toml"
        table.write_bytes(data)
        shared.write_bytes(defaults or f'owner = "{owner}"\n'.encode())
        report = import_list(table, into, defaults=shared, replace=replace)
        return read_files(into), report


def _json(table: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(table, default=lambda day: {"day": day.isoformat()}))
    return found


def _item_of(kept: dict[str, Any] | None, now: Item, head: Head) -> Item | None:
    """What `_json` kept; None where the catalog has moved on so far that it is no item any more."""
    if kept is None:
        return None
    table = json.loads(json.dumps(kept), object_hook=_day_or_table)
    try:
        return read_item(table, owner=now.owner, head=head)
    except (Fault, CatalogError):
        return None


def _day_or_table(entry: dict[str, Any]) -> Any:
    return date.fromisoformat(entry["day"]) if entry.keys() == {"day"} else entry
