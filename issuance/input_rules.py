"""Why an input was refused: one rule per reason, its words in two languages, what to do (`input_rules.toml`).

The page for clerks is printed by `python -m issuance.input_rules`. Words may quote limits, never what somebody sent.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

_WORDS = Path(__file__).with_name("input_rules.toml")
_LANGUAGES = ("text_zh", "text_en", "remedy_zh", "remedy_en")
_LIMITS = frozenset({"pattern", "min_length", "max_length", "ge", "gt", "le", "lt", "expected"})
"""What a shape error may quote of its context: all of it stands in the description of the request."""


class FieldError(BaseModel):
    """One field that was refused: where, by which rule, and what to do. The value itself is never echoed."""

    location: str = Field(description="Where in the request, such as person.birth_date")
    reason: str = Field(description="The rule, see docs/input-rules.md")
    text_zh: str
    text_en: str
    remedy_zh: str
    remedy_en: str

    def __str__(self) -> str:
        return f"{self.location} {self.text_en}"


def field_error(location: str, reason: str, **limits: Any) -> FieldError:
    """A refusal by the rule `reason`; `limits` fill the places its words have."""
    words = rules()[reason]
    return FieldError(location=location, reason=reason, **{name: words[name].format(**limits) for name in _LANGUAGES})


def shape_error(location: str, kind: str, context: Mapping[str, Any]) -> FieldError:
    """A refusal by the shape itself: `kind` and `context` as pydantic gives them."""
    limits = {name: value for name, value in context.items() if name in _LIMITS}
    reason = kind if kind in rules() else "shape"
    words = rules()[reason]
    return FieldError(
        location=location, reason=reason, **{name: words[name].format_map(_Open(limits)) for name in _LANGUAGES}
    )


class _Open(dict[str, Any]):
    """A limit that the shape does not tell is left out of the words."""

    def __missing__(self, key: str) -> str:
        return "…"


@cache
def rules() -> dict[str, dict[str, str]]:
    loaded: dict[str, dict[str, str]] = tomllib.loads(_WORDS.read_text(encoding="utf-8"))
    return loaded


def page() -> str:
    """docs/input-rules.md."""
    lines = [
        "# Why an input is refused (输入检查规则)",
        "",
        "Printed by `python -m issuance.input_rules`. A refusal lists in `fields` every input it refuses, with the",
        "rule (`reason`), its words and what to do; it never repeats what was sent. `{…}` stands for a limit.",
        "",
        "| rule | 为什么 · why | 怎么办 · what to do |",
        "|---|---|---|",
    ]
    for name, words in rules().items():
        why, remedy = (
            f"{words[f'{part}_zh']} · {words[f'{part}_en']}".replace("|", "\\|") for part in ("text", "remedy")
        )
        lines.append(f"| `{name}` | {why} | {remedy} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
