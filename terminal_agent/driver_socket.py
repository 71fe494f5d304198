"""The WebSocket the installed base of pages talks to (terminal.md §11, end; card_digest.md §5).

A page sends `{"function":"iReadCardBas","iType":3}` and gets `{"functionName":"iReadCardBas","success":"1",
"pOutInfo":"…"}`; otherwise `success` is the driver's negative code and `pOutInfo` the text. A second dialect sends
`{"func":"iReadCardBas","in":["3"]}` and gets `{"result":0,"out":["…"]}`. There are no request
numbers, so each connection's calls are answered in their order; calls of several connections queue at the reader.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import nullcontext
from typing import Any, Final

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp, Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from cardlib.driver_session import Answer
from terminal_agent.agent import Agent
from terminal_agent.caller import CONNECTION, LEASE, LINK, PROGRAM, Link
from terminal_agent.driver_functions import UNKNOWN_FUNCTION, DriverFunction, function_of
from terminal_agent.guard import TOKEN_WORD, Guard
from terminal_agent.worker import MAX_WAITING_CALLS

WRONG_PARAMETER: Final = -14
SUBPROTOCOL: Final = "onecard"
LEASE_WORD: Final = "onecard-lease."
_SUCCESS = "1"


class DriverSocket:
    """Serves any path. Nothing a page sends closes the connection."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def serve(self, socket: WebSocket) -> None:
        """A page's connection is one session with the card; it ends with the connection. So does a lease named in
        `Sec-WebSocket-Protocol`."""
        offered = socket.scope.get("subprotocols", [])
        lease, token = _word(offered, LEASE_WORD), _word(offered, TOKEN_WORD)
        PROGRAM.set(socket.headers.get("origin", ""))
        CONNECTION.set(secrets.token_hex(8) if PROGRAM.get() else "")
        LEASE.set(lease)
        LINK.set(link := Link())
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        calls, is_heard = 0, True
        inbox: asyncio.Queue[Message] = asyncio.Queue(MAX_WAITING_CALLS)
        pump = asyncio.create_task(self._pump(socket, inbox, lease, link))
        try:
            while (message := await inbox.get())["type"] != "websocket.disconnect":
                if not self._agent.may_call(PROGRAM.get(), token):
                    await socket.close(1008)
                    return
                calls += 1
                answer = await self.answer(message.get("text") or message.get("bytes") or "")
                # ASCII: a name may hold half a surrogate pair, which JSON can carry and UTF-8 cannot.
                await socket.send_text(json.dumps(answer))
        except WebSocketDisconnect:
            is_heard = False
        finally:
            pump.cancel()
            # The driver library makes one connection for each call, and goes on with the session in the next.
            if CONNECTION.get() or calls > 1 or not is_heard:
                await self._agent.driver.leave()

    async def _pump(self, socket: WebSocket, inbox: asyncio.Queue[Message], lease: str, link: Link) -> None:
        """Hears at once that the other end has gone, also while a call of it is at the card."""
        with self._agent.leases.bound(lease) if lease else nullcontext():
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                await inbox.put(message)
        self._agent.driver.gone(link)
        await inbox.put(message)

    async def answer(self, message: str | bytes) -> dict[str, Any]:
        """In the dialect of the request; what is in neither is answered in the first."""
        try:
            request: Any = json.loads(message)
        except (ValueError, RecursionError):
            return _first("", WRONG_PARAMETER, "请求不是 JSON")
        if isinstance(request, dict) and "function" not in request and isinstance(request.get("func"), str):
            code, text = await self._second(request["func"], request.get("in", []))
            return {"result": code, "out": [text]}
        if not isinstance(request, dict) or not isinstance(request.get("function"), str):
            return _first("", WRONG_PARAMETER, "请求缺少 function")
        name = request["function"]
        function = function_of(name)
        if function is None:
            return _first(name[:64], UNKNOWN_FUNCTION, "不支持该命令")
        given = [request.get(parameter, request.get(parameter.lower())) for parameter in function.parameters]
        return _first(name, *await self._call(function, given))

    async def _second(self, name: str, given: object) -> Answer:
        """`in` holds the parameters of the C function in their order, numbers as text."""
        function = function_of(name)
        if function is None:
            return UNKNOWN_FUNCTION, "不支持该命令"
        if not isinstance(given, list) or len(given) != len(function.parameters):
            return WRONG_PARAMETER, f"in 应有 {len(function.parameters)} 个参数"
        return await self._call(function, given)

    async def _call(self, function: DriverFunction, given: list[Any]) -> Answer:
        try:
            arguments = function.arranged(given)
        except ValueError as error:
            return WRONG_PARAMETER, str(error)
        return await self._agent.driver.call(function, arguments)


def create_driver_app(agent: Agent) -> ASGIApp:
    """The application of the second port, behind the same guard as the first."""
    driver = DriverSocket(agent)
    app = Starlette(routes=[WebSocketRoute("/{path:path}", driver.serve)])
    return Guard(app, agent.origins, agent.ports, agent.pairings)


def _word(offered: list[str], kind: str) -> str:
    return next((word.removeprefix(kind) for word in offered if word.startswith(kind)), "")


def _first(name: str, code: int, text: str) -> dict[str, Any]:
    return {"functionName": name, "success": _SUCCESS if code == 0 else str(code), "pOutInfo": text}
