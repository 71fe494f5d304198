"""Card images on disk: replaced whole and atomically, as a chip commits an update."""

from __future__ import annotations

from pathlib import Path

from simulators.card.state import CardState
from simulators.image import replace_file


class CardStore:
    """One JSON file per card, mode 0600 because it holds the card's keys."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def exists(self) -> bool:
        return self.path.exists()

    def load(self) -> CardState:
        """Raises CardStateError when the file is not a card image."""
        return CardState.from_json(self.path.read_text(encoding="ascii", errors="replace"))

    def save(self, state: CardState) -> None:
        """Old image or new image, never a mixture, also when power fails inside (draft P7 14)."""
        replace_file(self.path, state.to_json())
