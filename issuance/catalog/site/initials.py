"""First letters of pinyin (拼音首字母), from the order of GB 2312: its first 3,755 characters stand by their sound."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from itertools import product
from typing import Final

_LETTERS: Final = "abcdefghjklmnopqrstwxyz"
_FIRST: Final = "啊芭擦搭蛾发噶哈击喀垃妈拿哦啪期然撒塌挖昔压匝"
"""The first character of each letter in GB 2312."""
_STARTS: Final = [sign.encode("gb2312") for sign in _FIRST]
_LAST: Final = "座".encode("gb2312")
_ALSO: Final = {
    "行": "h",
    "长": "z",
    "重": "c",
    "调": "dt",
    "会": "k",
    "参": "s",
    "藏": "z",
    "乐": "y",
    "赈": "z",
}
"""A second sound, and a character beyond the first 3,755 that a catalog may well name."""
_MAX_READINGS: Final = 16


@cache
def letters_of(sign: str) -> str:
    """The letters a character may begin with; a digit or Latin letter stands for itself, anything else is ""."""
    if sign.isascii():
        return sign.lower() if sign.isalnum() else ""
    try:
        code = sign.encode("gb2312")
    except UnicodeEncodeError:
        return _ALSO.get(sign, "")
    found = _LETTERS[bisect_right(_STARTS, code) - 1] if _STARTS[0] <= code <= _LAST else ""
    return found + "".join(letter for letter in _ALSO.get(sign, "") if letter != found)


def readings(text: str) -> tuple[str, ...]:
    """Every way to write `text` by its first letters, a few at most where many characters have two sounds."""
    choices = [letters for sign in text if (letters := letters_of(sign))]
    count = 1
    for place, letters in enumerate(choices):
        count *= len(letters)
        if count > _MAX_READINGS:
            choices[place:] = [rest[0] for rest in choices[place:]]
            break
    return tuple("".join(chosen) for chosen in product(*choices))
