"""Cursors: what `encode_cursor` makes comes back, anything else is refused in words."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuance.paging import decode_cursor, encode_cursor
from issuance.problems import ProblemError

TYPES = (int, str, datetime, date)
KEYS = st.tuples(
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20),
    st.datetimes(timezones=st.just(UTC)),
    st.dates(),
)


@given(KEYS)
def test_round_trip(key: tuple[int, str, datetime, date]) -> None:
    assert decode_cursor(encode_cursor(key), TYPES) == key


@given(st.text(st.sampled_from("ABCabc012-_"), max_size=40))
def test_what_the_list_never_gave_is_refused(cursor: str) -> None:
    fields: list[str] = []
    try:
        assert encode_cursor(decode_cursor(cursor, TYPES))
    except ProblemError as error:
        fields = [field.location for field in error.fields]
    assert fields in ([], ["query.cursor"])


@pytest.mark.parametrize(
    "key",
    [
        (1,),
        (1, "a", "b", "c", "d"),
        ("1", "a", "2026-01-01T00:00:00+00:00", "2026-01-01"),
        (True, "a", "x", "y"),
        (1, "a\x00", "2026-01-01T00:00:00+00:00", "2026-01-01"),
        (1, "a", "2026-01-01T00:00:00", "2026-01-01"),
        (2**63, "a", "2026-01-01T00:00:00+00:00", "2026-01-01"),
        ({}, [], None, 1.5),
    ],
)
def test_another_shape_is_refused(key: tuple[object, ...]) -> None:
    with pytest.raises(ProblemError):
        decode_cursor(encode_cursor(key), TYPES)
