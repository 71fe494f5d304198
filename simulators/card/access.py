"""Volatile security state and access conditions (card_commands.md section 2, personalization.md 3.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulators.card.state import CardState, Df, Ef

if TYPE_CHECKING:
    from simulators.apps.neighbour import Neighbour

FREE, NEVER, PIN, KEY, PIN_OR_KEY, PIN_AND_KEY = range(6)
LOCAL_KEY = 0x80


@dataclass(slots=True)
class Transaction:
    """An initialised medical transaction waiting for its CREDIT or DEBIT. `seed` starts the session input."""

    type: int
    key: bytes
    seed: bytes
    amount: bytes
    own_pay: bytes
    pool: bytes
    terminal: bytes


@dataclass(slots=True)
class Session:
    """Lost at power-off and reset. While a `neighbour` is selected there is no current DF."""

    df: Df | None
    ef: Ef | None = None
    pointer: int | None = None
    is_pin_verified: bool = False
    global_keys: set[int] = field(default_factory=set)
    local_keys: set[int] = field(default_factory=set)
    challenge: bytes = b""
    pending: bytes = b""
    transaction: Transaction | None = None
    neighbour: Neighbour | None = None

    def enter(self, df: Df | None, neighbour: Neighbour | None = None) -> None:
        """Make `df` current; leaving a DF loses its local keys, the challenge and the transaction."""
        self.neighbour = neighbour
        if df is not self.df:
            self.local_keys.clear()
            self.challenge = b""
            self.transaction = None
        self.df = df
        self.ef = None
        self.pointer = None

    def has_key(self, kid: int) -> bool:
        return kid in (self.local_keys if kid & LOCAL_KEY else self.global_keys)

    def set_key(self, kid: int, *, proved: bool) -> None:
        keys = self.local_keys if kid & LOCAL_KEY else self.global_keys
        if proved:
            keys.add(kid)
        else:
            keys.discard(kid)


def is_condition(ac: bytes) -> bool:
    """True for the two-byte access conditions CREATE FILE may carry."""
    return ac[0] in (KEY, PIN_OR_KEY, PIN_AND_KEY) or (ac[0] in (FREE, NEVER, PIN) and ac[1] == 0)


def is_satisfied(ac: bytes, state: CardState, session: Session) -> bool:
    """The PIN counts as given while the holder has set none (OPEN F11)."""
    kind, kid = ac
    has_pin = session.is_pin_verified or not state.has_pin
    match kind:
        case 0:
            return True
        case 2:
            return has_pin
        case 3:
            return session.has_key(kid)
        case 4:
            return has_pin or session.has_key(kid)
        case 5:
            return has_pin and session.has_key(kid)
        case _:
            return False
