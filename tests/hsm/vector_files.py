"""Readers for the vector files: ours in `tests/vectors`, third-party ones where the reference material lies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / "tests" / "vectors"
THIRD_PARTY = ROOT.parent / "shared" / "spec" / "vectors" / "third_party"


def own(name: str) -> Any:
    return json.loads((OWN / name).read_text("utf-8"))


def third_party(name: str) -> str:
    path = THIRD_PARTY / name
    if not path.exists():
        pytest.skip("third-party vectors (../shared/spec/vectors/third_party) are not on this machine")
    return path.read_text("utf-8")


def fields(name: str) -> Iterator[dict[str, str]]:
    """Cases of a `Key = value` file, one per paragraph; keys in lower case, comments and [sections] left out."""
    case: dict[str, str] = {}
    for line in [*third_party(name).splitlines(), ""]:
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            case[key.strip().lower()] = value.strip()
        elif not line.strip() and case:
            yield case
            case = {}


def wycheproof(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for group in json.loads(third_party(name))["testGroups"]:
        for case in group["tests"]:
            yield group, case


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
