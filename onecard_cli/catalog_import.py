"""`onecard catalog import`: a list as CSV or XLSX becomes an item file of the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onecard_cli.output import print_json, reports_failures


@reports_failures
def import_items(
    table: Annotated[Path, typer.Argument(metavar="FILE", help="CSV 或 XLSX 清单 / list as CSV or XLSX")],
    into: Annotated[Path, typer.Option(help="目录文件夹 / folder of catalog files")],
    defaults: Annotated[
        Path | None, typer.Option(help="含 owner 和 [defaults] 的 TOML / TOML with owner and shared fields")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="覆盖上次导入 / over the last import")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
) -> None:
    """导入清单，逐行报告；有一行不对就一行也不写 / import a list, every line or none, with a report by line.

    \b
    Example: ./onecard catalog import list.xlsx --into catalog --defaults national.toml
    """
    from apps_catalog.importer import import_list

    report = import_list(table, into, defaults=defaults, replace=replace)
    if as_json:
        written = report.written.name if report.written else None
        print_json({"written": written, "lines": [line.to_json() for line in report.lines]})
    else:
        for line in report.lines:
            column = f"，{line.column}" if line.column else ""
            said = f" {line.fault} → {line.remedy}" if line.fault else ""
            print(f"{'✗' if line.fault else '✓'} 行 / line {line.number}{column}: {line.item}{said}")
        good = len(report.lines) - len(report.faults)
        end = f"→ {report.written.name}" if report.written else "没有写入 / nothing was written"
        print(f"{good} 行可用 / good, {len(report.faults)} 行有错 / with faults; {end}")
    if report.faults:
        raise typer.Exit(1)
