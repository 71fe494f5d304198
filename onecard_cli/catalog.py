"""`onecard catalog`: what can this card do here, and is the catalog sound?"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from onecard_cli import catalog_block, catalog_fetch, catalog_import, catalog_repo, catalog_rules, catalog_versions
from onecard_cli.output import print_json, reports_failures

catalog_app = typer.Typer(help="应用目录 / what the card can do, and where", no_args_is_help=True, add_completion=False)
catalog_app.command("import")(catalog_import.import_items)
catalog_app.command("draft")(catalog_versions.draft)
catalog_app.command("review")(catalog_versions.review)
catalog_app.command("release")(catalog_versions.release)
catalog_app.command("rollback")(catalog_versions.rollback)
catalog_app.command("versions")(catalog_versions.versions)
catalog_app.command("diff")(catalog_versions.diff)
catalog_app.command("rules")(catalog_rules.rules)
catalog_app.command("fetch")(catalog_fetch.fetch)
catalog_app.command("verify")(catalog_fetch.verify)
catalog_app.add_typer(catalog_repo.repo_app, name="repo")
catalog_app.add_typer(catalog_block.block_app, name="block")


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


@catalog_app.command("what")
@reports_failures
def what(
    card_from: Annotated[str, typer.Option("--from", help="发卡地，六位区划代码 / where the card was issued")],
    region: Annotated[str, typer.Option("--in", help="在哪里用 / where")],
    on: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="哪一天，默认今天 / day")] = None,
    carrier: Annotated[str | None, typer.Option(help="contact, contactless, qr, bank_account")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="断网 / without the network")] = False,
    age: Annotated[int | None, typer.Option(min=0, max=150, help="年龄 / age")] = None,
    state: Annotated[str | None, typer.Option(help="卡状态 / card state: normal, lost, …")] = None,
    generation: Annotated[str | None, typer.Option(help="1.0, 2.0, 3.0")] = None,
    ecard_level: Annotated[int | None, typer.Option(min=0, max=2, help="电子社保卡等级 / its level")] = None,
    category: Annotated[list[str] | None, typer.Option(help="人员类别 / student, disabled, …")] = None,
    opened: Annotated[list[str] | None, typer.Option(help="已开通的功能 / bank, transit")] = None,
    everything: Annotated[bool, typer.Option("--all", help="不能用的也列出 / the noes too")] = False,
    agent: Annotated[str | None, typer.Option(help="问终端服务 / ask the agent at this address")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
) -> None:
    """我的卡在那里能办什么、为什么 / what can I do with my card there, and why.

    \b
    Example: ./onecard catalog what --from 130000 --in 110000 --on 2026-12-01 --carrier qr
    """
    from pydantic import ValidationError

    from apps_catalog import load
    from apps_catalog.question import CatalogQuestion
    from cardlib.failures import FailureCode
    from onecard_cli.office import asked_of_agent
    from onecard_cli.output import CommandError

    given = {
        "from": card_from,
        "in": region,
        "on": on.date() if on else None,
        "carrier": carrier,
        "offline": offline,
        "age": age,
        "state": state,
        "generation": generation,
        "ecard_level": ecard_level,
        "categories": category or None,
        "opened": opened or None,
    }
    try:
        question = CatalogQuestion.model_validate(given)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise CommandError(FailureCode.INPUT_INVALID, told) from None
    if agent is None:
        answer = question.answer(load())
    else:
        body = question.model_dump(mode="json", by_alias=True, exclude_none=True)
        answer = asked_of_agent(agent, "POST", "/v1/catalog/what", json=body)
    if as_json:
        print_json(answer)
    else:
        _print_answer(answer, everything=everything)


def _print_answer(answer: dict[str, Any], *, everything: bool) -> None:
    signs = {"yes": "✓", "depends": "?", "no": "✗"}
    answers = answer["answers"]
    for outcome in signs if everything else ("yes", "depends"):
        for item in (item for item in answers if item["outcome"] == outcome):
            print(f"{signs[outcome]} {item['name']['zh']} / {item['name']['en']}  [{item['id']}]")
            for reason in item["reasons"]:
                mark = "?" if reason["met"] is None else "+" if reason["met"] else "-"
                print(f"    {mark} {reason['text']['zh']} / {reason['text']['en']}")
    counts = Counter(item["outcome"] for item in answers)
    print(
        f"✓ {counts['yes']} 可用 / yes · ? {counts['depends']} 视条件 / depends · "
        f"✗ {counts['no']} 不可用 / no · {answer['version']}"
    )
    print(f"{answer['notice']['zh']}\n{answer['notice']['en']}")


@catalog_app.command("lint")
@reports_failures
def lint(
    path: Annotated[Path | None, typer.Argument(help="目录文件夹 / folder of TOML files")] = None,
    on: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="按哪一天查 / as of that day")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
) -> None:
    """检查目录数据 / check catalog files: fields, codes, dates; conflicts, ended laws, closed places.

    \b
    Example: ./onecard catalog lint apps_catalog/data
    """
    from apps_catalog import load
    from apps_catalog.catalog import today
    from apps_catalog.lint import findings

    catalog = load(path)
    found = findings(catalog, on.date() if on else today())
    if as_json:
        print_json({"version": catalog.version, "findings": [finding.to_json() for finding in found]})
    else:
        for finding in found:
            print(f"✗ {', '.join(finding.items)}: {finding.text.zh} / {finding.text.en}")
        if not found:
            print(f"✓ {len(catalog.items)} 项 / items, version {catalog.version}")
    if found:
        raise typer.Exit(1)
