"""JSON Schema of an item file, from the same constants the reader uses. `python -m apps_catalog.schema` prints it.

TOML days are strings of format `date` here. Rules between fields are not in it; the reader checks them.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from enum import StrEnum
from typing import Any, Final

from apps_catalog.areas import NATIONWIDE
from apps_catalog.field_names import FIELD_HELP
from apps_catalog.fields import MAX_LIST, MAX_TEXT
from apps_catalog.model import (
    JOINT,
    LOCAL,
    Carrier,
    Channel,
    Datum,
    Equipment,
    Function,
    Item,
    Level,
    Standing,
    Validation,
)
from apps_catalog.reader import GENERATIONS, ITEM_ID, MAX_AGE, MAX_ID, SLUG
from apps_catalog.rule import CardState, Category, Opened

_AREA: Final = r"[1-9]\d{5}"
_REQUIRED: Final = {
    field.name for field in fields(Item) if field.default is MISSING and field.default_factory is MISSING
}
_DAY: Final = {"type": "string", "format": "date"}
_TEXT: Final = {"$ref": "#/$defs/text"}
_AGE: Final = {"type": "integer", "minimum": 0, "maximum": MAX_AGE}


def schema() -> dict[str, Any]:
    """Of an item file; `$defs/item` is one item whole, its own fields and those of `[defaults]` together."""
    known = {key: value | {"description": FIELD_HELP[key]} for key, value in _fields().items()}
    required = [key for key in known if key in _REQUIRED]
    shared = {key: {"$ref": f"#/$defs/item/properties/{key}"} for key in known}
    owner = {"type": "string", "pattern": rf"^({JOINT}|{_AREA})$", "description": FIELD_HELP["owner"]}
    defaults = _table({key: value for key, value in shared.items() if key != "id"})
    items = {"type": "array", "items": _table(shared, ["id"]), "minItems": 1, "description": FIELD_HELP["item"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "OneCard catalog item file",
        **_table({"owner": owner, "defaults": defaults, "item": items}, ["owner", "item"]),
        "$defs": {"text": _text(), "item": _table(known, required)},
    }


def _fields() -> dict[str, dict[str, Any]]:
    return {
        "id": {"type": "string", "maxLength": MAX_ID, "pattern": f"^{ITEM_ID}$"},
        "name": _TEXT,
        "summary": _TEXT,
        "domain": {"type": "string", "pattern": "^[a-z]+$"},
        "level": _choice(Level),
        "areas": _list({"type": "string", "pattern": f"^{_AREA}$"}),
        "holders": _list({"type": "string", "pattern": f"^({_AREA}|{NATIONWIDE}|{LOCAL})$"}),
        "carriers": _list(_choice(Carrier)),
        "functions": _list(_choice(Function)),
        "channels": _list(_choice(Channel)),
        "validation": _choice(Validation),
        "department": _TEXT,
        "provider": _TEXT,
        "eligibility": _TEXT,
        "terms": _TEXT,
        "standing": _choice(Standing),
        "sources": _list({"type": "string", "pattern": f"^{SLUG}$"}),
        "version": {"type": "integer", "minimum": 1},
        "effective_from": _DAY,
        "effective_to": _DAY,
        "generations": _list({"enum": list(GENERATIONS)}),
        "accessibility": _TEXT,
        "rule": _rule(),
        "places": {"type": "array", "items": _place()},
        "guide": _texts(),
        "materials": _texts(),
        "equipment": _list(_choice(Equipment)),
        "returns": _table({"data": _list(_choice(Datum)), "basis": {"type": "string"}}, ["data", "basis"]),
        "change": _TEXT,
        "differs": _TEXT,
    }


def _rule() -> dict[str, Any]:
    return _table(
        {
            "age_from": _AGE,
            "age_to": _AGE,
            "card_states": _list(_choice(CardState)),
            "ecard_level": {"type": "integer", "minimum": 1, "maximum": 2},
            "categories": _list(_choice(Category)),
            "opened": _list(_choice(Opened)),
            "whole": {"type": "boolean"},
        }
    )


def _place() -> dict[str, Any]:
    area = {"type": "string", "pattern": f"^{_AREA}$"}
    return _table({"area": area, "name": _TEXT, "address": _TEXT, "closed": _DAY}, ["area", "name"])


def _text() -> dict[str, Any]:
    line = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT, "pattern": r"^\S(.*\S)?$"}
    return _table({"zh": line, "en": line}, ["zh", "en"])


def _texts() -> dict[str, Any]:
    return {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MAX_LIST}


def _choice(kind: type[StrEnum]) -> dict[str, Any]:
    return {"enum": [member.value for member in kind]}


def _list(entries: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": entries, "minItems": 1, "maxItems": MAX_LIST, "uniqueItems": True}


def _table(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    needed = {"required": required} if required else {}
    return {"type": "object", "properties": properties, **needed, "additionalProperties": False}


def dumps() -> str:
    return json.dumps(schema(), ensure_ascii=False, indent=2) + "\n"


if __name__ == "__main__":
    print(dumps(), end="")
