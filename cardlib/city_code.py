"""City codes (城市码, DB11/T 1917.2-2021): parsed and made after `cardlib.spec.city_code`.

Public: guide (a URL), code system, code authorization, attribute of four characters, extension of at most 200
characters, security part; time of generation and validity decide. The widths of the other parts and the separator are
not public: `spec/data/city_code.toml` says which are assumed. The security part is opaque here; only the platform that
made the code can check it. The guide is text: nothing in this project opens an address that it reads from a code.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from urllib.parse import urlsplit

from cardlib.spec.city_code import CHARACTERS, CityCodeSpec, CityKind, CityPart, city_code_spec

_PLACES_OF_NUMBERS = ("generated", "validity", "extension_length", "security_length")
_FOUR = 4


class CityCodeError(ValueError):
    """Not a city code; says which part is wrong, never what it held."""

    failure: ClassVar[str] = "CODE_UNKNOWN"


@dataclass(frozen=True, slots=True)
class CityCode:
    """`generated` in Unix seconds, `validity_s` in seconds."""

    guide: str
    system: str
    authorization: str
    attribute: str
    generated: int
    validity_s: int
    extension: str = ""
    security: str = ""

    @classmethod
    def parse(cls, text: str) -> CityCode:
        """Raises CityCodeError; what it takes, `encode` gives back character for character."""
        spec = city_code_spec()
        if len(text) > spec.longest:
            raise CityCodeError("longer than any city code")
        guide, end, rest = text.partition(spec.guide_end)
        if not end:
            raise CityCodeError("the guide has no end")
        found = _split(spec, rest)
        return cls(
            guide=guide,
            system=found["system"],
            authorization=found["authorization"],
            attribute=found["attribute"],
            generated=int(found["generated"]),
            validity_s=int(found["validity"]),
            extension=found["extension"],
            security=found["security"],
        )._checked(spec)

    def encode(self) -> str:
        """Raises CityCodeError for what does not fit the layout."""
        spec = city_code_spec()
        self._checked(spec)
        values = {
            "system": self.system,
            "authorization": self.authorization,
            "attribute": self.attribute,
            "generated": str(self.generated),
            "validity": str(self.validity_s),
            "extension_length": str(len(self.extension)),
            "extension": self.extension,
            "security_length": str(len(self.security)),
            "security": self.security,
        }
        return self.guide + spec.guide_end + "".join(_laid(part, values[part.name]) for part in spec.parts)

    @property
    def kind(self) -> CityKind | None:
        """Of a person, an organisation or a thing; None for an attribute that the table does not know."""
        return next((kind for kind in city_code_spec().kinds if self.attribute.startswith(kind.prefix)), None)

    @property
    def host(self) -> str:
        """Whose guide it is, for people to read; it is never looked up."""
        return urlsplit(self.guide).hostname or ""

    def is_valid_at(self, now: datetime) -> bool:
        """From its generation, less the skew that clocks may have, until its validity is over."""
        spec = city_code_spec()
        begun = datetime.fromtimestamp(self.generated, UTC)
        return begun - timedelta(seconds=spec.skew_s) <= now < begun + timedelta(seconds=self.validity_s)

    def _checked(self, spec: CityCodeSpec) -> CityCode:
        _check_guide(spec, self.guide)
        if len(self.attribute) != _FOUR:
            raise CityCodeError("the attribute has four characters")
        if len(self.extension) > spec.extension_max:
            raise CityCodeError("the extension is too long")
        if len(self.security) > spec.security_max:
            raise CityCodeError("the security part is too long")
        if not 0 < self.validity_s <= spec.longest_validity_s:
            raise CityCodeError("the validity is nothing, or longer than any code may live")
        if self.generated < 0:
            raise CityCodeError("the time of generation lies before 1970")
        return self


def _split(spec: CityCodeSpec, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    place = 0
    for part in spec.parts:
        length = int(found[part.length_of]) if part.length is None else part.length
        value = text[place : place + length]
        if len(value) < length:
            raise CityCodeError(f"ends within {part.name}")
        if not CHARACTERS[part.characters].fullmatch(value):
            raise CityCodeError(f"{part.name} holds other characters than it may")
        found[part.name] = value
        place += length
    if place != len(text):
        raise CityCodeError("goes on after its last part")
    return found


def _laid(part: CityPart, value: str) -> str:
    """A value at the width of its part; numbers are filled with zeros on the left."""
    if part.length is not None and part.name in _PLACES_OF_NUMBERS:
        value = value.zfill(part.length)
    if part.length is not None and len(value) != part.length:
        raise CityCodeError(f"{part.name} does not have its {part.length} characters")
    if not CHARACTERS[part.characters].fullmatch(value):
        raise CityCodeError(f"{part.name} holds other characters than it may")
    return value


def _check_guide(spec: CityCodeSpec, guide: str) -> None:
    if len(guide) > spec.guide_max or not CHARACTERS["text"].fullmatch(guide) or spec.guide_end in guide:
        raise CityCodeError("the guide is too long or holds other characters than it may")
    try:
        address = urlsplit(guide)
        host = address.hostname
    except ValueError:
        raise CityCodeError("the guide is no address") from None
    if address.scheme not in spec.guide_schemes or not host or "@" in address.netloc:
        raise CityCodeError("the guide is no address of the kind that guides are")
