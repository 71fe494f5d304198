"""The simulated platforms of other codes: `onecard sim codes`."""

from __future__ import annotations

from typing import Annotated

import typer

from onecard_cli.output import listen, print_json, reports_failures
from onecard_cli.sim_bank import HOLD_S, fault_count

CLIENT_ID = "code-platforms"


@reports_failures
def codes(
    port: Annotated[int, typer.Option(help="端口，0 任选 / port, 0: any free one")] = 8702,
    fault: Annotated[list[str] | None, typer.Option(help="故障=次数 / fault=count, such as silent=1")] = None,
) -> None:
    """模拟其他码的平台 / simulated platforms of other codes; prints the settings that make a centre ask them.

    \b
    Example: ./onecard sim codes --fault silent=1
    """
    import json

    import uvicorn

    from cardlib.client_auth import ClientKey
    from onecard_cli.home import Home
    from simulators.code_platforms import FAMILIES, FAULTS, SimCodePlatforms

    counts = dict(fault_count(text, FAULTS) for text in fault or ())
    path = Home.default().make_client_key(CLIENT_ID)
    key = ClientKey.load(path)
    platforms = SimCodePlatforms(key.public_jwk(), key.audience, hold_s=HOLD_S)
    platforms.faults.update(counts)
    listener = listen(port)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    print_json(
        {
            "ONECARD_ISSUANCE_CODE_PLATFORMS": json.dumps({name: f"{url}/{name}" for name in FAMILIES}),
            "ONECARD_ISSUANCE_CODE_PLATFORMS_KEY_PATH": str(path),
        }
    )
    config = uvicorn.Config(platforms.app, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listener])
