"""`onecard sim wallet`: the phone app of test holders as pages for a telephone's screen."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from onecard_cli.office import CENTRE_URL, UrlOption
from onecard_cli.output import listen, reports_failures
from onecard_cli.services import ReadyFile, write_ready

PHONES: Final = "phones"
"""Folder below the home folder; a file for each phone."""


@reports_failures
def wallet(
    port: Annotated[int, typer.Option(help="端口，0 任选 / port, 0: any free one")] = 8500,
    url: UrlOption = CENTRE_URL,
    client: Annotated[str, typer.Option("--client", help="渠道的调用方名称 / the channel's client")] = "wallet-1",
    ready_file: ReadyFile = None,
) -> None:
    """模拟手机的网页，每个浏览器是一部手机 / the simulated phone as pages; each browser is one phone.

    \b
    Example: ./onecard sim wallet --port 8500
    """

    import httpx
    import uvicorn

    from cardlib.client_auth import ClientAuth, ClientKey
    from onecard_cli.home import Home
    from simulators.wallet.app import create_app
    from simulators.wallet.settings import WalletSettings

    home = Home.default()
    key = ClientKey.load(home.client_key(client))
    http = httpx.AsyncClient(base_url=url, auth=ClientAuth(key), timeout=15, trust_env=False)
    app = create_app(WalletSettings(http, client, home.path / PHONES))
    listener = listen(port)
    own = f"http://127.0.0.1:{listener.getsockname()[1]}"
    write_ready(ready_file, {"url": own})
    print(f"wallet {own}/", flush=True)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listener])
