"""How far the card in hand is, and what a failure means for it: wait, take another blank, or stop."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from cardlib.failures import FailureCode
from terminal_agent.printer import LOOK_S
from terminal_agent.printer_link import ANSWER_S
from terminal_agent.problems import AgentError

Stage = Literal["load", "write", "print", "enable", "eject"]
STAGES: Final[tuple[Stage, ...]] = ("load", "write", "print", "enable", "eject")
PASSING: Final = frozenset(
    {
        FailureCode.SERVICE_UNREACHABLE,
        FailureCode.TIMEOUT,
        FailureCode.INTERNAL,
        FailureCode.CARD_BUSY,
        FailureCode.READER_LEASED,
        FailureCode.READER_LOST,
        FailureCode.READER_SERVICE_UNAVAILABLE,
        FailureCode.READER_NOT_FOUND,
        FailureCode.TERMINAL_LOCKED,
        FailureCode.HSM_UNAVAILABLE,
        FailureCode.HSM_BUSY,
        FailureCode.DATABASE_UNAVAILABLE,
        FailureCode.PRINTER_UNAVAILABLE,
        FailureCode.PRINTER_RIBBON_EMPTY,
        FailureCode.PRINTER_HOPPER_EMPTY,
        FailureCode.PRINTER_JAM,
        FailureCode.PRINTER_PAUSED,
        FailureCode.PRINTER_COVER_OPEN,
    }
)
"""What people or time mend, with the card in hand still good."""
BAD_CARD: Final = frozenset(
    {
        FailureCode.CARD_MUTE,
        FailureCode.CARD_ABSENT,
        FailureCode.CARD_REMOVED,
        FailureCode.CARD_RESET,
        FailureCode.CARD_UNSUPPORTED,
        FailureCode.CARD_NOT_GENUINE,
        FailureCode.CARD_BLOCKED,
        FailureCode.CARD_STATE,
        FailureCode.CARD_MEMORY,
        FailureCode.CARD_DATA_INVALID,
        FailureCode.NOT_SOCIAL_SECURITY_CARD,
        FailureCode.APPLICATION_BLOCKED,
        FailureCode.KEY_LOCKED,
        FailureCode.AUTHENTICATION_FAILED,
        FailureCode.SECURE_MESSAGING_FAILED,
        FailureCode.FILE_NOT_FOUND,
        FailureCode.RECORD_NOT_FOUND,
        FailureCode.COMMAND_REJECTED,
        FailureCode.BLANK_UNKNOWN,
        FailureCode.PRINT_FAILED,
    }
)
"""What another blank mends."""


class CardInsideError(AgentError):
    """The machine has a card of somebody else in it."""

    failure: ClassVar[str] = "KIOSK_CARD_INSIDE"


class BadCardError(Exception):
    def __init__(self, failure: FailureCode) -> None:
        super().__init__(failure.value)
        self.failure = failure


class NotYetError(Exception):
    """People or time mend it."""

    def __init__(self, failure: FailureCode) -> None:
        super().__init__(failure.value)
        self.failure = failure


class StoppedError(Exception):
    """Neither time nor another card helps."""

    def __init__(self, failure: FailureCode) -> None:
        super().__init__(failure.value)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Progress:
    """`trouble` is waited for; with `is_over` it is why there is no card. `share` of the present stage, 0 to 1."""

    stage: Stage = "load"
    share: float = 0.0
    text_zh: str = ""
    text_en: str = ""
    trouble: FailureCode | None = None
    is_second: bool = False
    is_made: bool = False
    is_over: bool = False


class KeptCards:
    """Finished cards that nobody came for and that went into the reject bin, until somebody has emptied it."""

    def __init__(self) -> None:
        self.count = 0
        self._at = 0.0

    def add(self) -> None:
        self.count, self._at = self.count + 1, time.monotonic()

    def look(self, in_bin: int | None) -> None:
        """What the machine said last of its bin: asked before the card fell, it may say none until the next answer."""
        if in_bin == 0 and time.monotonic() - self._at > 2 * ANSWER_S + LOOK_S:
            self.count = 0
