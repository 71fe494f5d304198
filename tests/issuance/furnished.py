"""A centre that is furnished once in a process: every test begins with a copy of what was done.

Kept is the database's file and what the furnishing returned, nothing a process has in its memory: a test begins like
a restarted centre, at the moment the furnishing ended. On PostgreSQL each test furnishes its own.
"""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.engine import make_url

from cardlib.client_auth import ClientKey
from tests.issuance.conftest import Centre

Made = TypeVar("Made")


@dataclass(frozen=True)
class _Kept:
    centre: Centre
    made: Any
    file: bytes
    now: datetime
    client_keys: dict[str, ClientKey]


_kept: dict[tuple[str, int], _Kept] = {}


async def furnished(centre: Centre, name: str, make: Callable[[], Awaitable[Made]]) -> Made:
    """What `make` returned over a `centre` that no request has reached yet; `name` is that of the copy."""
    url = make_url(centre.url)
    if url.get_backend_name() != "sqlite":
        return await make()
    path, key = Path(url.database or ""), (name, id(centre.keys))
    if key not in _kept:
        made = await make()
        await centre.app.state.services.database.close()
        _kept[key] = _Kept(
            centre, _copy(made, centre, centre), _content(path), centre.clock(), dict(centre.client_keys)
        )
        centre.restart()
        return made
    again: Made = _again(_kept[key], centre, path)
    return again


def _again(kept: _Kept, centre: Centre, path: Path) -> Any:
    path.write_bytes(kept.file)
    centre.clock.now = kept.now
    centre.client_keys |= kept.client_keys
    return _copy(kept.made, kept.centre, centre)


def _copy(made: Any, centre: Centre, to: Centre) -> Any:
    """All that refers to `centre` refers to `to`."""
    return copy.deepcopy(made, {id(centre): to})


def _content(path: Path) -> bytes:
    connection = sqlite3.connect(path)
    try:
        return connection.serialize()
    finally:
        connection.close()
