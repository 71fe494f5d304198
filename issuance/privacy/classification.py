"""The classification of every column (`classification.toml`), as data."""

from __future__ import annotations

import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Column, Table

from issuance.database import Base

CLASSES: Final = ("public", "internal", "staff", "pseudonym", "index", "secret", "sealed")
_FILE: Final = Path(__file__).with_name("classification.toml")


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """`context` is what `Sealer` bound the value to, columns of the row in braces."""

    table: Table
    column: Column[Any]
    context: str

    @property
    def name(self) -> str:
        return f"{self.table.name}.{self.column.name}"

    @property
    def key(self) -> list[Column[Any]]:
        return list(self.table.primary_key.columns)

    @property
    def parts(self) -> list[Column[Any]]:
        """Columns that the context is made of."""
        names = [name for _, name, _, _ in string.Formatter().parse(self.context) if name]
        return [self.table.columns[name] for name in names]

    def context_of(self, values: Mapping[str, Any]) -> str:
        return self.context.format(**values)


@cache
def classification() -> Mapping[str, Mapping[str, str]]:
    """Class of every column, by table and column."""
    found = {}
    for table, classes in tomllib.loads(_FILE.read_text(encoding="utf-8")).items():
        found[table] = MappingProxyType({column: name for name, columns in classes.items() for column in columns})
    return MappingProxyType(found)


@cache
def sealed_columns() -> tuple[SealedColumn, ...]:
    given = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return tuple(
        SealedColumn(Base.metadata.tables[table], Base.metadata.tables[table].columns[column], context)
        for table, classes in given.items()
        for column, context in classes.get("sealed", {}).items()
    )
