"""`onecard office rules`: check, show and describe rule packs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from onecard_cli.output import print_json, reports_failures

rules_app = typer.Typer(help="地区规则包 / rule packs of regions", no_args_is_help=True, add_completion=False)
DirectoryOption = Annotated[
    Path | None,
    typer.Option(
        "--rules", envvar="ONECARD_ISSUANCE_RULES_PATH", help="规则目录，默认随附 / folder of packs, default: shipped"
    ),
]


@rules_app.command("check")
@reports_failures
def check(
    files: Annotated[list[Path], typer.Argument(help="规则文件 / pack files", exists=True, dir_okay=False)],
) -> None:
    """检查规则包，写明每个错误的位置、规则和办法 / check packs; errors name file, line, field, rule, remedy.

    \b
    Example: ./onecard office rules check issuance/rules/110000.toml
    """
    from issuance.rules import RulePackInvalidError, load_pack

    errors = []
    for file in files:
        pack, found = load_pack(file)
        errors += found
        if pack is not None:
            days = ", ".join(rules.effective_from.isoformat() for rules in pack.versions)
            print(f"✓ {file.name} {pack.issuer.name} / {pack.issuer.name_en}: {days}")
    if errors:
        raise RulePackInvalidError(errors)


@rules_app.command("show")
@reports_failures
def show(
    region: Annotated[str, typer.Argument(help="六位区划代码 / six-digit division code")],
    on: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="哪一天的规则，默认今天 / which day, default: today")
    ] = None,
    rules: DirectoryOption = None,
) -> None:
    """某一天有效的规则 / the rules that hold on a day.

    \b
    Example: ./onecard office rules show 120000 --on 2023-06-01
    """
    from issuance.clock import china_date, system_clock
    from issuance.rules import load_rules

    day = china_date(system_clock()) if on is None else on.date()
    print_json(load_rules(rules).pack(region).on(day).model_dump(mode="json"))


@rules_app.command("schema")
@reports_failures
def schema() -> None:
    """规则包的 JSON Schema，编辑器可用 / the JSON Schema of rule packs, for editors.

    \b
    Example: ./onecard office rules schema
    """
    from issuance.rules.schema import pack_schema

    print_json(pack_schema())
