"""Who may change which item, and who speaks for a province: by the region of the clerk's office."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from apps_catalog.areas import contains, is_province
from apps_catalog.catalog import Catalog
from apps_catalog.model import JOINT, Item
from issuance.clerks.sessions import SignedIn
from issuance.problems import ProblemError


@dataclass(frozen=True, slots=True)
class Authority:
    """An office of a province answers for its items and for what all share, one of a city for its city's own alone."""

    region: str

    @classmethod
    def of(cls, who: SignedIn) -> Authority:
        return cls(who.region)

    @property
    def province(self) -> str:
        return f"{self.region[:2]}0000"

    @property
    def is_whole(self) -> bool:
        """Whether the office is one of the whole province."""
        return is_province(self.region)

    def covers(self, item: Item) -> bool:
        if item.owner == JOINT:
            return self.is_whole
        return item.owner == self.province and all(contains(self.region, area) for area in item.areas)

    def owners(self) -> list[str]:
        """Owners whose items the clerk may add."""
        return [self.province, JOINT] if self.is_whole else [self.province]

    def demand(self, items: Iterable[Item], subject: str) -> None:
        """Raises ACT_FORBIDDEN for an item that another region answers for."""
        foreign = sorted({item.id for item in items if not self.covers(item)})
        if foreign:
            raise ProblemError("ACT_FORBIDDEN", f"other regions answer for {', '.join(foreign[:5])}", subject=subject)

    def demand_head(self, subject: str) -> None:
        """Raises ACT_FORBIDDEN where the clerk may not change what all item files share."""
        if not self.is_whole:
            raise ProblemError("ACT_FORBIDDEN", "catalog.toml is changed by an office of a province", subject=subject)

    def demand_province(self, catalog: Catalog, subject: str) -> str:
        """The province the clerk speaks for. Raises ACT_FORBIDDEN for an office below it, or outside the catalog."""
        if not self.is_whole or self.province not in {region.code for region in catalog.regions}:
            raise ProblemError("ACT_FORBIDDEN", "an office of one of the provinces speaks for it", subject=subject)
        return self.province
