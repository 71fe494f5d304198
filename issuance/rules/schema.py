"""The JSON Schema of a pack file, as published in docs/rule-pack.schema.json."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from issuance.rules.pack import Institution, Rules


def pack_schema() -> dict[str, Any]:
    """The file as TOML tools see it: issuer on top, a whole first `[[version]]`, later ones that name what changes."""
    first = Rules.model_json_schema()
    tables = first.pop("$defs")
    later = deepcopy(first)
    later["required"] = ["effective_from"]
    later["title"] = "Change"
    for name in list(tables):
        tables[f"{name}Change"] = {key: value for key, value in tables[name].items() if key != "required"}
    for entry in later["properties"].values():
        if "$ref" in entry:
            entry["$ref"] += "Change"
    schema = Institution.model_json_schema()
    schema["properties"]["version"] = {
        "type": "array",
        "minItems": 1,
        "description": "规则，按生效日期从早到晚；后面各版只写改动 / rules, oldest first; later ones name what changes",
        "prefixItems": [{"$ref": "#/$defs/Rules"}],
        "items": {"$ref": "#/$defs/Change"},
    }
    schema["required"].append("version")
    schema["title"] = "OneCard rule pack"
    schema.pop("description", None)
    header = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return header | schema | {"$defs": tables | {"Rules": first, "Change": later}}
