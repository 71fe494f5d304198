"""Rule packs: everything that differs by place, one TOML file per province (R2.9)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

_DIRECTORY = Path(__file__).parent


class RuleError(Exception):
    """No usable rule pack."""

    failure: ClassVar[str] = "REGION_UNKNOWN"


class RulePackInvalidError(RuleError):
    """A rule pack file is wrong; names file and field."""

    failure: ClassVar[str] = "INTERNAL"


@dataclass(frozen=True, slots=True)
class RulePack:
    """Rules of one province.

    `institution` is the 初始化机构编号 (24 hex digits, V2.0 T12) without regard to the outlet; `number_prefixes` are
    the first letters its card numbers may have (V2.0 App. A); ages in full years; `temporary_loss_days` is when a
    temporary loss is released by itself.
    """

    region: str
    name: str
    name_en: str
    institution: str
    number_prefixes: tuple[str, ...]
    validity_years: int
    preschool_age: int
    minor_age: int
    temporary_loss_days: int
    renewal_window_days: int

    def card_class(self, age: int) -> str:
        """卡的类别 (CL01) when the applicant is put in none: 1 preschool child, 2 student, 3 adult."""
        if age < self.preschool_age:
            return "1"
        return "2" if age < self.minor_age else "3"


class RuleBook:
    """All rule packs, by province."""

    def __init__(self, packs: dict[str, RulePack]) -> None:
        self._packs = packs

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(sorted(self._packs))

    def pack(self, region: str) -> RulePack:
        """Rules for a region: its own pack, else its province's. Raises RuleError."""
        pack = self._packs.get(region) or self._packs.get(f"{region[:2]}0000")
        if pack is None:
            raise RuleError(f"no rule pack for region {region}; there are {', '.join(self.regions)}")
        return pack


def load_rules(directory: Path | None = None) -> RuleBook:
    """Read every pack of `directory` (default: the shipped ones). Raises RulePackInvalidError, never half a book."""
    files = sorted((directory or _DIRECTORY).glob("*.toml"))
    if not files:
        raise RulePackInvalidError("no rule packs found")
    return RuleBook({pack.region: pack for pack in map(_load, files)})


def _load(file: Path) -> RulePack:
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RulePackInvalidError(f"{file.name}: {error}") from None
    known = {entry.name for entry in fields(RulePack)}
    for name in sorted(known ^ data.keys()):
        raise RulePackInvalidError(f"{file.name}: {name} is {'missing' if name in known else 'unknown'}")
    prefixes = data["number_prefixes"]
    checks: dict[str, bool] = {
        "region": _is_text(data["region"], 6) and data["region"].isdigit() and data["region"] == file.stem,
        "name": _is_text(data["name"]),
        "name_en": _is_text(data["name_en"]),
        "institution": _is_institution(data["institution"], data["region"]),
        "number_prefixes": isinstance(prefixes, list)
        and bool(prefixes)
        and all(_is_text(p, 1) and p.isascii() and p.isupper() for p in prefixes),
        "validity_years": _is_within(data["validity_years"], 1, 50),
        "preschool_age": _is_within(data["preschool_age"], 0, 17),
        "minor_age": _is_within(data["minor_age"], 1, 18),
        "temporary_loss_days": _is_within(data["temporary_loss_days"], 1, 60),
        "renewal_window_days": _is_within(data["renewal_window_days"], 0, 366),
    }
    for name, is_good in checks.items():
        if not is_good:
            raise RulePackInvalidError(f"{file.name}: {name} is not valid")
    return RulePack(**data | {"number_prefixes": tuple(prefixes)})


def _is_text(value: Any, length: int | None = None) -> bool:
    return isinstance(value, str) and bool(value.strip()) and (length is None or len(value) == length)


def _is_within(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_institution(value: Any, region: Any) -> bool:
    """9156000002, issuing region, region of the seat, sequence (V2.0 T12)."""
    return _is_text(value, 24) and value.isascii() and value.isdigit() and value.startswith(f"9156000002{region}")
