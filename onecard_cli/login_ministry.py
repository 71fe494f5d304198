"""`onecard login channel` and `onecard login national`: both sides of the ministry's scan protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from onecard_cli.office import CENTRE_URL, ClientOption, UrlOption, answered, centre
from onecard_cli.office_stock import order
from onecard_cli.output import print_json, reports_failures


@reports_failures
def channel(
    party: Annotated[str, typer.Argument(metavar="ID", help="client_id")],
    channel_no: Annotated[str, typer.Argument(metavar="CHANNELNO", help="channelNo，10 位数字 / ten digits")],
    access_no: Annotated[str, typer.Argument(metavar="ACCESSNO", help="accessNo，10 位数字 / ten digits")],
    cipher: Annotated[
        Literal["sm4-cbc", "aes-ecb"],
        typer.Option(help="aes-ecb 只给不会别的旧系统 / aes-ecb only for old systems that know nothing else"),
    ] = "sm4-cbc",
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """给按部接口对接的系统发密钥，只显示这一次 / keys for a system of the field's interface, shown this once.

    \b
    Example: ./onecard login channel hall-1 1000000001 2000000001
    """
    body = {"channel_no": channel_no, "access_no": access_no, "cipher": cipher}
    with centre(url, client) as http:
        print_json(order(http, f"/v1/relying-parties/{party}/channel", body))


@reports_failures
def national(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="JSON")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """装入国家平台给的密钥：access_key、cipher、key、secret / take the keys that the national platform gave.

    \b
    Example: ./onecard login national national-platform.json
    """
    with centre(url, client) as http:
        answered(
            http,
            "PUT",
            "/v1/login-upstreams/national/keys",
            content=file.read_bytes(),
            headers={"Content-Type": "application/json"},
        )
