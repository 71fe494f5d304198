"""What people do at the kiosk: one module each, with `TILE` and `run`, in the order of the home page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

from terminal_agent.kiosk.screens import Tile

if TYPE_CHECKING:
    from terminal_agent.kiosk.desk import KioskDesk
    from terminal_agent.kiosk.visit import Visit

FLOWS: Final[tuple[str, ...]] = (
    "this_card",
    "collect",
    "apply",
    "enable",
    "pin",
    "replace",
    "ecard",
    "progress",
    "records",
    "what",
    "log_in",
    "release",
    "loss",
)
"""Names of modules; `this_card` is begun by a card put in at the home page."""
THIS_CARD: Final = "this_card"


@dataclass(frozen=True, slots=True)
class Flow:
    """`is_offered` says what devices and settings cannot, such as that a card waits to be collected."""

    name: str
    run: Callable[[Visit], Awaitable[None]]
    tile: Tile | None = None
    is_offered: Callable[[KioskDesk], bool] = lambda desk: True


def load() -> dict[str, Flow]:
    found: dict[str, Flow] = {}
    for name in FLOWS:
        module = import_module(f"{__name__}.{name}")
        is_offered = getattr(module, "is_offered", None)
        flow = Flow(name, module.run, module.TILE)
        found[name] = flow if is_offered is None else Flow(name, module.run, module.TILE, is_offered)
    return found
