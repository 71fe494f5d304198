"""The roles of the repository, from `roles.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

ROOT: Final = "root"
TARGETS: Final = "targets"
SNAPSHOT: Final = "snapshot"
TIMESTAMP: Final = "timestamp"
ONLINE: Final = (SNAPSHOT, TIMESTAMP)
FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
"""Last part of a path; the rest is the role's."""


@dataclass(frozen=True, slots=True)
class RoleRule:
    """`holders`: names of those who have a key; `paths` is empty for top-level roles."""

    name: str
    holders: tuple[str, ...]
    threshold: int
    lasts: timedelta
    paths: tuple[str, ...] = ()

    def path_of(self, file: str) -> str:
        """Where a file of this role stands in the repository."""
        return self.paths[0].removesuffix("*") + file


@dataclass(frozen=True, slots=True)
class Roles:
    top: Mapping[str, RoleRule]
    delegated: Mapping[str, RoleRule]

    @classmethod
    def load(cls, path: Path) -> Roles:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(
            {
                name: RoleRule(name, tuple(row["holders"]), row["threshold"], timedelta(days=row["days"]))
                for name, row in table["top"].items()
            },
            {
                name: RoleRule(name, (name,), 1, timedelta(days=row["days"]), tuple(row["paths"]))
                for name, row in table["delegated"].items()
            },
        )

    @property
    def catalog(self) -> tuple[str, ...]:
        """Roles whose files together are one catalog."""
        return tuple(rule.name for rule in self.delegated.values() if rule.paths[0].startswith("catalog/"))

    @property
    def holders(self) -> tuple[str, ...]:
        return tuple(holder for rule in (*self.top.values(), *self.delegated.values()) for holder in rule.holders)

    def rule(self, role: str) -> RoleRule:
        """Raises KeyError."""
        return self.top[role] if role in self.top else self.delegated[role]

    def role_of(self, holder: str) -> RoleRule:
        """The role whose key `holder` has. Raises KeyError."""
        for rule in (*self.top.values(), *self.delegated.values()):
            if holder in rule.holders:
                return rule
        raise KeyError(holder)


ROLES: Final = Roles.load(Path(__file__).with_name("roles.toml"))
