"""`onecard hsm serve`: the key store in a process of its own."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from onecard_cli.output import reports_failures


@reports_failures
def serve(
    socket: Annotated[
        Path | None,
        typer.Option(help="Unix 套接字，缺省为主目录中的 keys.socket / keys.socket of the home folder otherwise"),
    ] = None,
    user: Annotated[
        list[str] | None, typer.Option(help="还可以使用的系统用户 / system user who may use it as well")
    ] = None,
    manage: Annotated[
        bool, typer.Option("--manage", help="使用者可以导入和销毁密钥 / callers may import and destroy keys")
    ] = False,
) -> None:
    """在独立进程中提供密钥服务，网页服务不再接触密钥 / keys in a process of their own: web code never holds one.

    \b
    Example: ./onecard hsm serve
    The other process's hsm.toml: backend = "remote", socket = "…/keys.socket"
    """
    import pwd

    from cardlib.failures import FailureCode
    from hsm.remote import KeyServer
    from onecard_cli.home import Home
    from onecard_cli.output import CommandError

    home = Home.default()
    path = socket or home.path / "keys.socket"
    try:
        users = [pwd.getpwnam(name).pw_uid for name in user or []]
    except KeyError as error:
        raise CommandError(FailureCode.INPUT_INVALID, f"no such system user: {error.args[0]}") from None
    with home.key_service() as service:
        ends = {signal.SIGTERM, signal.SIGINT}
        # Blocked before the first thread starts: whichever thread the signal meets, sigwait takes it.
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        server = KeyServer(path, service, may_manage=manage, users=users)
        thread = threading.Thread(target=server.serve, name="key-server")
        thread.start()
        print(f"{path}", flush=True)
        signal.sigwait(ends)
        server.close()
        thread.join()
