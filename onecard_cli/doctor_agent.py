"""`onecard doctor` on what shares this computer with the agent: its ports, and programs that use cards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from onecard_cli.doctor import Finding

PATIENCE_S: Final = 2.0
_FREE: Final = "端口空闲 / ports are free"
_CLOSE: Final = "关掉它，或等它用完 / close it, or wait until it is done"


def port_findings(subject: str) -> Iterator[Finding]:
    """A usual port that something else than the agent has costs pages of the installed base, which know no other."""
    from terminal_agent.processes import listener_of
    from terminal_agent.settings import DEFAULT_HTTP_PORT, DEFAULT_WS_PORT

    taken = {port: listener_of(port) for port in (DEFAULT_HTTP_PORT, DEFAULT_WS_PORT)}
    said = ", ".join(f"{port}: {by}" for port, by in taken.items() if by)
    yield Finding(subject, True, said or _FREE)


def card_findings(subject: str) -> Iterator[Finding]:
    """Programs with the PC/SC library loaded, and for each card that cannot be reached now, that one of them has it."""
    from apdu.pcsc import PcscReaders, is_available
    from terminal_agent.processes import card_programs

    programs = ", ".join(card_programs())
    yield Finding(subject, True, programs or "没有 / none")
    if not is_available()[0]:
        return
    for name in PcscReaders().readers():
        if (held := _held(name)) is not None:
            yield Finding(f"{subject}: {name}", False, f"{held}: {programs or '?'}", _CLOSE)


def _held(name: str) -> str | None:
    """How another program holds the card, None where it does not. Opening one that is in a transaction blocks."""
    from apdu.errors import CardBusyError, TransportError
    from apdu.pcsc import PcscReaders

    found: list[str | None] = []

    def look() -> None:
        try:
            with PcscReaders(resets_on_close=False).connect(name):
                found.append(None)
        except CardBusyError:
            found.append("被独占 / held exclusively")
        except TransportError:
            found.append(None)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    return found[0] if found else "正在交易中 / in a transaction"
