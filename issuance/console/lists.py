"""Lists in pages: how many rows, the address of the page that follows, tabs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from issuance.console.page import ROOT
from issuance.paging import PageRequest

ROWS: Final = 20


def rows_of(asked: PageRequest, count: int = ROWS) -> PageRequest:
    return PageRequest(count, asked.cursor)


def following(path: str, cursor: str | None, **kept: str | int | None) -> str:
    """Address of the next page with the same filters, empty on the last."""
    return address(path, **kept, cursor=cursor) if cursor else ""


def address(path: str, **query: str | int | None) -> str:
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{ROOT}{path}" + (f"?{urlencode(given)}" if given else "")


@dataclass(frozen=True, slots=True)
class Tab:
    text: str
    path: str
    is_current: bool


def tabs(path: str, name: str, current: str, choices: Iterable[tuple[str, str]], **kept: str | None) -> list[Tab]:
    """One a choice (code, word); the filter `name` has its code."""
    return [Tab(text, address(path, **kept, **{name: code}), code == current) for code, text in choices]
