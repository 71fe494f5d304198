"""`onecard agent samples`: the sample pages of a hospital, a bank and a town hall, on an origin of their own."""

from __future__ import annotations

import socket
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from onecard_cli.output import listen, reports_failures

if TYPE_CHECKING:
    from onecard_cli.agent_stand import SimulatedCounter
    from terminal_agent.samples.server import AgentPlace


@reports_failures
def samples(
    port: Annotated[int, typer.Option(help="端口，0 = 任意 / port, 0 = any")] = 8600,
    simulators: Annotated[
        bool, typer.Option("--simulators", help="同时启动带模拟设备的终端服务 / with an agent of simulated devices")
    ] = False,
    persona: Annotated[str, typer.Option(help="模拟卡，见 sim list / simulated card")] = "adult-3.0",
    seconds: Annotated[float | None, typer.Option(help="运行多久，缺省不停 / run so long, default: for ever")] = None,
) -> None:
    """示例网页：医院、银行、政务大厅；源代码就是文档 / sample pages; their source is the documentation.

    The pages stand on an origin of their own, so the agent must let them in: run it with --pair-origin and the address
    printed here. With --simulators that is done; each line typed here is a code held to the scanner, an empty one lays
    the ID card on its module anew.

    \b
    Example: ./onecard agent samples --simulators
    """
    listener = listen(port)
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    if not simulators:
        print(f"samples {origin}/\n./onecard agent run --pair-origin {origin}", flush=True)
        _serve(listener, origin, None, seconds)
        return
    from onecard_cli.agent_stand import simulated_counter
    from terminal_agent.samples.server import AgentPlace

    with simulated_counter(persona=persona, with_pad=False, pairing_origins=(origin,)) as counter:
        print(f"samples {origin}/\nagent {counter.where.url}/", flush=True)
        threading.Thread(target=_follow_lines, args=(counter,), daemon=True).start()
        _serve(listener, origin, AgentPlace(counter.where.url, counter.where.ws_url), seconds)


def _follow_lines(counter: SimulatedCounter) -> None:
    for line in sys.stdin:
        if code := line.strip():
            counter.scanner.scan(code)
        else:
            counter.module.lift()
            counter.module.place(counter.holder)


def _serve(listener: socket.socket, origin: str, place: AgentPlace | None, seconds: float | None) -> None:
    import uvicorn

    from terminal_agent.samples.server import create_samples

    server = uvicorn.Server(
        uvicorn.Config(create_samples(origin, place), log_config=None, access_log=False, timeout_graceful_shutdown=1)
    )
    if seconds is not None:
        timer = threading.Timer(seconds, lambda: setattr(server, "should_exit", True))
        timer.daemon = True
        timer.start()
    server.run(sockets=[listener])
