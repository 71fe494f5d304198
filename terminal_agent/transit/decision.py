"""A decision as people see it: which sign, which words, how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from apdu.errors import CardAbsentError, CardRemovedError, CardResetError, ReaderLostError
from cardlib.transit_gate_result import Reason, State, words
from terminal_agent.transit.screen import Picture, Sign, picture
from terminal_agent.transit.words import Both

if TYPE_CHECKING:
    from cardlib.transit_gate_result import TapResult

_SIGNS: Final[Mapping[State, Sign]] = {
    State.GO: Sign.PASS,
    State.TAP_AGAIN: Sign.AGAIN,
    State.SEE_STAFF: Sign.STAFF,
    State.STOP: Sign.STOP,
}
_WENT_AWAY: Final = (CardRemovedError, CardAbsentError, CardResetError, ReaderLostError)


@dataclass(frozen=True, slots=True)
class Decision:
    """`reason` names why in the books and to the staff; amounts in fen."""

    sign: Sign
    reason: str
    text: Both
    amount_fen: int | None = None
    balance_fen: int | None = None

    @classmethod
    def of(cls, result: TapResult) -> Decision:
        words = Both(*result.words)
        return cls(_SIGNS[result.state], result.reason.name, words, result.amount_fen, result.balance_fen)

    @property
    def picture(self) -> Picture:
        code = "" if self.sign is Sign.PASS else self.reason
        return picture(self.sign, self.text, code=code, amount_fen=self.amount_fen, balance_fen=self.balance_fen)


def because(reason: Reason, sign: Sign) -> Decision:
    known = words()[reason]
    return Decision(sign, reason.name, Both(known.zh, known.en))


def broken_off(error: Exception) -> Decision:
    """A card with which there was no talking."""
    reason = Reason.REMOVED if isinstance(error, _WENT_AWAY) else Reason.CARD_FAULT
    return because(reason, Sign.AGAIN)
