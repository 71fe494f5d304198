"""What a page's form sent: names with dots are places in a request, an empty field is one that was left out."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from issuance.input_rules import shape_error
from issuance.problems import bad_input

Model = TypeVar("Model", bound=BaseModel)
KEY_FIELD = "key"
_AS_TYPED: Final = frozenset({"password", "old", "again"})
"""Secrets a clerk chose: a blank is a character of them, here as in JSON."""


@dataclass(frozen=True, slots=True)
class Form:
    """`values` as typed, without blanks around all but passwords; `key` makes sending it twice the same as once.
    `file_names` are what the browser called the files."""

    values: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    file_names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    async def of(cls, request: Request) -> Form:
        sent = await request.form()
        values, files, names = {}, {}, {}
        for name, value in sent.items():
            if isinstance(value, UploadFile):
                files[name], names[name] = await value.read(), value.filename or ""
            else:
                values[name] = value if name in _AS_TYPED else value.strip()
        await request.close()
        return cls(values, files, names)

    def get(self, name: str, default: str = "") -> str:
        return self.values.get(name, default)

    def __contains__(self, name: str) -> bool:
        return bool(self.values.get(name))

    @property
    def key(self) -> str:
        """What a browser without the page's hidden field sends is a request of its own."""
        key = self.get(KEY_FIELD)
        return key if len(key) == 32 and key.isalnum() and key.isascii() else new_key()

    def nested(self, *names: str) -> dict[str, Any]:
        """The filled fields named, or below a name that is given, as a request has them."""
        made: dict[str, Any] = {}
        for name, value in self.values.items():
            if value and any(name == wanted or name.startswith(f"{wanted}.") for wanted in names):
                *path, last = name.split(".")
                place: Any = made
                for part in path:
                    place = place.setdefault(part, {}) if isinstance(place, dict) else None
                if isinstance(place, dict):  # else the field above it was sent, too
                    place[last] = value
        return made


def new_key() -> str:
    return uuid.uuid4().hex


def parse(model: type[Model], data: Mapping[str, Any]) -> Model:
    """Raises INPUT_INVALID with every field whose form is wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        wrong = [
            shape_error(".".join(("body", *map(str, e["loc"]))), str(e["type"]), e.get("ctx") or {})
            for e in error.errors()
        ]
        raise bad_input(*wrong) from None
