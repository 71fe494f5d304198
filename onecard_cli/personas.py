"""Simulated cards of this installation: built once with its own keys, then kept like a chip keeps its memory."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from cardlib.failures import FailureCode
from onecard_cli.home import Home
from onecard_cli.output import CommandError
from simulators.card import CardStore, SimCard
from simulators.factory import build_card
from simulators.personas import load


@dataclass(frozen=True, slots=True)
class PersonaCard:
    """The card and the region a PSAM beside it would be of."""

    card: SimCard
    region: str
    generation: str
    lock: TextIO
    """Held open while the card is in a reader: one chip cannot be in two places."""


def _take(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise CommandError(FailureCode.CARD_BUSY, f"the simulated card {path.stem} is in another run") from None
    return lock


def persona_card(home: Home, name: str, *, fresh: bool = False) -> PersonaCard:
    """The card of a persona in its last state, or a new one. Raises PersonaError, CommandError CARD_BUSY."""
    persona = load(name)
    lock = _take(home.path / "cards" / f"{name}.lock")
    store = CardStore(home.path / "cards" / f"{name}.json")
    if fresh or not store.path.exists():
        store.save(build_card(persona, home.roots()))
    return PersonaCard(
        SimCard(store.load(), faults=persona.faults(), store=store), persona.region, persona.generation, lock
    )
