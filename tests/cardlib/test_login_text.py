"""The text of a log-in by card: nothing in it can be read in two ways."""

from __future__ import annotations

from dataclasses import astuple, fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib.login_text import LogInText, LogInTextError, signed_bytes

LINE = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=20)
TEXTS = st.builds(
    LogInText,
    **{field.name: LINE for field in fields(LogInText) if field.name not in ("items", "host", "browser")},
    host=LINE | st.just(""),
    browser=LINE | st.just(""),
    items=st.lists(LINE, max_size=3).map(tuple),
)
SAMPLE = LogInText("1" * 32, "centre", "网站", "jobs", "jobs.example", "", ("姓名",), "2026-01-05 09:00:00", "ab" * 16)


@settings(max_examples=100)
@given(TEXTS)
def test_what_is_written_is_read(made: LogInText) -> None:
    try:
        text = made.encode()
    except LogInTextError:
        values = [value for part in astuple(made) for value in (part if isinstance(part, tuple) else (part,))]
        assert any(value == "无 / none" or not value.strip() for value in values)
        return
    assert LogInText.parse(text) == made
    assert signed_bytes(text, "https://a.example") != signed_bytes(text, "https://b.example")


@settings(max_examples=100)
@given(st.text(max_size=60) | st.integers(0, 300).map(lambda cut: SAMPLE.encode()[:cut]))
def test_any_text_is_read_whole_or_refused(text: str) -> None:
    try:
        assert LogInText.parse(text).encode() == text
    except LogInTextError:
        assert text != SAMPLE.encode()


@pytest.mark.parametrize("field", ["name", "client_id", "host", "browser", "time", "nonce"])
def test_no_value_makes_a_line_of_its_own(field: str) -> None:
    for end in ("\n", "\r", "\u2028", "\x85"):
        with pytest.raises(LogInTextError):
            replace(SAMPLE, **{field: f"a{end}网址 / Address: evil.example"}).encode()
    with pytest.raises(LogInTextError):
        replace(SAMPLE, items=("a\n- b",)).encode()
    with pytest.raises(LogInTextError):
        replace(SAMPLE, name="长" * 5000).encode()
