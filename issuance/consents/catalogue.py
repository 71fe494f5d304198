"""The items that may be told about a holder (`catalogue.toml`), as data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

_FILE: Final = Path(__file__).with_name("catalogue.toml")


@dataclass(frozen=True, slots=True)
class Item:
    """`source` is table.column, `field` a part of a sealed value, `by_code` the scenes whose codes open it."""

    name: str
    zh: str
    en: str
    source: str
    field: str
    form: str
    by_code: tuple[str, ...]
    ground: str

    @property
    def is_masked(self) -> bool:
        return self.form == "masked"


def _read() -> Mapping[str, Item]:
    given = tomllib.loads(_FILE.read_text(encoding="utf-8"))["item"]
    items = [Item(**(entry | {"by_code": tuple(entry["by_code"])})) for entry in given]
    return MappingProxyType({item.name: item for item in items})


CATALOGUE: Final = _read()
ITEMS_OF_SCENE: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        scene: frozenset(item.name for item in CATALOGUE.values() if scene in item.by_code)
        for scene in ("identity", "payment", "login")
    }
)
"""What a code that the holder shows may open at most."""
SHOWN_IN_SCENE: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "identity": frozenset({"name_masked", "region", "card_state"}),
        "payment": frozenset({"region", "card_state"}),
        "login": frozenset({"name_masked"}),
    }
)
"""What it shows to whoever may see no more."""
