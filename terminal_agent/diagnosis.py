"""The diagnosis bundle: what support needs to know about a terminal, and nothing about a person."""

from __future__ import annotations

import io
import json
import platform
import re
import sys
import zipfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, FastAPI, Request, Response

from cardlib.failures import FailureCode
from cardlib.terminal_state import MAX_DIAGNOSIS_BYTES
from terminal_agent.journal.views import view_of
from terminal_agent.problems import problem_response
from terminal_agent.redaction import masked
from terminal_agent.settings import AgentSettings

if TYPE_CHECKING:
    from cardlib.terminal_state import Heartbeat
    from terminal_agent.agent import Agent

PATH: Final = "/diagnosis.zip"
_NAMES_ONLY: Final = ("hsm_addresses", "pin_dialog_command")
"""Settings of which only whether they are set is told."""
_USER_OF_URL: Final = re.compile(r"//[^/@]*@")


def bundle(agent: Agent, beat: Heartbeat) -> bytes:
    """A ZIP file of at most `MAX_DIAGNOSIS_BYTES`. Reads the journal: not for the event loop."""
    journal = view_of(agent.journal).model_dump(mode="json", exclude={"aside", "detail"})
    readers = [
        {"name": reader.name, "state": reader.state.value, "is_psam": reader.is_psam} for reader in agent.registry.all()
    ]
    files = {
        "about.json": _about(),
        "heartbeat.json": beat.model_dump(mode="json"),
        "settings.json": settings_shown(agent.settings),
        "readers.json": readers,
        "journal.json": journal,
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, json.dumps(content, ensure_ascii=False, indent=1))
        file.writestr("log.txt", "\n".join(agent.log_ring.lines))
    if len(made.getvalue()) > MAX_DIAGNOSIS_BYTES:
        raise ValueError("the bundle is too large")
    return made.getvalue()


def settings_shown(settings: AgentSettings) -> dict[str, Any]:
    """Key files by their path, addresses without user and password."""
    values = settings.model_dump(mode="json")
    for name in _NAMES_ONLY:
        values[name] = bool(values[name])
    return {
        name: _USER_OF_URL.sub("//", value) if isinstance(value, str) and name.endswith("_url") else value
        for name, value in values.items()
    }


def install(app: FastAPI, agent: Agent) -> None:
    """Add the bundle for programs of this computer; no page may fetch it."""
    router = APIRouter(include_in_schema=False)

    @router.get(PATH)
    async def diagnosis(request: Request) -> Response:
        if "origin" in request.headers or request.headers.get("sec-fetch-site", "none") != "none":
            return problem_response(FailureCode.ORIGIN_FORBIDDEN)
        return Response(await agent.heart.bundle(), media_type="application/zip", headers={"Cache-Control": "no-store"})

    app.include_router(router)


def _about() -> dict[str, str]:
    return {
        "made_at": datetime.now(UTC).isoformat(),
        "python": sys.version.split()[0],
        "system": masked(f"{platform.system()} {platform.machine()}"),
        "kernel": platform.release(),
    }
