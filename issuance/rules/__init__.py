"""Rule packs: everything that differs by place and day, one TOML file per province (R2.9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import ClassVar

from issuance.rules.loading import PackError, read_pack
from issuance.rules.pack import Fees, Institution, PhotoProfile, Rules

__all__ = ["Fees", "PackError", "PhotoProfile", "RuleBook", "RuleError", "RulePack", "RulePackInvalidError", "Rules"]

_DIRECTORY = Path(__file__).parent


class RuleError(Exception):
    """No usable rule pack."""

    failure: ClassVar[str] = "REGION_UNKNOWN"


class RulePackInvalidError(RuleError):
    """Rule packs are wrong: every error with file, line, field, rule and remedy."""

    failure: ClassVar[str] = "RULES_INVALID"

    def __init__(self, errors: Sequence[PackError]) -> None:
        super().__init__("\n  ".join(str(error) for error in errors))
        self.errors = tuple(errors)


@dataclass(frozen=True, slots=True)
class RulePack:
    """One province: who issues, and its rules by the day they hold from, oldest first."""

    issuer: Institution
    versions: tuple[Rules, ...]

    @property
    def region(self) -> str:
        return self.issuer.region

    @property
    def institution(self) -> str:
        return self.issuer.institution

    @property
    def number_prefixes(self) -> tuple[str, ...]:
        return self.issuer.number_prefixes

    def on(self, day: date) -> Rules:
        """The rules of a day, China time. Raises RuleError before the first version begins."""
        for rules in reversed(self.versions):
            if rules.effective_from <= day:
                return rules
        raise RuleError(f"the rules of {self.region} begin on {self.versions[0].effective_from}")


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
        raise RulePackInvalidError([PackError("*.toml", None, "", "no_packs")])
    packs = []
    errors: list[PackError] = []
    for file in files:
        pack, found = load_pack(file)
        errors += found
        if pack is not None:
            packs.append(pack)
    errors += _shared_prefixes(packs)
    if errors:
        raise RulePackInvalidError(errors)
    return RuleBook({pack.region: pack for pack in packs})


def load_pack(file: Path) -> tuple[RulePack | None, list[PackError]]:
    """One file: its pack, or everything that is wrong with it."""
    issuer, versions, errors = read_pack(file)
    if issuer is None or errors:
        return None, errors
    return RulePack(issuer, tuple(versions)), []


def _shared_prefixes(packs: Sequence[RulePack]) -> list[PackError]:
    """Two regions must not make the same card numbers."""
    owner: dict[str, str] = {}
    errors = []
    for pack in packs:
        for prefix in pack.number_prefixes:
            if owner.setdefault(prefix, pack.region) != pack.region:
                errors.append(PackError(f"{pack.region}.toml", None, "number_prefixes", "prefix_taken"))
    return errors
