"""The WebSocket the installed base of pages talks to (terminal.md §11, end; card_digest.md §5).

A page sends `{"function":"iReadCardBas","iType":3}` and gets `{"functionName":"iReadCardBas","success":"1",
"pOutInfo":"…"}`; otherwise `success` is the driver's negative code and `pOutInfo` the text. There are no request
numbers, so each connection's calls are answered in their order; calls of several connections queue at the reader.
"""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from terminal_agent.agent import Agent
from terminal_agent.cards import I_TYPES
from terminal_agent.guard import Guard

UNKNOWN_FUNCTION: Final = -13
WRONG_PARAMETER: Final = -14
_SUCCESS = "1"


class DriverSocket:
    """Serves any path. Nothing a page sends closes the connection."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
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

    async def answer(self, message: str | bytes) -> dict[str, str]:
        try:
            request: Any = json.loads(message)
        except (ValueError, RecursionError):
            return _failed("", WRONG_PARAMETER, "请求不是 JSON")
        if not isinstance(request, dict) or not isinstance(request.get("function"), str):
            return _failed("", WRONG_PARAMETER, "请求缺少 function")
        name = request["function"]
        if name != "iReadCardBas":
            return _failed(name[:64], UNKNOWN_FUNCTION, "不支持该命令")
        i_type = _integer(request.get("iType"))
        if i_type not in I_TYPES:
            return _failed(name, WRONG_PARAMETER, "iType 应为 1、2、3 或 4")
        code, text = await self._agent.desk.driver_read(i_type)
        return _answer(name, _SUCCESS if code == 0 else str(code), text)


def create_driver_app(agent: Agent) -> ASGIApp:
    """The application of the second port, behind the same guard as the first."""
    driver = DriverSocket(agent)
    app = Starlette(routes=[WebSocketRoute("/{path:path}", driver.serve)])
    return Guard(app, agent.settings.allowed_origins, agent.ports)


def _integer(value: object) -> int:
    """Some pages send numbers as text. 0 for anything else, which is no iType."""
    if isinstance(value, str) and len(value) == 1 and value in "1234":
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _failed(name: str, code: int, text: str) -> dict[str, str]:
    return _answer(name, str(code), text)


def _answer(name: str, success: str, text: str) -> dict[str, str]:
    return {"functionName": name, "success": success, "pOutInfo": text}
