"""Families of codes (`families.toml`): which one a text belongs to, by its form alone."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final

from cardlib.city_code import CityCode, CityCodeError

_FILE: Final = Path(__file__).with_name("families.toml")
MAX_CHARS: Final = 1024


class FamiliesError(ValueError):
    """The table of families is malformed."""

    failure: ClassVar[str] = "RULES_INVALID"


@dataclass(frozen=True, slots=True)
class Family:
    """Words in two languages about whose codes these are, where they work and what to do with one."""

    name: str
    zh: str
    en: str
    owner_zh: str
    owner_en: str
    works_zh: str
    works_en: str
    advice_zh: str
    advice_en: str
    source: str
    example: str
    pattern: str = ""
    parser: str = ""
    business_type: str = ""
    is_ours: bool = False
    is_asked: bool = False
    example_fill: int = 0

    def fits(self, code: str) -> bool:
        return _PARSERS[self.parser](code) if self.parser else _compiled(self.pattern).fullmatch(code) is not None

    @property
    def whole_example(self) -> str:
        return self.example.ljust(self.example_fill, "0")


def family_of(code: str) -> Family | None:
    """None for a code of no family that is known."""
    if len(code) > MAX_CHARS:
        return None
    return next((family for family in families().values() if family.fits(code)), None)


@cache
def families() -> Mapping[str, Family]:
    """In the order in which they are tried. Raises FamiliesError."""
    return read_families(tomllib.loads(_FILE.read_text(encoding="utf-8")))


def read_families(data: dict[str, Any]) -> Mapping[str, Family]:
    try:
        found = [Family(**given) for given in data["family"]]
        for family in found:
            if bool(family.pattern) == bool(family.parser) or (family.parser and family.parser not in _PARSERS):
                raise FamiliesError(f"{family.name}: a pattern, or a parser that there is")
            _compiled(family.pattern)
    except (KeyError, TypeError, re.error) as error:
        raise FamiliesError(f"families.toml: {error}") from error
    return MappingProxyType({family.name: family for family in found})


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


def _is_city_code(code: str) -> bool:
    try:
        CityCode.parse(code)
    except CityCodeError:
        return False
    return True


_PARSERS: Final[Mapping[str, Callable[[str], bool]]] = MappingProxyType({"city_code": _is_city_code})
