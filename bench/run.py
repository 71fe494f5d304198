"""`onecard bench`: the parts one after another, as tables or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from rich.console import Console

from bench import apdu, cards, crypto, readers
from bench.measure import BenchError, Machine, Part

PARTS: dict[str, Callable[[], Part]] = {
    "crypto": crypto.measure,
    "apdu": apdu.measure,
    "cards": cards.measure,
    "readers": readers.measure,
}
PIPE_WIDTH = 120


def run(only: str | None, *, as_json: bool) -> None:
    """Measure and print. Raises BenchError for a part that does not exist."""
    if only is not None and only not in PARTS:
        raise BenchError(f"no part {only!r}; there are {', '.join(PARTS)}")
    wanted = {only: PARTS[only]} if only else PARTS
    machine = Machine.here()
    if as_json:
        figures: dict[str, Any] = {"machine": machine.to_json()}
        figures |= {name: measure().to_json() for name, measure in wanted.items()}
        print(json.dumps(figures, ensure_ascii=False, indent=2))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        # A file or a pipe has no width of its own, and 80 columns would break the tables.
        console = Console(highlight=False, width=PIPE_WIDTH)
    console.print(machine.line(), soft_wrap=True)
    for measure in wanted.values():
        for table in measure().tables():
            console.print(table)
