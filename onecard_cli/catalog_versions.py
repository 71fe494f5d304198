"""`onecard catalog draft, review, release, versions, rollback, diff`: how a catalog becomes the one in force."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onecard_cli.output import print_json, reports_failures

if TYPE_CHECKING:
    from apps_catalog import Catalog
    from apps_catalog.versions import Version

Store = Annotated[Path, typer.Option(help="版本库文件夹 / folder of versions")]
Number = Annotated[str, typer.Argument(help="版本号 / number of the version")]
Note = Annotated[str, typer.Option(help="说明 / note")]
Json = Annotated[bool, typer.Option("--json", help="JSON")]
_DAY = ["%Y-%m-%d"]


@reports_failures
def draft(
    source: Annotated[Path, typer.Argument(help="目录文件夹 / folder of TOML files")],
    store: Store,
    note: Note,
    as_json: Json = False,
) -> None:
    """把一组目录文件定为草稿 / take catalog files as the draft of a new version.

    \b
    Example: ./onecard catalog draft apps_catalog/data --store versions --note "Second half of 2026"
    """
    from apps_catalog.catalog import today
    from apps_catalog.versions import VersionStore

    _show(VersionStore(store).draft(source, note=note, on=today()), store, as_json=as_json)


@reports_failures
def review(
    number: Number,
    region: Annotated[str, typer.Option(help="哪一省 / which province")],
    by: Annotated[str, typer.Option(help="审核人 / who")],
    store: Store,
    refuse: Annotated[bool, typer.Option("--refuse", help="不同意 / say no")] = False,
    note: Note = "",
    as_json: Json = False,
) -> None:
    """一省对草稿的意见，最后一次为准 / one province's word on a draft; its last one counts.

    \b
    Example: ./onecard catalog review 2026.47.3 --region 130000 --by reviewer-1 --store versions
    """
    from apps_catalog.catalog import today
    from apps_catalog.versions import VersionStore

    version = VersionStore(store).review(number, region, accepts=not refuse, by=by, note=note, on=today())
    _show(version, store, as_json=as_json)


@reports_failures
def release(
    number: Number,
    store: Store,
    effective: Annotated[datetime | None, typer.Option(formats=_DAY, help="生效日期，默认今天 / first day")] = None,
    as_json: Json = False,
) -> None:
    """三地都同意后联合发布 / publish jointly once every province said yes.

    \b
    Example: ./onecard catalog release 2026.47.3 --effective 2027-01-01 --store versions
    """
    from apps_catalog.catalog import today
    from apps_catalog.versions import VersionStore

    day = effective.date() if effective else today()
    _show(VersionStore(store).release(number, effective=day, on=today()), store, as_json=as_json)


@reports_failures
def rollback(
    to: Annotated[str, typer.Argument(help="退回到哪个版本的内容 / version whose content comes back")],
    number: Annotated[str, typer.Option("--as", help="新版本号 / number of the new version")],
    store: Store,
    note: Note,
    as_json: Json = False,
) -> None:
    """把旧内容定为新草稿，同样要审核和发布 / draft older content again; reviewed and released like any other.

    \b
    Example: ./onecard catalog rollback 2026.47.3 --as 2026.48.1 --store versions --note "Back to week 47"
    """
    from apps_catalog.catalog import today
    from apps_catalog.versions import VersionStore

    _show(VersionStore(store).rollback(number, to, note=note, on=today()), store, as_json=as_json)


@reports_failures
def versions(
    store: Store,
    on: Annotated[datetime | None, typer.Option(formats=_DAY, help="哪一天生效 / in force on that day")] = None,
    as_json: Json = False,
) -> None:
    """有哪些版本，哪个在用 / the versions, and the one in force.

    \b
    Example: ./onecard catalog versions --store versions
    """
    from apps_catalog.catalog import today
    from apps_catalog.versions import VersionStore

    keep = VersionStore(store)
    current = keep.in_force(on.date() if on else today())
    if as_json:
        known = [_document(version, store) for version in keep.versions()]
        print_json({"in_force": current.number if current else None, "versions": known})
        return
    for version in keep.versions():
        print(_line(version, store, is_current=version == current))


@reports_failures
def diff(
    old: Annotated[str, typer.Argument(help="文件夹或版本号 / folder, or number with --store")],
    new: Annotated[str, typer.Argument(help="文件夹或版本号 / folder, or number with --store")],
    store: Annotated[Path | None, typer.Option(help="版本库文件夹 / folder of versions")] = None,
    as_json: Json = False,
) -> None:
    """两个版本有什么不同，用大白话说 / what two versions promise differently, in plain words.

    \b
    Example: ./onecard catalog diff 2026.47.3 2026.48.1 --store versions
    """
    from apps_catalog.diff import diff as differences

    before, after = _catalog(old, store), _catalog(new, store)
    changes = differences(before, after)
    if as_json:
        found = [change.to_json() for change in changes]
        print_json({"old": before.version, "new": after.version, "changes": found})
        return
    for change in changes:
        print(f"{change.text.zh}\n{change.text.en}  [{change.item.id}]")
        for field in change.fields:
            print(f"    {field.text.zh}\n    {field.text.en}")
    print(f"{before.version} → {after.version}: {len(changes)} 项变化 / changes")


def _catalog(name: str, store: Path | None) -> Catalog:
    from apps_catalog import load
    from apps_catalog.versions import VersionStore

    return load(Path(name)) if store is None or Path(name).is_dir() else VersionStore(store).open(name)


def _regions(version: Version, store: Path) -> tuple[str, ...]:
    from apps_catalog.versions import VersionStore

    return tuple(region.code for region in VersionStore(store).open(version.number).regions)


def _document(version: Version, store: Path) -> dict[str, object]:
    regions = _regions(version, store)
    return version.to_json() | {"stage": version.stage(regions).value, "waits_for": version.missing(regions)}


def _show(version: Version, store: Path, *, as_json: bool) -> None:
    if as_json:
        print_json(_document(version, store))
    else:
        print(_line(version, store, is_current=False))


def _line(version: Version, store: Path, *, is_current: bool) -> str:
    regions = _regions(version, store)
    stage = version.stage(regions)
    words = {
        "draft": "草稿 / draft",
        "review": "审核中 / in review",
        "accepted": "三地已同意 / accepted",
        "released": "已发布 / released",
    }
    missing = version.missing(regions)
    waits = f"，等待 / waits for {', '.join(missing)}" if missing and version.released is None else ""
    since = f"，生效 / from {version.effective}" if version.effective else ""
    return f"{'→' if is_current else ' '} {version.number}  {words[stage.value]}{since}{waits}  {version.note}"
