"""What a card signs when its holder logs in: written by the centre, read to the holder by the terminal that asks for
the PIN, so that both speak of the same site.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final, Self

LONGEST: Final = 4096
_TITLE: Final = "用社保卡登录确认书 / Log-in by card"
_NONE: Final = "无 / none"
_LABELS: Final = {
    "login_id": "编号 / Number",
    "centre": "服务中心 / Centre",
    "name": "登录到 / Log in to",
    "client_id": "系统 / System",
    "host": "网址 / Address",
    "browser": "浏览器 / Browser",
}
_DATA, _TIME, _NONCE, _PAGE = "信息项 / Data:", "时间 / Time", "随机数 / Nonce", "网页 / Page"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class LogInTextError(Exception):
    """Not the text of a log-in by card."""

    failure: ClassVar[str] = "INPUT_INVALID"


@dataclass(frozen=True, slots=True)
class LogInText:
    """`items` are what the site will learn beside an identifier of its own; no value is empty but `host`, `browser`."""

    login_id: str
    centre: str
    name: str
    client_id: str
    host: str
    browser: str
    items: tuple[str, ...]
    time: str
    nonce: str

    def encode(self) -> str:
        """Raises LogInTextError for a value that would be read as something else."""
        text = "\n".join(
            (
                _TITLE,
                *(f"{label}: {getattr(self, field) or _NONE}" for field, label in _LABELS.items()),
                _DATA,
                *(f"- {item}" for item in self.items or (_NONE,)),
                f"{_TIME}: {self.time}",
                f"{_NONCE}: {self.nonce}",
            )
        )
        if self.parse(text) != self:
            raise LogInTextError("a value does not fit into the text")
        return text

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises LogInTextError."""
        lines = text.split("\n")
        head, tail = len(_LABELS) + 1, lines[-2:]
        is_whole = len(lines) >= head + 4 and lines[0] == _TITLE and lines[head] == _DATA
        if len(text) > LONGEST or not is_whole or any(_CONTROL.search(line) for line in lines):
            raise LogInTextError("not the text of a log-in by card")
        values = [_value(line, label) for line, label in zip(lines[1:head], _LABELS.values(), strict=True)]
        items = tuple(_value(line, "-", separator=" ") for line in lines[head + 1 : -2])
        time, nonce = (_value(line, label) for line, label in zip(tail, (_TIME, _NONCE), strict=True))
        found = dict(zip(_LABELS, values, strict=True))
        optional = {field: "" for field in ("host", "browser") if found[field] == _NONE}
        return cls(**(found | optional), items=() if items == (_NONE,) else items, time=time, nonce=nonce)


def signed_bytes(text: str, page: str) -> bytes:
    """What the card signs: the terminal adds the origin of the page that asked it, which no page can choose."""
    return f"{text}\n{_PAGE}: {page}".encode()


def _value(line: str, label: str, separator: str = ": ") -> str:
    start = label + separator
    value = line.removeprefix(start)
    if not line.startswith(start) or not value.strip():
        raise LogInTextError(f"no {label}")
    return value
