"""The simulated national platform: `onecard sim national`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from onecard_cli.output import listen, print_json, reports_failures
from onecard_cli.sim_bank import HOLD_S, fault_count

if TYPE_CHECKING:
    from simulators.national_scan import SimKeys

KEYS_FILE: Final = "national-platform.json"
CHANNEL: Final = "1000000001"
ACCESS: Final = "2000000001"


@reports_failures
def national(
    port: Annotated[int, typer.Option(help="端口，0 任选 / port, 0: any free one")] = 8704,
    cipher: Annotated[
        Literal["sm4-cbc", "aes-ecb"], typer.Option(help="新密钥的算法 / cipher of new keys")
    ] = "sm4-cbc",
    fault: Annotated[list[str] | None, typer.Option(help="故障=次数 / fault=count, such as silent=1")] = None,
) -> None:
    """模拟全国社保卡服务平台的扫码登录 / the national platform's scan log-in; prints a centre's settings for it.

    \b
    Example: ./onecard sim national --fault silent=1
    """
    import uvicorn

    from onecard_cli.home import Home
    from simulators.national_scan import FAULTS, SimNationalScan

    counts = dict(fault_count(text, FAULTS) for text in fault or ())
    file = Home.default().path / KEYS_FILE
    platform = SimNationalScan(_keys(file, cipher), hold_s=HOLD_S)
    platform.faults.update(counts)
    listener = listen(port)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    print_json(
        {
            "ONECARD_ISSUANCE_LOGIN_NATIONAL_URL": f"{url}/csb",
            "ONECARD_ISSUANCE_LOGIN_NATIONAL_PAGE": f"{url}/h5",
            "ONECARD_ISSUANCE_LOGIN_NATIONAL_CHANNEL": CHANNEL,
            "ONECARD_ISSUANCE_LOGIN_NATIONAL_ACCESS": ACCESS,
            "then": f"./onecard login national {file}",
        }
    )
    config = uvicorn.Config(platform.app, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listener])


def _keys(file: Path, cipher: str) -> SimKeys:
    """Made at the first use."""
    import json
    from dataclasses import asdict

    from hsm.sealed_store import write_atomically
    from simulators.national_scan import SimKeys

    if file.exists():
        return SimKeys(**json.loads(file.read_text(encoding="ascii")))
    keys = SimKeys.new(cipher)
    write_atomically(file, json.dumps(asdict(keys)).encode())
    return keys
