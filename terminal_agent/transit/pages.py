"""`/gate`, the display; `/gate/staff`, the numbers behind it; and what both follow. For the gate's own browser."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from cardlib.money import yuan
from cardlib.transit_gate_result import Reason
from cardlib.transit_gate_result import words as reasons
from onecard_ui import templates
from terminal_agent.transit.desk import GateDesk
from terminal_agent.transit.screen import Sign
from terminal_agent.transit.view import GateView, gate_view
from terminal_agent.transit.words import words

if TYPE_CHECKING:
    from terminal_agent.agent import Agent

PING_S: Final = 10
RECONNECT_MS: Final = 500
_TONES: Final = {"good": "ok", "due": "warn", "old": "bad", "missing": "bad", "lost": "bad", "unsure": "warn"}
_UNITS: Final = ((86_400, "天", "d"), (3600, "小时", "h"), (60, "分钟", "min"), (1, "秒", "s"))


def install(app: FastAPI, agent: Agent, gate: GateDesk) -> None:
    """Add the pages to `app`."""
    router = APIRouter(include_in_schema=False)
    pages = templates(Path(__file__).parent / "templates")
    pages.globals |= {"yuan": yuan, "tones": _TONES, "age": _age, "reason": _reason}

    @router.get("/gate", response_class=HTMLResponse)
    async def display() -> HTMLResponse:
        picture = gate.screen.picture
        english = picture.text.en if picture.sign is Sign.IDLE else f"{picture.title.en} · {picture.text.en}"
        page = pages.get_template("gate.html")
        texts = words()
        return HTMLResponse(
            page.render(w=texts["zh"], e=texts["en"], picture=picture, english=english, place=gate.rules.place.name_zh)
        )

    @router.get("/gate/changes", response_class=EventSourceResponse)
    async def changes() -> EventSourceResponse:
        async def stream() -> AsyncIterator[ServerSentEvent]:
            async for picture in gate.screen.changes():
                data = json.dumps(picture.to_json(), ensure_ascii=False)
                yield ServerSentEvent(data=data, event="picture", retry=RECONNECT_MS)

        return EventSourceResponse(stream(), ping=PING_S, headers={"Cache-Control": "no-store"})

    @router.get("/gate/staff", response_class=HTMLResponse)
    async def staff() -> HTMLResponse:
        view = await run_in_threadpool(gate_view, agent, gate)
        page = pages.get_template("gate_staff.html")
        return HTMLResponse(page.render(w=words()["zh"], e=words()["en"], view=view))

    @router.get("/gate/state")
    async def state() -> GateView:
        return await run_in_threadpool(gate_view, agent, gate)

    app.include_router(router)


def _reason(name: str) -> str:
    """In Chinese; a refused code says its failure."""
    if name in Reason.__members__:
        return reasons()[Reason[name]].zh
    from cardlib.failures import FailureCode, describe

    return describe(name).text_zh if name in FailureCode.__members__ else name


def _age(seconds: int | None, language: str) -> str:
    if seconds is None:
        return ""
    size, zh, en = next((unit for unit in _UNITS if seconds >= unit[0]), _UNITS[-1])
    number = f"{seconds // size} {zh if language == 'zh' else en}"
    return words()[language]["ago"].format(age=number)
