"""`onecard sim public-security`: the simulated population register as a process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onecard_cli.output import listen, print_json, reports_failures
from onecard_cli.sim import sim_app as sim_app

CLIENT_ID = "identity-checks"


@sim_app.command("public-security")
@reports_failures
def public_security(
    people: Annotated[Path, typer.Option(help="虚构人员 JSON / invented people as JSON", exists=True, dir_okay=False)],
    port: Annotated[int, typer.Option(help="端口，0 任选 / port, 0: any free one")] = 8600,
) -> None:
    """模拟公安人口核验服务 / the simulated population register; prints the settings that make a centre ask it.

    \b
    Example: ./onecard sim public-security --people people.json
    """

    import uvicorn

    from cardlib.client_auth import ClientKey
    from onecard_cli.home import Home
    from simulators.public_security import SimPublicSecurity, load_people

    path = Home.default().make_client_key(CLIENT_ID)
    key = ClientKey.load(path)
    register = SimPublicSecurity(load_people(people), key.public_jwk(), key.audience, hold_s=30.0)
    listener = listen(port)
    print_json(
        {
            "ONECARD_ISSUANCE_IDENTITY_URL": f"http://127.0.0.1:{listener.getsockname()[1]}",
            "ONECARD_ISSUANCE_IDENTITY_KEY_PATH": str(path),
        }
    )
    config = uvicorn.Config(register.app, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listener])
