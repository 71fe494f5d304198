"""Examples in the published description, as their messages have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

_OURS = ("issuance.", "cardlib.")
"""Other programs in this process have messages of the same names."""


def restore_nulls(schemas: dict[str, Any]) -> None:
    """Put whole examples back: the generator of descriptions drops every null, of required fields too."""
    for message in _below(BaseModel):
        schema = schemas.get(message.__name__, {})
        if message.__module__.startswith(_OURS) and "examples" in schema:
            schema["examples"] = message.model_json_schema()["examples"]


def _below(parent: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for child in parent.__subclasses__():
        yield child
        yield from _below(child)
