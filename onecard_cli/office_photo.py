"""`onecard office photo` checks a photo on this machine, `onecard issuance photo` sends it to the centre."""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from onecard_cli.office import CENTRE_URL, ClientOption, UrlOption, ask, centre
from onecard_cli.office_rules import DirectoryOption
from onecard_cli.output import print_json, reports_failures


@reports_failures
def photo(
    file: Annotated[Path, typer.Argument(help="JPEG 相片 / photo as JPEG", exists=True, dir_okay=False)],
    region: Annotated[str, typer.Option(help="发卡地区 / issuing region")],
    rules: DirectoryOption = None,
) -> None:
    """按发卡地区的规格检查相片，不合格的逐条说明原因和办法 / check a photo; what does not fit is told with its remedy.

    \b
    Example: ./onecard office photo me.jpg --region 110000
    """
    from issuance.clock import china_date, system_clock
    from issuance.photos.check import check_photo
    from issuance.photos.face import face_finder
    from issuance.rules import load_rules

    profile = load_rules(rules).pack(region).on(china_date(system_clock())).photo
    report = check_photo(file.read_bytes(), profile, face_finder())
    print_json(
        {
            "ok": not report.errors,
            "is_geometry_checked": report.is_geometry_checked,
            "measures": report.measures,
            "fields": [error.model_dump() for error in report.errors],
        }
    )
    if report.errors:
        raise typer.Exit(1)


@reports_failures
def upload(
    file: Annotated[Path, typer.Argument(help="JPEG 相片 / photo as JPEG", exists=True, dir_okay=False)],
    region: Annotated[str, typer.Option(help="发卡地区 / issuing region")],
    taken_on: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="拍摄日期 / day it was taken")],
    key: Annotated[str | None, typer.Option(help="幂等键，重试时不变 / idempotency key, kept when retrying")] = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """上传一张相片，检查合格才保存 / send a photo; it is kept when it fits the region's profile.

    \b
    Example: ./onecard issuance photo me.jpg --region 110000 --taken-on 2026-11-20
    """
    headers = {"Idempotency-Key": key or secrets.token_hex(16), "Content-Type": "image/jpeg"}
    query = {"region": region, "taken_on": taken_on.date().isoformat()}
    with centre(url, client) as http:
        print_json(ask(http, "POST", "/v1/photos", content=file.read_bytes(), params=query, headers=headers))
