"""`onecard privacy`: what is kept of persons, sealed anew after a rotation, forgotten in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from onecard_cli.audit import DatabaseOption, with_services
from onecard_cli.output import print_json, reports_failures

if TYPE_CHECKING:
    from issuance.services import Services

privacy_app = typer.Typer(help="个人信息 / personal data", no_args_is_help=True, add_completion=False)


@privacy_app.command("table")
@reports_failures
def table(
    only: Annotated[str | None, typer.Option("--class", help="public, internal, staff, pseudonym, …")] = None,
) -> None:
    """数据分级表：每张表每一列是哪一类 / the class of every column of every table.

    \b
    Example: ./onecard privacy table --class sealed
    """
    from issuance.privacy.classification import classification

    found = {
        name: {column: kind for column, kind in columns.items() if only in (None, kind)}
        for name, columns in classification().items()
    }
    print_json({name: columns for name, columns in found.items() if columns})


@privacy_app.command("reseal")
@reports_failures
def reseal(database_url: DatabaseOption = None) -> None:
    """密钥轮换后重新封存个人信息，余数为 0 才可销毁旧密钥 / after a rotation of PERSON_SEAL
    seal everything under the new version; the old key may be destroyed when nothing remains.

    \b
    Example: ./onecard privacy reseal
    """
    from issuance.privacy.reseal import remaining, reseal_due, restart, version_to_reach

    async def work(services: Services) -> dict[str, Any]:
        await restart(services)
        done = 0
        while count := await reseal_due(services):
            done += count
        left = {name: count for name, count in (await remaining(services)).items() if count}
        return {"version": version_to_reach(services), "resealed": done, "remaining": left}

    report = with_services(database_url, work)
    print_json(report)
    if report["remaining"]:
        raise typer.Exit(1)


@privacy_app.command("forget")
@reports_failures
def forget(database_url: DatabaseOption = None) -> None:
    """按保存期限清理到期的个人信息，平时每天自动做 / forget what is past its time, as the service
    does every day by itself.

    \b
    Example: ./onecard privacy forget
    """
    from issuance.privacy import retention

    print_json(with_services(database_url, retention.forget))
