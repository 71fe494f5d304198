"""What can go wrong with catalog files and catalog questions; `failure` names a `FailureCode`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a catalog file. `item` and `field` are empty where the fault lies above them.

    `text` is the rule that was broken, `remedy` what to write instead. `line` and `column` count from 1, 0: the file
    as a whole.
    """

    file: str
    item: str
    field: str
    text: str
    line: int = 0
    column: int = 0
    remedy: str = ""

    def __str__(self) -> str:
        where = [f"{self.file}:{self.line}:{self.column}" if self.line else self.file]
        if self.item:
            where.append(f"item {self.item}")
        if self.field:
            where.append(f"field {self.field}")
        remedy = f" → {self.remedy}" if self.remedy else ""
        return f"{', '.join(where)}: {self.text}{remedy}"


class CatalogError(Exception):
    """The files do not make a catalog; every fault found is in `problems`, and nothing was loaded."""

    failure: ClassVar[str] = "CATALOG_INVALID"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class QueryError(ValueError):
    """A question names a domain, carrier, item or area code that cannot exist."""

    failure: ClassVar[str] = "INPUT_INVALID"


class RegionUnknownError(QueryError):
    """A well-formed area code outside the regions this catalog covers."""

    failure: ClassVar[str] = "REGION_UNKNOWN"
