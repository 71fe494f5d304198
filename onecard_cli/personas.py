"""Simulated cards of this installation: built once with its own keys, then kept like a chip keeps its memory."""

from __future__ import annotations

from dataclasses import dataclass

from onecard_cli.home import Home
from simulators.card import CardStore, SimCard
from simulators.factory import build_card
from simulators.personas import load


@dataclass(frozen=True, slots=True)
class PersonaCard:
    """The card and the region a PSAM beside it would be of."""

    card: SimCard
    region: str
    generation: str


def persona_card(home: Home, name: str, *, fresh: bool = False) -> PersonaCard:
    """The card of a persona in its last state, or a new one. Raises PersonaError for an unknown name."""
    persona = load(name)
    store = CardStore(home.path / "cards" / f"{name}.json")
    if fresh or not store.path.exists():
        store.path.parent.mkdir(parents=True, exist_ok=True)
        store.save(build_card(persona, home.roots()))
    return PersonaCard(SimCard(store.load(), faults=persona.faults(), store=store), persona.region, persona.generation)
