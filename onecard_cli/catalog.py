"""`onecard catalog`: what can this card do here?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onecard_cli.output import print_json, reports_failures

catalog_app = typer.Typer(help="应用目录 / what the card can do, and where", no_args_is_help=True, add_completion=False)


@catalog_app.command("list")
@reports_failures
def list_items(
    region: Annotated[str, typer.Option(help="在哪里用，六位区划代码 / where: six-digit division code")],
    holder_region: Annotated[str | None, typer.Option(help="哪里的卡 / province of the card")] = None,
    domain: Annotated[str | None, typer.Option(help="领域 / domain")] = None,
    carrier: Annotated[str | None, typer.Option(help="contact, contactless, qr, bank_account")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
) -> None:
    """这张卡在这里能办什么 / what can this card do in that region.

    \b
    Example: ./onecard catalog list --region 120000 --holder-region 110000
    """
    from apps_catalog import load

    catalog = load()
    items = catalog.what_can(region, holder_region=holder_region, domain=domain, carrier=carrier)
    if as_json:
        print_json(catalog.to_json(items) | {"region": region})
        return
    from rich.console import Console
    from rich.table import Table

    from apps_catalog import LABELS

    names = {known.key: known.name for known in catalog.domains}
    table = Table(title=f"{region} · {len(items)} 项 / items · {catalog.version}", caption=catalog.notice.zh)
    for heading in ("编号 / id", "事项 / item", "领域 / domain", "载体 / carrier"):
        table.add_column(heading)
    for item in items:
        domain_name = names[item.domain]
        table.add_row(
            item.id,
            f"{item.name.zh}\n{item.name.en}",
            f"{domain_name.zh}\n{domain_name.en}",
            "\n".join(LABELS[kind].zh for kind in item.carriers),
        )
    Console().print(table)


@catalog_app.command("lint")
@reports_failures
def lint(path: Annotated[Path | None, typer.Argument(help="目录文件夹 / folder of TOML files")] = None) -> None:
    """检查目录数据 / check catalog files: fields, codes, dates, duplicates.

    \b
    Example: ./onecard catalog lint apps_catalog/data
    """
    from apps_catalog import load

    catalog = load(path)
    print(f"✓ {len(catalog.items)} 项 / items, version {catalog.version}")
