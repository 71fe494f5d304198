"""File profiles: strict as data, total as parsers; whatever the bytes are, a line is taken or told what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib.identity import card_number, citizen_number
from issuance.input_rules import rules, shape_error
from issuance.production import page
from issuance.production.files import Cursor, FileStore
from issuance.production.models import FileRow
from issuance.production.profiles import MAX_LINE, Layout, ProfileError, load_profiles, luhn, real_date

PROFILES = load_profiles()
LAYOUTS = {
    f"{profile.id}-{name}": layout
    for profile in PROFILES.values()
    for name, layout in (("outgoing", profile.outgoing), ("incoming", profile.incoming))
    if layout is not None
}
SHIPPED = Path(page.__file__).parent / "formats"
GOOD = {
    "sequence": "7",
    "card_number": card_number("A0000001"),
    "person_number": citizen_number("99010019900101001"),
    "date8": "20260131",
    "bank_card": "6222020000000000000",
}


def values_for(layout: Layout) -> dict[str, str]:
    made = {}
    for column in layout.columns:
        by_type = {
            "text": "测" * (column.max_bytes // 2),
            "digits": "1" * column.min_length,
            "hex": "0F" * column.bytes,
            "code": column.codes[0][0] if column.codes else "",
        }
        made[column.key] = GOOD.get(column.type) or by_type[column.type]
    return made


def test_the_page_is_printed_from_the_profiles() -> None:
    shown = (Path(__file__).parents[2] / "docs" / "production-files.md").read_text(encoding="utf-8")
    assert shown == page.page()


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_written_is_read(name: str) -> None:
    layout = LAYOUTS[name]
    values = values_for(layout)
    line, errors = layout.encode(values)
    assert errors == []
    parsed = layout.parse(line.removesuffix(b"\r\n"))
    assert (parsed.values, parsed.errors, parsed.sequence) == (values, [], 7)
    assert layout.is_header(layout.header.removesuffix(b"\r\n"))


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_cut_is_refused(name: str) -> None:
    layout = LAYOUTS[name]
    line = layout.encode(values_for(layout))[0].removesuffix(b"\r\n")
    for length in range(line.rindex(layout.delimiter.encode())):
        assert layout.parse(line[:length]).errors
    assert layout.parse(line + layout.delimiter.encode()).errors
    assert layout.parse(line.ljust(MAX_LINE + 1, b"0")).errors


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_bad_value_names_its_column(name: str) -> None:
    layout = LAYOUTS[name]
    for column in layout.columns:
        too_long = "测" * (column.max_bytes // 2) + "ab"
        for bad in ("\x07", layout.delimiter, too_long if column.type == "text" else "?"):
            _, errors = layout.encode(values_for(layout) | {column.key: bad})
            assert [error.column for error in errors] == [column.title]
        if column.required:
            (error,) = layout.encode(values_for(layout) | {column.key: ""})[1]
            assert (error.column, error.rule) == (column.title, "file_required")


@settings(max_examples=100)
@given(name=st.sampled_from(sorted(LAYOUTS)), data=st.binary(max_size=300))
def test_any_bytes(name: str, data: bytes) -> None:
    check(LAYOUTS[name], data)


@settings(max_examples=100)
@given(
    name=st.sampled_from(sorted(LAYOUTS)),
    place=st.integers(min_value=0, max_value=400),
    piece=st.binary(max_size=6),
    cut=st.integers(min_value=0, max_value=6),
)
def test_almost_right_lines(name: str, place: int, piece: bytes, cut: int) -> None:
    layout = LAYOUTS[name]
    line = layout.encode(values_for(layout))[0].removesuffix(b"\r\n")
    check(layout, line[:place] + piece + line[place + cut :])


def check(layout: Layout, data: bytes) -> None:
    """A line that is taken is written back byte by byte; one that is not has words for every error."""
    parsed = layout.parse(data)
    if not parsed.errors:
        again, errors = layout.encode(parsed.values)
        assert (again, errors) == (data + b"\r\n", [])
    for error in parsed.errors:
        assert error.rule in rules()
        assert "…" not in shape_error(error.column, error.rule, error.limits).text_en


@pytest.mark.parametrize(
    ("text", "is_real"), [("20240229", True), ("20230229", False), ("2024022", False), ("２０２４０２２９", False)]
)
def test_dates(text: str, is_real: bool) -> None:
    assert real_date(text) is is_real


def test_luhn() -> None:
    assert luhn("79927398713")  # ISO/IEC 7812-1, the well-known example
    assert not luhn("79927398710")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('stage = "bank"', 'stage = "post"'),
        ('encoding = "gb18030"', 'encoding = "martian"'),
        ('delimiter = "|"', 'delimiter = "||"'),
        ('key = "result"', 'key = "outcome"'),
        ('type = "bank_card"', 'type = "gold"'),
        ("max_bytes = 50", "most = 50"),
    ],
)
def test_odd_profiles(tmp_path: Path, old: str, new: str) -> None:
    text = (SHIPPED / "bank-standard.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "bank-odd.toml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ProfileError, match="bank-odd"):
        load_profiles(tmp_path)


class _Parts(FileStore):
    """Parts from memory."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts
        self.longest = 0

    async def part(self, file_id: str, number: int) -> bytes:
        return self._parts[number]


@settings(max_examples=100)
@given(
    text=st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"n").replace(b"\r", b"r")), max_size=12),
    is_ended=st.booleans(),
    size=st.integers(min_value=1, max_value=9),
    count=st.integers(min_value=1, max_value=4),
)
async def test_lines_whatever_the_parts(text: list[bytes], is_ended: bool, size: int, count: int) -> None:
    data = b"\r\n".join(text) + (b"\r\n" if is_ended else b"")
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    file = FileRow(id="0", parts=len(parts))
    store, cursor = _Parts(parts), Cursor()
    found: list[bytes] = []
    while True:
        lines, cursor = await store.lines(file, cursor, count)
        assert [line.number for line in lines] == list(range(len(found) + 1, len(found) + 1 + len(lines)))
        found += [line.data for line in lines]
        if not lines:
            break
    expected = data.split(b"\r\n")
    assert found == (expected[:-1] if expected[-1] == b"" else expected)


async def test_an_endless_line_costs_no_memory() -> None:
    part = b"x" * 100_000
    file = FileRow(id="0", parts=51)
    lines, _ = await _Parts([part] * 50 + [b"\r\nnext\r\n"]).lines(file, Cursor(), 5)
    assert len(lines[0].data) <= 2 * MAX_LINE + 4
    assert LAYOUTS["bank-standard-incoming"].parse(lines[0].data).errors[0].rule == "file_line_too_long"
    assert lines[1].data == b"next"
