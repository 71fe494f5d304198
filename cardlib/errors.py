"""What a card session refuses or finds, apart from status words (`apdu.errors`). Each names its `FailureCode`."""

from __future__ import annotations

from typing import ClassVar


class CardUnsupportedError(Exception):
    """A social security card that this system cannot serve."""

    failure: ClassVar[str] = "CARD_UNSUPPORTED"


class ForeignCardError(CardUnsupportedError):
    """A card of another kind: it has no social security environment."""

    failure: ClassVar[str] = "NOT_SOCIAL_SECURITY_CARD"


class CardDataError(Exception):
    """The card answered, but its content is not what the specification says."""

    failure: ClassVar[str] = "CARD_DATA_INVALID"


class CardBlankError(Exception):
    """A social security card that has not been personalised."""

    failure: ClassVar[str] = "CARD_STATE"


class CardNotGenuineError(Exception):
    """The card does not hold its issuer's key: an answer only that key could give was wrong."""

    failure: ClassVar[str] = "CARD_NOT_GENUINE"


class CardMismatchError(Exception):
    """Another card than the one the data belong to."""

    failure: ClassVar[str] = "CARD_MISMATCH"


class LastTryError(Exception):
    """Refused before sending: a wrong value would lock the PIN. `attempts_remaining` as the card tells it, 0 when it
    is locked already."""

    failure: str = "PIN_LAST_TRY"
    _locked: ClassVar[str] = "PIN_LOCKED"

    def __init__(self, attempts_remaining: int, what: str = "PIN") -> None:
        super().__init__(f"{what}: {attempts_remaining} tries left")
        self.attempts_remaining = attempts_remaining
        if attempts_remaining == 0:
            self.failure = self._locked


class LastKeyTryError(LastTryError):
    """As `LastTryError` for a key; the tries are those the card told at the last failure with it."""

    failure = "KEY_LAST_TRY"
    _locked = "KEY_LOCKED"


class RepeatedPinError(Exception):
    """Refused before sending: this card said in this session that this PIN is wrong."""

    failure: ClassVar[str] = "PIN_WRONG"
