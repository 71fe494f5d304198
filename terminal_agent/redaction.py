"""Log lines that may leave the terminal: what the program says stays, what it was told goes.

Arguments of a log call are shown only where they can be nothing personal: small numbers, failure codes, kinds of
exceptions, ports of devices. Of the text, Chinese characters and everything with six digits or more goes, so that a
number or a name that somebody put into the text itself goes too. A name in Latin letters inside a text that was put
together before it was logged would stay: log calls of this project pass arguments.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections import deque
from enum import Enum
from types import TracebackType
from typing import Any, Final

from cardlib.failures import FailureCode

HIDDEN: Final = "…"
MAX_LINES: Final = 200
MAX_LINE: Final = 300
_LARGEST: Final = 10**5
_CHINESE: Final = re.compile("[\u2e80-\u2fdf\u3005-\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff·]+")
_NUMBER: Final = re.compile(r"\w*(?:\d\w*?[ -]?){6,}\w*")
_PORT: Final = re.compile(r"/dev/[A-Za-z0-9._/-]{1,48}|COM\d{1,3}")
_PLACEHOLDER: Final = re.compile(r"%(?:\([^)]*\))?[-#0 +]*[\d*]*(?:\.[\d*]+)?[A-Za-z]")


def masked(text: str) -> str:
    """Without Chinese characters and long numbers."""
    return _NUMBER.sub(HIDDEN, _CHINESE.sub(HIDDEN, text))


def line_of(record: logging.LogRecord) -> str:
    """One line, at most `MAX_LINE` characters."""
    template = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    said = template if not record.args else _filled(template, record.args)
    error = f" {_trail(record.exc_info[0], record.exc_info[2])}" if record.exc_info and record.exc_info[0] else ""
    line = masked(f"{record.levelname} {record.name} {said}{error}").replace("\n", " ")
    stamp = logging.Formatter().formatTime(record, "%Y-%m-%dT%H:%M:%S")
    return f"{stamp} {line}"[:MAX_LINE]


class LogRing(logging.Handler):
    """The last `MAX_LINES` lines, masked when they come: what is personal is never kept."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=MAX_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(line_of(record))

    @property
    def lines(self) -> list[str]:
        return list(self._lines)


def _filled(template: str, args: Any) -> str:
    if not isinstance(args, tuple):
        return _PLACEHOLDER.sub(HIDDEN, template)
    left = list(args)
    return _PLACEHOLDER.sub(lambda _: _shown(left.pop(0)) if left else HIDDEN, template.replace("%%", ""))


def _shown(value: object) -> str:
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return f"{value:g}" if abs(value) < _LARGEST else HIDDEN
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, str) and (value in FailureCode.__members__ or _PORT.fullmatch(value)):
        return value
    return HIDDEN


def _trail(kind: type[BaseException] | None, trace: TracebackType | None) -> str:
    """Kind and places of an exception; its text may hold what was read."""
    frames = traceback.extract_tb(trace)[-4:]
    places = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
    return f"[{'' if kind is None else kind.__name__} {places}]"
