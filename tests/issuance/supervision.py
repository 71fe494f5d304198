"""A centre with something in every queue, and a counter of SQL statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from tests.issuance.conftest import Centre, atr, ok


@contextmanager
def statements(centre: Centre) -> Iterator[list[str]]:
    """What the database is sent in this block, transactions apart."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            seen.append(statement)

    engine = centre.app.state.services.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def stick(centre: Centre, serial: int) -> str:
    """An application whose card refused a command."""
    application_id: str = ok(await centre.apply(serial), 201)["id"]
    batch = ok(await centre.start(application_id, atr(serial)), 201)["batch"]
    ok(await centre.answer(batch["session_id"], batch["sequence"], ["6985"] * len(batch["commands"])))
    return application_id


async def get(centre: Centre, path: str, *, by: str = "operator", **query: Any) -> Any:
    return ok(await centre.as_(by).get(path, params=query))
