"""The published schema is the one of the code, accepts what we ship and refuses what the reader refuses."""

from __future__ import annotations

import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from apps_catalog.catalog import DATA, HEAD_FILE
from apps_catalog.model import Item
from apps_catalog.schema import dumps, schema
from tests.apps_catalog.conftest import ITEM

PUBLISHED = Path(__file__).parents[2] / "docs" / "catalog-item.schema.json"


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=date.isoformat))


def test_it_is_published() -> None:
    """After a change: `python -m apps_catalog.schema > docs/catalog-item.schema.json`."""
    assert PUBLISHED.read_text(encoding="utf-8") == dumps()


def test_it_accepts_our_files() -> None:
    of_file = jsonschema_rs.validator_for(schema(), validate_formats=True)
    of_item = jsonschema_rs.validator_for(schema() | {"$ref": "#/$defs/item"} | NOT_A_FILE, validate_formats=True)
    for file in DATA.glob("*.toml"):
        if file.name != HEAD_FILE:
            document = plain(tomllib.loads(file.read_text(encoding="utf-8")))
            of_file.validate(document)
            for item in document["item"]:
                of_item.validate({**document.get("defaults", {}), **item})


NOT_A_FILE: dict[str, Any] = {"properties": {}, "required": [], "additionalProperties": True}


def test_it_knows_every_field() -> None:
    assert set(schema()["$defs"]["item"]["properties"]) == set(Item.__dataclass_fields__) - {"owner"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('en = "Borrowing"', 'en = ""'),
        ('en = "Borrowing"', 'en = "Borrowing", fr = "Emprunt"'),
        ("version = 1", "version = 0"),
        ("version = 1", "version = 1\ncolour = 3"),
        ("version = 1", "version = 1\nrule = { age_from = 151 }"),
        ("version = 1", 'version = 1\nrule = { categories = ["rich"] }'),
        ('"qr"]', '"nfc"]'),
        ('"qr"]', '"contact"]'),
        ('areas = ["110000", "130100"]', "areas = []"),
        ("2025-01-01", '"yesterday"'),
        ('owner = "joint"', 'owner = "everyone"'),
        ('id = "joint-culture-loan"', 'id = "loan"'),
    ],
)
def test_it_refuses(old: str, new: str) -> None:
    assert old in ITEM
    validator = jsonschema_rs.validator_for(schema(), validate_formats=True)
    assert validator.is_valid(plain(tomllib.loads(ITEM)))
    assert not validator.is_valid(plain(tomllib.loads(ITEM.replace(old, new, 1))))
