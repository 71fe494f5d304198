"""`onecard bench`: the parts one after another, as tables or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from rich.console import Console

from bench import (
    agent,
    agent_lists,
    apdu,
    api,
    audit,
    block_list,
    cards,
    catalog,
    chaos,
    console,
    crypto,
    ecard,
    flows,
    fuzz,
    ifd,
    insertions,
    issue,
    journal,
    journal_soak,
    key_operations,
    login,
    pictures,
    production,
    readers,
    soak,
    takings,
    terminals,
    transit,
    wire,
)
from bench.measure import BenchError, Machine, Part

PARTS: dict[str, Callable[[], Part]] = {
    "crypto": crypto.measure,
    "apdu": apdu.measure,
    "cards": cards.measure,
    "flows": flows.measure,
    "readers": readers.measure,
    "ifd": ifd.measure,
    "wire": wire.measure,
    "catalog": catalog.measure,
}
PIPE_WIDTH = 120


def run(only: str | None, *, as_json: bool, inputs: int = fuzz.INPUTS, seconds: float = soak.SECONDS) -> None:
    """Measure and print; `inputs` is for `fuzz`, `seconds` for `soak`. Raises BenchError for an unknown part."""
    # Half a minute to minutes each, so these run only when they are asked for.
    parts = PARTS | {
        "keys": key_operations.measure,
        "fuzz": partial(fuzz.measure, inputs=inputs),
        "chaos": chaos.measure,
        "issue": issue.measure,
        "api": api.measure,
        "audit": audit.measure,
        "block-list": block_list.measure,
        "agent": agent.measure,
        "agent-insertions": insertions.measure,
        "agent-lists": agent_lists.measure,
        "production": production.measure,
        "console": console.measure,
        "ecard": ecard.measure,
        "journal": journal.measure,
        "journal-soak": journal_soak.measure,
        "login": login.measure,
        "pictures": pictures.measure,
        "takings": takings.measure,
        "terminals": terminals.measure,
        "transit": transit.measure,
        "soak": partial(soak.measure, seconds=seconds),
    }
    if only is not None and only not in parts:
        raise BenchError(f"no part {only!r}; there are {', '.join(parts)}")
    wanted = {only: parts[only]} if only else PARTS
    machine = Machine.here()
    if as_json:
        figures: dict[str, Any] = {"machine": machine.to_json()}
        figures |= {name: measure().to_json() for name, measure in wanted.items()}
        print(json.dumps(figures, ensure_ascii=False, indent=2))
        return
    terminal = Console(highlight=False)
    if not terminal.is_terminal:
        # A file or a pipe has no width of its own, and 80 columns would break the tables.
        terminal = Console(highlight=False, width=PIPE_WIDTH)
    terminal.print(machine.line(), soft_wrap=True)
    for measure in wanted.values():
        for table in measure().tables():
            terminal.print(table)
