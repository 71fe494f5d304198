"""Commands whose module is imported when one of them is asked for, so that a service carries only what it needs."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command, or a group of them, is: a name in a module. `context` is for a command alone."""

    module: str
    name: str
    context: dict[str, Any] = field(default_factory=dict)

    def load(self, command: str) -> Any:
        found, holder = getattr(import_module(self.module), self.name), typer.Typer(rich_markup_mode=None)
        if isinstance(found, typer.Typer):
            holder.add_typer(found, name=command)
        else:
            holder.command(command, context_settings=self.context)(found)
        return typer.main.get_group(holder).commands[command]


class _Commands(UserDict[str, Any]):
    """All names are there at once; a command stays a `Place` until it is looked at."""

    def __getitem__(self, name: str) -> Any:
        found = self.data[name]
        if isinstance(found, Place):
            found = self.data[name] = found.load(name)
        return found


def lazy_group(places: Mapping[str, Place]) -> type[TyperGroup]:
    """For `typer.Typer(cls=...)`: its commands are these and no others."""

    class LazyGroup(TyperGroup):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.commands = _Commands(places)

    return LazyGroup
