"""The WebSocket the installed base of pages talks to (terminal.md §11, end; card_digest.md §5).

A page sends `{"function":"iReadCardBas","iType":3}` and gets `{"functionName":"iReadCardBas","success":"1",
"pOutInfo":"…"}`; otherwise `success` is the driver's negative code and `pOutInfo` the text. A second dialect sends
`{"func":"iReadCardBas","in":["3"]}` and gets `{"result":0,"out":["…"]}`. There are no request
numbers, so each connection's calls are answered in their order; calls of several connections queue at the reader.
"""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from cardlib.driver_session import Answer
from terminal_agent.agent import Agent
from terminal_agent.driver_functions import UNKNOWN_FUNCTION, DriverFunction, function_of
from terminal_agent.guard import Guard
from terminal_agent.pin_dialog import PROGRAM

WRONG_PARAMETER: Final = -14
_SUCCESS = "1"


class DriverSocket:
    """Serves any path. Nothing a page sends closes the connection."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        PROGRAM.set(socket.headers.get("origin", ""))
        try:
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                answer = await self.answer(message.get("text") or message.get("bytes") or "")
                # ASCII: a name may hold half a surrogate pair, which JSON can carry and UTF-8 cannot.
                await socket.send_text(json.dumps(answer))
        except WebSocketDisconnect:
            return

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
    return Guard(app, agent.settings.allowed_origins, agent.ports)


def _first(name: str, code: int, text: str) -> dict[str, Any]:
    return {"functionName": name, "success": _SUCCESS if code == 0 else str(code), "pOutInfo": text}
