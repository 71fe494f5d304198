"""`onecard catalog fetch, verify`: the terminal's side of the signed distribution."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onecard_cli.output import fail, print_json, reports_failures

if TYPE_CHECKING:
    from apps_catalog.distribution.held import Held

Json = Annotated[bool, typer.Option("--json", help="JSON")]


@reports_failures
def fetch(
    url: Annotated[str, typer.Argument(help="发布地址，也可以是 file: / address, file: too")],
    into: Annotated[Path, typer.Option(help="存放文件夹 / folder")],
    root: Annotated[Path | None, typer.Option(help="根文件，第一次必给 / root file, needed the first time")] = None,
    role: Annotated[list[str] | None, typer.Option(help="只取这些角色 / only these roles")] = None,
    client_key: Annotated[
        Path | None, typer.Option(help="登记过的终端的密钥文件，取中心的黑名单要用 / key file of a registered client")
    ] = None,
    every: Annotated[float, typer.Option(min=0, help="每隔多少秒再取；0 只取一次 / seconds between; 0: once")] = 0,
    as_json: Json = False,
) -> None:
    """取回、核对、启用新内容；出错保留原有的 / fetch, verify, put in force; on failure keep what was.

    \b
    Example: ./onecard catalog fetch https://catalog.example --into held --root 1.root.json
             ./onecard catalog fetch https://centre.example/v1/distribution --into held --client-key hall-3.json
    """
    import time

    from apps_catalog import CatalogError
    from apps_catalog.distribution import client
    from apps_catalog.distribution.errors import DistributionError
    from apps_catalog.distribution.pace import Pace
    from cardlib.client_auth import ClientAuth, ClientKey

    anchor = root.read_bytes() if root else None
    auth = ClientAuth(ClientKey.load(client_key)) if client_key else None
    failures = 0
    while True:
        try:
            _show(client.fetch(url, into, root=anchor, roles=role or None, auth=auth), as_json=as_json)
            failures = 0
        except (CatalogError, DistributionError) as error:
            if not every:
                raise
            fail(error, as_json=as_json)
            failures += 1
        if not every:
            return
        time.sleep(Pace(every, max(every, 3600.0)).next_s(failures))


@reports_failures
def verify(into: Annotated[Path, typer.Argument(help="存放文件夹 / folder")], as_json: Json = False) -> None:
    """不联网，重新核对在用内容的全部签名 / check every signature of what is in force again, offline.

    \b
    Example: ./onecard catalog verify held
    """
    from apps_catalog.distribution import client

    _show(client.verify(into), as_json=as_json)


def _show(found: Held, *, as_json: bool) -> None:
    files = sorted(str(path.relative_to(found.files)) for path in found.files.rglob("*") if path.is_file())
    age_s = int(found.age_s(datetime.now(UTC)))
    if as_json:
        until = found.valid_until.isoformat()
        print_json({"set": found.folder.name, "age_s": age_s, "valid_until": until, "files": files})
        return
    until = f"{found.valid_until:%Y-%m-%d %H:%M}"
    print(f"✓ {found.folder.name}: {len(files)} 个文件 / files · {age_s} s · 有效到 / valid until {until} UTC")
