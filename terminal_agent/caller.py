"""Who asks for what runs now. Set at the edge; tasks begun for a caller inherit it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

PROGRAM: Final[ContextVar[str]] = ContextVar("program", default="")
"""Web origin of the page whose call now runs; empty for a program of this computer."""
LEASE: Final[ContextVar[str]] = ContextVar("lease", default="")
"""The secret of the lease that the call showed; empty without one."""
CONNECTION: Final[ContextVar[str]] = ContextVar("connection", default="")
"""Of a web page's WebSocket, a name of its own; empty for programs of this computer, whose driver library opens a
connection for each call."""


@dataclass(slots=True, eq=False)
class Link:
    """The connection a call came by, whose other end may go while the call runs."""

    has_gone: bool = False


LINK: Final[ContextVar[Link | None]] = ContextVar("link", default=None)
LEASE_HEADER: Final = "x-onecard-lease"
