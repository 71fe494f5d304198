"""Everything that can go wrong between a command and its answer. Each class names its `FailureCode` in `failure`."""

from __future__ import annotations


class ApduError(Exception):
    """Root of this package's errors. `failure` is the name of a `FailureCode`; an instance may narrow it."""

    failure: str = "INTERNAL"


class EncodingError(ApduError, ValueError):
    """A value cannot be put into the form asked for."""

    failure = "APDU_MALFORMED"


class DecodingError(ApduError, ValueError):
    """Bytes from outside do not have the form they claim."""

    failure = "APDU_MALFORMED"


class TlvDecodingError(DecodingError):
    """Data objects of a card are truncated, over-long or nested too deeply."""

    failure = "CARD_DATA_INVALID"


class AtrDecodingError(DecodingError):
    """An answer to reset that breaks ISO/IEC 7816-3, clause 8."""

    failure = "CARD_UNSUPPORTED"


class TransportError(ApduError):
    """No complete response came back. What the card did with the command is unknown."""

    failure = "READER_LOST"


class ReaderServiceError(TransportError):
    """The PC/SC service, or its library, is absent or died."""

    failure = "READER_SERVICE_UNAVAILABLE"


class ReaderNotFoundError(TransportError):
    """No reader has this name."""

    failure = "READER_NOT_FOUND"


class ReaderOccupiedError(TransportError):
    """A card cannot be put into a reader that holds one."""

    failure = "CONFLICT"


class ReaderLostError(TransportError):
    """The reader was unplugged or stopped working while in use."""

    failure = "READER_LOST"


class CardAbsentError(TransportError):
    """The reader is empty."""

    failure = "CARD_ABSENT"


class CardRemovedError(TransportError):
    """The card left the reader while a connection was open; the connection is dead."""

    failure = "CARD_REMOVED"


class CardMuteError(TransportError):
    """The card is there and does not answer."""

    failure = "CARD_MUTE"


class CardResetError(TransportError):
    """Another program reset the card: selection and security state are lost, the connection goes on."""

    failure = "CARD_RESET"


class CardBusyError(TransportError):
    """Another program holds the card exclusively."""

    failure = "CARD_BUSY"


class CardUnsupportedError(TransportError):
    """The card speaks neither T=0 nor T=1."""

    failure = "CARD_UNSUPPORTED"


class CardProtocolError(TransportError):
    """The card broke the exchange rules, as with an endless chain of 61xx."""

    failure = "CARD_DATA_INVALID"


class ReplayError(TransportError):
    """A recording has no answer for this command."""

    failure = "INTERNAL"


class StatusWordError(ApduError):
    """A status word that refuses the command. Raised by `apdu.sw.check` alone.

    `command` is the name of the instruction, `attempts_remaining` the x of 63Cx, None for all others.
    """

    def __init__(
        self,
        message: str,
        *,
        sw: int,
        command: str = "",
        attempts_remaining: int | None = None,
        failure: str = "COMMAND_REJECTED",
    ) -> None:
        super().__init__(message)
        self.sw = sw
        self.command = command
        self.attempts_remaining = attempts_remaining
        self.failure = failure


class PinWrongError(StatusWordError):
    """63Cx on a PIN command; `attempts_remaining` tries are left."""


class PinLockedError(StatusWordError):
    """No try is left for the PIN."""


class KeyLockedError(StatusWordError):
    """No try is left for a key."""


class AuthenticationFailedError(StatusWordError):
    """An authentication value was wrong, or the challenge for it was missing."""


class SecureMessagingError(StatusWordError):
    """The MAC of a secured command was missing or wrong."""


class AccessDeniedError(StatusWordError):
    """The access condition of the file is not met."""


class NotFoundError(StatusWordError):
    """File or record absent."""


class KeyNotFoundError(StatusWordError):
    """The key or PIN object named by the command is absent."""


class CardBlockedError(StatusWordError):
    """The card or its current application is blocked for good."""
