"""`onecard audit`: the log of every act, verified, exported and proved on the centre's own machine."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    from issuance.services import Services
    from issuance.settings import Settings
    from onecard_cli.home import Home

T = TypeVar("T")
audit_app = typer.Typer(help="审计日志 / the audit log", no_args_is_help=True, add_completion=False)
DatabaseOption = Annotated[
    str | None, typer.Option("--database-url", help="默认内置 SQLite / default: embedded SQLite")
]
JsonOption = Annotated[bool, typer.Option("--json", help="给程序读 / for programs")]
HeadsOption = Annotated[
    Path | None, typer.Option("--heads", help="另存的树头文件 / heads that were anchored elsewhere")
]
VERIFIER = "verifier.py"


@audit_app.command("verify")
@reports_failures
def verify(heads: HeadsOption = None, database_url: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """逐条核对：改动、删除、换位、截断都指名 / check every entry; each change, deletion, move or cut is named.

    \b
    Example: ./onecard audit verify
    """
    from cardlib.failures import FailureCode
    from issuance.audit.heads import HeadFile
    from issuance.audit.report import verify_log

    if heads is not None and not heads.exists():
        raise CommandError(FailureCode.NOT_FOUND, str(heads))
    anchored = None if heads is None else HeadFile(heads).heads()
    report = with_services(database_url, lambda services: verify_log(services, anchored=anchored))
    if as_json:
        print_json(report.to_json())
    else:
        for finding in report.findings:
            print(f"✗ {finding}")
        mark = "✗" if report.findings else "✓"
        counts = f"{report.entries} entries, {report.heads} heads, {report.waiting} waiting, {report.unsealed} unsealed"
        print(f"{mark} {counts}: {len(report.findings)} 处问题 / findings")
    if report.findings:
        if not as_json:
            raise CommandError(FailureCode.AUDIT_BROKEN)
        raise typer.Exit(1)


@audit_app.command("prove")
@reports_failures
def prove(
    entry_id: Annotated[int | None, typer.Argument(min=1, help="记录号 / id of the entry")] = None,
    since: Annotated[int | None, typer.Option("--since", min=1, help="旧树头的大小 / size of an older head")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="写入文件，.json / write a .json file")] = None,
    database_url: DatabaseOption = None,
) -> None:
    """证明一条记录在日志里，或日志自某个树头以来只增不改 / prove that an entry stands in the log, or with
    --since that the log only grew since a head.

    \b
    Example: ./onecard audit prove 42 --out proof.json
    """
    from cardlib.failures import FailureCode
    from issuance.audit.report import prove_entry, prove_growth

    if (entry_id is None) is (since is None):
        raise CommandError(FailureCode.INPUT_INVALID, "an entry, or --since")

    async def work(services: Services) -> dict[str, Any]:
        async with services.database.transaction(is_reading=True) as session:
            if entry_id is not None:
                return await prove_entry(services, session, entry_id)
            return await prove_growth(services, session, since or 0, None)

    if out is not None and not out.parent.is_dir():
        raise CommandError(FailureCode.NOT_FOUND, str(out.parent))
    proof = with_services(database_url, work)
    if out is None:
        print_json(proof)
        return
    out.write_text(json.dumps(proof, indent=2) + "\n", encoding="utf-8")
    print(f"✓ {out}")


@audit_app.command("export")
@reports_failures
def export(
    out: Annotated[Path, typer.Argument(help="目标文件 / target: audit.jsonl")],
    database_url: DatabaseOption = None,
) -> None:
    """导出全部日志和独立核验程序，供监管方在自己的机器上核对 / write the whole log and, beside it, the verifier that a
    regulator runs without this service.

    \b
    Example: ./onecard audit export audit.jsonl
    """
    from cardlib.failures import FailureCode
    from issuance.audit import verifier
    from issuance.audit.report import export_lines, fingerprints

    if not out.parent.is_dir():
        raise CommandError(FailureCode.NOT_FOUND, str(out.parent))

    async def work(services: Services) -> dict[int, str]:
        with out.open("w", encoding="utf-8") as file:
            async for line in export_lines(services):
                file.write(line)
        return fingerprints(services)

    keys = with_services(database_url, work)
    program = out.parent / VERIFIER
    program.write_text(Path(verifier.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    print(f"✓ {out}, {program}")
    print(f"  python3 {program} {out} " + " ".join(f"--key {text}" for text in keys.values()))


@audit_app.command("key")
@reports_failures
def key(database_url: DatabaseOption = None) -> None:
    """签树头的公钥的指纹，公布给监管方 / fingerprints of the keys that sign heads, to be published.

    \b
    Example: ./onecard audit key
    """
    from issuance.audit.report import fingerprints

    async def work(services: Services) -> dict[int, str]:
        return fingerprints(services)

    print_json(with_services(database_url, work))


def with_heads(home: Home, settings: Settings) -> Settings:
    """The embedded installation keeps the signed heads in its home folder."""
    path = settings.audit_heads_path or home.audit_heads(settings.database_url)
    return settings.model_copy(update={"audit_heads_path": path})


def with_services(database_url: str | None, work: Callable[[Services], Awaitable[T]]) -> T:
    """Run `work` over the centre's own database and keys, on the server itself."""
    from sqlalchemy.exc import OperationalError, ProgrammingError

    from cardlib.failures import FailureCode
    from issuance.app import close_services, create_services
    from issuance.settings import Settings
    from onecard_cli.home import Home
    from onecard_cli.publication import with_publication

    home = Home.default()
    url = database_url or os.environ.get("ONECARD_ISSUANCE_DATABASE_URL") or home.database_url
    settings = with_publication(home, with_heads(home, Settings(database_url=url)))

    async def run() -> T:
        with home.keys_in_use() as keys:
            services = create_services(settings, keys)
            try:
                return await work(services)
            finally:
                await close_services(services)

    try:
        return asyncio.run(run())
    except (OperationalError, ProgrammingError) as error:  # its words quote the statement
        hint = "新的数据库先运行 onecard issuance migrate / a new database needs onecard issuance migrate first"
        raise CommandError(FailureCode.DATABASE_UNAVAILABLE, f"{type(error.orig).__name__}; {hint}") from None
