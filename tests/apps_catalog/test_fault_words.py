"""Every fault the reader can raise has words for people."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from apps_catalog import fields, reader
from apps_catalog.fault_words import _KNOWN, words_of

HEAD = ("at least one entry", "no province", "there twice", "no area code", "no region of this catalog", "number 7")
"""Ends of what is said of `catalog.toml`, which no form writes; and a text whose limits stand apart."""


def told() -> set[str]:
    """Second argument of each `Fault(…)` and `_fault(…)`, a digit for what is filled in."""
    found = set()
    for module in (fields, reader):
        for node in ast.walk(ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))):
            is_fault = isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("Fault", "_fault")
            if is_fault and isinstance(node, ast.Call) and isinstance(node.args[1], ast.Constant | ast.JoinedStr):
                parts = node.args[1].values if isinstance(node.args[1], ast.JoinedStr) else [node.args[1]]
                found.add("".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in parts))
    return found


def test_every_fault_has_words() -> None:
    texts = told()
    assert len(texts) > 30
    texts -= {text for text in texts if text.endswith(HEAD)}
    assert [text for text in texts if not any(pattern.fullmatch(text) for pattern, _, _ in _KNOWN)] == []


@pytest.mark.parametrize(
    ("text", "zh"),
    [
        ("must be a whole number from 0 to 150", "要写0到150的整数"),
        ("must be a whole number from 1", "要写不小于1的整数"),
        ("must be one line of at most 400 characters", "只能写一行，最多400个字符"),
        ("anything else", "写法不对"),
    ],
)
def test_words(text: str, zh: str) -> None:
    assert words_of(text).zh == zh
