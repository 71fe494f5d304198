"""Faults are told at the line and column where the field stands, with the remedy."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps_catalog import CatalogError, load
from apps_catalog.catalog import DATA
from apps_catalog.field_names import FIELD_HELP, HEAD_HELP
from apps_catalog.model import Item
from apps_catalog.positions import Positions
from tests.apps_catalog.conftest import ITEM


def keys(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every key of a document."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield (*path, key)
            yield from keys(entry, (*path, key))
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        for index, entry in enumerate(value):
            yield from keys(entry, (*path, index))


def check(text: str) -> int:
    positions, lines, count = Positions(text), text.split("\n"), 0
    for path in keys(tomllib.loads(text)):
        found = positions.find(path)
        assert found is not None, path
        rest = lines[found.line - 1][found.column - 1 :]
        assert str(path[-1]) in rest, (path, found)
        count += 1
    return count


def test_every_key_of_our_files_is_found() -> None:
    assert sum(check(file.read_text(encoding="utf-8")) for file in DATA.glob("*.toml")) > 2000


VALUES = st.sampled_from(
    [
        "1",
        "2026-01-02",
        '"x = 1 # [y]"',
        "'[[item]]'",
        '"""\nz = 3\n[[t0]] """',
        "'''\n{ ''''",
        '"\\"k9 = 1"',
        "[ 1, [2], ] # }",
        "[\n  { a1 = 1, b1.c1 = '}' },\n  { a1 = [ { d1 = 2 } ] },\n]",
        '{ e1 = { "f1" = 1 }, g1 = [1, 2] }',
        "{}",
        "1.5e3",
        "true",
    ]
)
LINES = st.lists(st.tuples(st.sampled_from(["key", "key", "dotted", "table", "list", "sub"]), VALUES), max_size=8)


@settings(max_examples=100)
@given(LINES)
def test_every_key_of_any_document_is_found(lines: list[tuple[str, str]]) -> None:
    written, lists = [], [""]
    for number, (kind, value) in enumerate(lines):
        if kind == "list":
            lists.append(f"list{number // 3}")
        forms = {
            "key": f"k{number} = {value}",
            "dotted": f'k{number} . "m{number}"={value}',
            "table": f"[ t{number} . u{number} ]",
            "list": f"[[{lists[-1]}]] # one more",
            "sub": f"[{lists[-1]}.s{number}]" if lists[-1] else "",
        }
        written.append(forms[kind])
    check("\n".join(written))


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "remedy"),
    [
        ('["contact", "qr"]', '["nfc"]', 10, 1, "bank_account"),
        ('en = "Borrowing"', 'en = "借书"', 4, 21, "English"),
        (', en = "Borrowing"', "", 4, 1, "English"),
        ("version = 1\n", "", 2, 1, "write 1"),
        ("version = 1\n", "version = 1\nrule = { age_from = 3, age_to = 2 }\n", 21, 24, "optional"),
        (
            "version = 1\n",
            'version = 1\nplaces = [\n  { area = "110000", name = { zh = "馆", en = "H" } },\n  { area = "3" },\n]\n',
            23,
            3,
            "tables such as",
        ),
        ('owner = "joint"\n', 'owner = "x"\n', 1, 1, "joint"),
        ("version = 1\n", "version = = 1\n", 20, 11, "TOML"),
        ("version = 1\n", 'version = "1\n', 20, 13, "TOML"),
    ],
)
def test_faults_name_line_column_and_remedy(
    write: Callable[..., Path], old: str, new: str, line: int, column: int, remedy: str
) -> None:
    assert old in ITEM
    with pytest.raises(CatalogError) as caught:
        load(write(items=ITEM.replace(old, new, 1)))
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (line, column)
    assert remedy in problem.remedy
    assert str(problem).startswith(f"items.toml:{line}:{column}")


def test_a_shared_field_is_told_where_it_is_shared(write: Callable[..., Path]) -> None:
    body = ITEM.replace("version = 1\n", "").replace("[[item]]", "[defaults]\nversion = 0\n[[item]]")
    with pytest.raises(CatalogError, match=r"^items\.toml:3:1, item joint-culture-loan, field version: must be"):
        load(write(items=body))


def test_the_second_entry_of_the_head_is_told(write: Callable[..., Path]) -> None:
    head = (DATA / "catalog.toml").read_text(encoding="utf-8").replace('code = "120000"', 'code = "110000"')
    line = head[: head.rindex('code = "110000"')].count("\n")
    with pytest.raises(CatalogError, match=rf"^catalog\.toml:{line}:1, field region: '110000' is there twice → each"):
        load(write(head=head, items=ITEM))


def test_every_field_has_help() -> None:
    assert set(FIELD_HELP) == set(Item.__dataclass_fields__) | {"defaults", "item"}
    assert set(HEAD_HELP) == {"version", "published", "notice", "domain", "region", "area", "source"}
