"""Lists in pages: an opaque cursor that names the last row shown, so that rows added meanwhile shift nothing."""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, Select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from issuance.input_rules import field_error
from issuance.problems import bad_input

MAX_LIMIT = 500
MAX_CURSOR = 512
Item = TypeVar("Item")
Row = TypeVar("Row")


def _with_example(schema: dict[str, Any], page: type[BaseModel]) -> None:
    """A page of the first example of its items."""
    (item,) = page.__pydantic_generic_metadata__["args"] or (None,)
    extra = getattr(item, "model_config", {}).get("json_schema_extra", {})
    schema["examples"] = [{"items": list(extra.get("examples", ()))[:1], "next_cursor": None}]


class Page(BaseModel, Generic[Item]):
    """`next_cursor` opens the page after this one, null on the last."""

    model_config = ConfigDict(frozen=True, json_schema_extra=_with_example)

    items: list[Item]
    next_cursor: str | None = Field(default=None, description="Send it as `cursor` for the page that follows")


@dataclass(frozen=True, slots=True)
class PageRequest:
    limit: int = 100
    cursor: str | None = None


def _page_request(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows of one page")] = 100,
    cursor: Annotated[
        str | None,
        Query(max_length=MAX_CURSOR, pattern=r"^[A-Za-z0-9_-]+$", description="`next_cursor` of the page before"),
    ] = None,
) -> PageRequest:
    return PageRequest(limit, cursor)


PageQuery = Annotated[PageRequest, Depends(_page_request)]


def encode_cursor(key: Sequence[Any]) -> str:
    """`key`: integers, text, dates and aware times, in the order of the list's sort columns."""
    values = [value.isoformat() if isinstance(value, date) else value for value in key]
    return urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str, types: Sequence[type]) -> tuple[Any, ...]:
    """The key behind a cursor. Raises ProblemError INPUT_INVALID for one that `encode_cursor` did not make."""
    try:
        values = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(values, list) or len(values) != len(types):
            raise ValueError("another number of columns")
        key = tuple(_value(value, kind) for value, kind in zip(values, types, strict=True))
    except (ValueError, RecursionError, binascii.Error) as error:  # ValidationError and JSON errors are ValueErrors
        raise bad_input(field_error("query.cursor", "cursor")) from error
    return key


def _value(value: Any, kind: type) -> Any:
    if kind is datetime:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None or moment.tzinfo is None:
            raise ValueError("a time has its zone")
        return moment
    try:
        found: Any = TypeAdapter(kind).validate_python(value, strict=kind is not date)
    except ValidationError as error:
        raise ValueError("another type") from error
    if isinstance(found, str) and "\x00" in found:
        raise ValueError("text holds no NUL")
    if isinstance(found, int) and abs(found) >= 2**63:
        raise ValueError("no number that a database keeps")
    return found


async def fetch_page(
    session: AsyncSession,
    query: Select[Row],
    columns: Sequence[InstrumentedAttribute[Any]],
    request: PageRequest,
    *,
    is_descending: bool = False,
) -> tuple[list[Row], str | None]:
    """Rows of one page and the next cursor. `columns` sort the list and together are unique; none of them is null."""
    order: list[ColumnElement[Any]] = [c.desc() if is_descending else c.asc() for c in columns]
    query = query.order_by(*order).limit(request.limit + 1)
    if request.cursor is not None:
        key = decode_cursor(request.cursor, [column.type.python_type for column in columns])
        place = tuple_(*columns)
        query = query.where(place < key if is_descending else place > key)
    rows = list(await session.scalars(query))
    if len(rows) <= request.limit:
        return rows, None
    rows = rows[: request.limit]
    return rows, encode_cursor([getattr(rows[-1], column.key) for column in columns])


async def page_of(
    session: AsyncSession,
    query: Select[Row],
    columns: Sequence[InstrumentedAttribute[Any]],
    request: PageRequest,
    view: Callable[[Row], Item],
    *,
    is_descending: bool = False,
) -> Page[Item]:
    rows, cursor = await fetch_page(session, query, columns, request, is_descending=is_descending)
    return Page(items=[view(row) for row in rows], next_cursor=cursor)
