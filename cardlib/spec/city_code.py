"""The city code as data (`data/city_code.toml`): parts in their order, limits, kinds.

Widths of DB11/T 1917.2-2021 that are not public are marked there as assumed; correcting one is a change of that file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from cardlib.spec.loader import SpecError

_FILE = Path(__file__).with_name("data") / "city_code.toml"
CHARACTERS: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        "digits": re.compile(r"[0-9]*", re.ASCII),
        "upper": re.compile(r"[0-9A-Z]*", re.ASCII),
        "base64url": re.compile(r"[0-9A-Za-z_-]*", re.ASCII),
        "text": re.compile(r"[!-~]*", re.ASCII),
    }
)
PARTS: Final = (
    "system", "authorization", "attribute", "generated", "validity",
    "extension_length", "extension", "security_length", "security",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CityPart:
    """`length` is None where another part, `length_of`, tells it. `is_public`: the number is the standard's own."""

    name: str
    zh: str
    en: str
    length: int | None
    length_of: str
    characters: str
    is_public: bool


@dataclass(frozen=True, slots=True)
class CityKind:
    prefix: str
    name: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class CityCodeSpec:
    guide_max: int
    guide_schemes: tuple[str, ...]
    guide_end: str
    extension_max: int
    security_max: int
    skew_s: int
    longest_validity_s: int
    parts: tuple[CityPart, ...]
    kinds: tuple[CityKind, ...]

    @property
    def longest(self) -> int:
        """Characters that no city code exceeds."""
        fixed = sum(part.length or 0 for part in self.parts)
        return self.guide_max + len(self.guide_end) + fixed + self.extension_max + self.security_max


@cache
def city_code_spec() -> CityCodeSpec:
    """Raises SpecError for a table that is not whole."""
    return read_spec(tomllib.loads(_FILE.read_text(encoding="utf-8")))


def read_spec(data: dict[str, Any]) -> CityCodeSpec:
    """As `city_code_spec`, of a table that was read."""
    try:
        return _checked(
            CityCodeSpec(
                guide_max=data["guide_max"],
                guide_schemes=tuple(data["guide_schemes"]),
                guide_end=data["guide_end"],
                extension_max=data["extension_max"],
                security_max=data["security_max"],
                skew_s=data["skew_s"],
                longest_validity_s=data["longest_validity_s"],
                parts=tuple(_part(given) for given in data["part"]),
                kinds=tuple(CityKind(**given) for given in data["kind"]),
            )
        )
    except (KeyError, TypeError) as error:
        raise SpecError(f"city_code.toml: {error}") from error


def _part(given: dict[str, Any]) -> CityPart:
    return CityPart(
        name=given["name"],
        zh=given["zh"],
        en=given["en"],
        length=given.get("length"),
        length_of=given.get("length_of", ""),
        characters=given["characters"],
        is_public=given["source"] == "public",
    )


def _checked(spec: CityCodeSpec) -> CityCodeSpec:
    names = [part.name for part in spec.parts]
    if sorted(names) != sorted(PARTS) or len(spec.guide_end) != 1:
        raise SpecError(f"city_code.toml: the parts must be {', '.join(PARTS)}, the guide's end one character")
    for place, part in enumerate(spec.parts):
        is_measured = part.length is None and part.length_of in names[:place]
        if part.characters not in CHARACTERS or not (is_measured or (part.length or 0) > 0):
            raise SpecError(f"city_code.toml: part {part.name} has no length or no characters")
    return spec
