"""`onecard catalog block`: build the block list, its deltas, and ask it about a card."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onecard_cli.output import print_json, reports_failures

if TYPE_CHECKING:
    from apps_catalog.block_list import BlockList
    from apps_catalog.block_list.builder import Progress
    from apps_catalog.block_list.files import Head

block_app = typer.Typer(help="黑名单 / lost and cancelled cards", no_args_is_help=True, add_completion=False)

Listing = Annotated[Path, typer.Argument(metavar="FILE", help="全部挂失、注销的卡 / every blocked card")]
Into = Annotated[Path, typer.Option(help="发布文件夹 / folder of the edition")]
Json = Annotated[bool, typer.Option("--json", help="JSON")]
_PER_MINUTE = 60


@block_app.command("build")
@reports_failures
def build_full(listing: Listing, into: Into, as_json: Json = False) -> None:
    """生成整期黑名单：过滤器和精确名单 / build a full edition: the filter and the exact list.

    \b
    Example: ./onecard catalog block build blocked.csv --into block-list
    """
    from apps_catalog.block_list import build, read_listing
    from apps_catalog.block_list.files import EXACT, FILTER

    with _progress() as progress:
        head = build(into, read_listing(listing), as_of=int(time.time()), progress=progress)
    _say(head, [into / FILTER, into / EXACT], as_json=as_json)


@block_app.command("delta")
@reports_failures
def build_changes(listing: Listing, into: Into, as_json: Json = False) -> None:
    """生成自上个整期以来的增量 / build what was added and released since the last full edition.

    \b
    Example: ./onecard catalog block delta blocked.csv --into block-list
    """
    from apps_catalog.block_list import build_delta, read_listing
    from apps_catalog.block_list.files import DELTA

    with _progress() as progress:
        head = build_delta(into, read_listing(listing), as_of=int(time.time()), progress=progress)
    _say(head, [into / DELTA], as_json=as_json)


@block_app.command("look")
@reports_failures
def look(
    folder: Annotated[Path, typer.Argument(help="黑名单文件夹 / folder of the edition")],
    card: Annotated[str | None, typer.Option(help="卡识别码 / identification code of the chip")] = None,
    ecard: Annotated[str | None, typer.Option(help="电子社保卡号 / number of the electronic card")] = None,
    profile: Annotated[str, typer.Option(help="kiosk, counter, transit")] = "kiosk",
    offline: Annotated[bool, typer.Option("--offline", help="断网 / without the network")] = False,
    as_json: Json = False,
) -> None:
    """这张卡在黑名单里吗、终端该怎么办 / is the card blocked, and what a terminal does then.

    Without a card it tells the edition and its age. Exit status 1 when the card is refused.

    \b
    Example: ./onecard catalog block look block-list --card 110000D156000005000000A1FFFFFFFF --profile counter
    """
    from apps_catalog.block_list import Action, BlockList, Kind, policies
    from cardlib.failures import FailureCode
    from onecard_cli.output import CommandError

    known = policies()
    if profile not in known or (card is not None and ecard is not None):
        raise CommandError(FailureCode.INPUT_INVALID, f"--profile {', '.join(known)}; --card or --ecard, not both")
    with BlockList(folder) as block_list:
        age_s = time.time() - block_list.as_of
        number = card if card is not None else ecard
        if number is None:
            freshness = known[profile].freshness(age_s)
            _show(block_list, age_s, freshness.value, as_json=as_json)
            return
        verdict = block_list.look(Kind.CARD if card is not None else Kind.ECARD, number)
        decision = known[profile].decide(verdict, age_s, online=not offline)
        if as_json:
            print_json(block_list.to_json() | {"age_s": int(age_s)} | decision.to_json())
        else:
            print("\n".join(f"{text.zh} / {text.en}" for text in decision.texts))
            print(_edition(block_list, age_s))
    if decision.action is Action.REFUSE:
        raise typer.Exit(1)


def _show(block_list: BlockList, age_s: float, freshness: str, *, as_json: bool) -> None:
    if as_json:
        print_json(block_list.to_json() | {"age_s": int(age_s), "freshness": freshness})
    else:
        print(f"{_edition(block_list, age_s)} · {freshness}")


def _edition(block_list: BlockList, age_s: float) -> str:
    when = datetime.fromtimestamp(block_list.as_of, UTC).isoformat(timespec="minutes")
    exact = "有精确名单 / exact" if block_list.has_exact else "只有过滤器 / filter only"
    minutes = int(age_s) // _PER_MINUTE
    count = f"{len(block_list)} 张 / cards"
    return f"第 {block_list.edition} 期 / edition · {when} · {minutes} 分钟前 / min old · {count} · {exact}"


def _say(head: Head, paths: list[Path], *, as_json: bool) -> None:
    sizes = {path.name: path.stat().st_size for path in paths}
    if as_json:
        facts = {"edition": head.edition, "base": head.base, "entries": head.entries, "removed": head.removed}
        print_json(facts | {"bytes": sizes})
        return
    removed = f"，减 / removed {head.removed}" if head.edition != head.base else ""
    files = ", ".join(f"{name} {size}" for name, size in sizes.items())
    print(f"✓ 第 {head.edition} 期 / edition: {head.entries} 张 / entries{removed} · {files} 字节 / bytes")


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """On the screen only: a file or a pipe gets the result and nothing else."""
    if not sys.stderr.isatty():
        yield None
        return
    words = {"read": "读取 / read", "list": "名单 / list", "filter": "过滤器 / filter", "compare": "比较 / compare"}
    try:
        yield lambda step, done: print(f"\r{words[step]}: {done:,}\033[K", end="", file=sys.stderr, flush=True)
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
