"""`onecard hsm`: the embedded key service."""

from __future__ import annotations

from typing import Annotated

import typer

from onecard_cli.output import print_json, reports_failures

hsm_app = typer.Typer(help="密钥服务 / the key service", no_args_is_help=True, add_completion=False)
JsonOption = Annotated[bool, typer.Option("--json", help="JSON")]


@hsm_app.command("init")
@reports_failures
def init() -> None:
    """建立密钥库，接收（模拟的）部级根密钥 / make the sealed store and take over the simulated ministry's roots.

    \b
    Example: ./onecard hsm init
    """
    from onecard_cli.home import Home

    print(f"✓ {len(Home.default().key_service().keys())} 个密钥 / keys")


@hsm_app.command("status")
@reports_failures
def status(as_json: JsonOption = False) -> None:
    """密钥清单：名称、用途、级别、校验值 / keys by name, purpose, level and check value; never their bytes.

    \b
    Example: ./onecard hsm status
    """
    from hsm.primitives import default_engine
    from onecard_cli.home import Home

    infos = sorted(Home.default().key_service().keys(), key=lambda info: str(info.ref))
    rows = [
        {
            "key": str(info.ref),
            "purpose": info.purpose.value,
            "level": info.level,
            "length": info.length,
            "kcv": info.kcv.hex().upper(),
        }
        for info in infos
    ]
    if as_json:
        print_json({"engine": default_engine().name, "keys": rows})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{len(rows)} 个密钥 / keys · {default_engine().name}")
    for heading in ("密钥 / key", "用途 / purpose", "级别 / level", "长度 / length", "校验值 / KCV"):
        table.add_column(heading)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


@hsm_app.command("keygen")
@reports_failures
def keygen(
    name: Annotated[str, typer.Argument(help="密钥名 / key name")],
    purpose: Annotated[str, typer.Option(help="seal, sign, authentication, message, master …")],
    algorithm: Annotated[str, typer.Option(help="SM4 或 3DES")] = "SM4",
) -> None:
    """在库内生成一个密钥 / make a key inside the store.

    \b
    Example: ./onecard hsm keygen CONSENT_SEAL --purpose seal
    """
    from hsm.api import Algorithm, KeyRef, Purpose
    from onecard_cli.home import Home

    keys, ref = Home.default().key_service(), KeyRef(name, Algorithm(algorithm))
    if purpose == Purpose.SIGN:
        keys.sm2_generate(ref)
    else:
        keys.generate(ref, Purpose(purpose))
    print(f"✓ {ref} {keys.info(ref).kcv.hex().upper()}")
