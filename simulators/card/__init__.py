"""The simulated social security card (社会保障卡), generations 1.0 to 3.0, with the reference COS profile."""

from simulators.card.card import SimCard
from simulators.card.crypto import Algorithm
from simulators.card.state import CardState, CardStateError, Life
from simulators.card.store import CardStore
from simulators.faults import CardGone, CardSilent, Faults

__all__ = [
    "Algorithm",
    "CardGone",
    "CardSilent",
    "CardState",
    "CardStateError",
    "CardStore",
    "Faults",
    "Life",
    "SimCard",
]
