"""The strings of the driver interface: documented examples, limits, and any text at all."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib.driver_address import (
    MAX_FEN,
    AddressError,
    FileAddress,
    IdentificationFormatError,
    ItemAddress,
    format_addresses,
    format_values,
    parse_addresses,
    parse_card_info,
    parse_pay_info,
    parse_values,
)

EXAMPLES = [
    "SSSEEF05|05|06|07|$SSSEEF06|08|09|4E|0A|0B|0D|$SSSEEF08|$DF01EF06|23|28|$DF01EF0A|37|$",
    "DF03EF06|4A:01|45|46|$",
    "DF04EF08:01|$",
    "DF04EF08|$",
    "MFEF05|07|$",
    "3F00EF06|08|$",
]


@pytest.mark.parametrize("text", EXAMPLES)
def test_documented_examples_come_back(text: str) -> None:
    assert format_addresses(parse_addresses(text)) == text


def test_older_prefixes_mean_the_environment_and_short_forms_are_read() -> None:
    assert [parse_addresses(f"{prefix}EF05|07|$")[0].path for prefix in ("SSSE", "MF", "3F00")] == ["SSSEEF05"] * 3
    assert parse_addresses("DF04EF15:01$") == (FileAddress("DF04", "EF15", (), 1),)
    assert parse_addresses("DF03EF06|40:2|40:02|$")[0].items == (ItemAddress(0x40, 2),) * 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "$",
        "SSSEEF05|07|",
        "SSSEEF05|07$",
        "SSSEEF05|7|$",
        "SSSEEF05|07:0|$",
        "SSSEEF05|07:255|$",
        "SSSEEF05|0g|$",
        "SSSEEF05||$",
        "EF05|07|$",
        "DF4EF05|07|$",
        "ssseef05|07|$",
        "DF04EF08:00|$",
        "DF04EF08:01|07|$",
        "SSSEEF05|07|$x",
        "SSSEEF05|٠٧|$",
        "SSSEEF05|07|$" * 65,
        "SSSEEF05|" + "07|" * 129 + "$",
        "SSSEEF05|" + "0" * 20480 + "|$",
    ],
)
def test_malformed_addresses_are_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_addresses(text)


NUMBERS = st.none() | st.integers(1, 254)
ADDRESSES = st.builds(
    FileAddress,
    st.sampled_from(["SSSE", "MF", "3F00", "DF01", "DF0A"]),
    st.integers(0, 255).map(lambda n: f"EF{n:02X}"),
    st.lists(st.builds(ItemAddress, st.integers(0, 255), NUMBERS), min_size=1, max_size=5).map(tuple),
) | st.builds(FileAddress, st.just("DF04"), st.just("EF08"), st.just(()), NUMBERS)


@settings(max_examples=100)
@given(st.lists(ADDRESSES, min_size=1, max_size=6).map(tuple))
def test_addresses_come_back(addresses: tuple[FileAddress, ...]) -> None:
    text = format_addresses(addresses)
    assert parse_addresses(text) == addresses
    for cut in range(1, 3):
        with pytest.raises(AddressError):
            parse_addresses(text[:-cut])


@settings(max_examples=100)
@given(ADDRESSES, st.data())
def test_values_come_back_whatever_they_hold(address: FileAddress, data: st.DataObject) -> None:
    size = max(1, len(address.items))
    values = data.draw(st.lists(st.text(max_size=20), min_size=size, max_size=size))
    found = parse_values(format_values([(address, values)]), (address,))
    assert found == [[value.replace("|", "｜").replace("$", "＄") for value in values]]


@settings(max_examples=100)
@given(st.text(st.sampled_from("SEFDM0318A:|$. 甲"), max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for parse in (parse_addresses, parse_card_info, parse_pay_info):
        with suppress(AddressError, IdentificationFormatError):
            parse(text)


def test_written_values_must_mirror_the_addresses() -> None:
    addresses = parse_addresses("DF01EF0A|37|$")
    assert parse_values("DF01EF0A|CHN|$", addresses) == [["CHN"]]
    for wrong in ("DF01EF0B|CHN|$", "DF01EF0A|CHN|CHN|$", "DF01EF0A|$", "DF01EF0A|CHN|$DF01EF0A|CHN|$"):
        with pytest.raises(AddressError):
            parse_values(wrong, addresses)


def test_payment() -> None:
    pay = parse_pay_info("0.1|0.25|20250316101500|")
    assert pay.amounts == (0, 10, 25)
    assert pay.time == datetime(2025, 3, 16, 10, 15)
    assert parse_pay_info("42949672.95|0|20250316101500|").self_paid == MAX_FEN
    for wrong in ("42949672.96|0|", "-1|0|", "1.234|0|", "1.|0|", "|0|", "1e2|0|", "٣|0|"):
        with pytest.raises(AddressError):
            parse_pay_info(wrong + "20250316101500|")
    for wrong in ("1|1|20250230101500|", "1|1|2025031610150|", "1|1|20250316101500"):
        with pytest.raises(AddressError):
            parse_pay_info(wrong)


def test_card_info() -> None:
    code = "990100d15600000500000001ffffffff"
    assert parse_card_info(f"{code}|A00000011|") == (code.upper(), "A00000011")
    with pytest.raises(IdentificationFormatError):
        parse_card_info(f"{code[1:]}|A00000011|")
    for wrong in (f"{code}|A00000011", f"{code}||", code, f"{code}|A|B|"):
        with pytest.raises(AddressError):
            parse_card_info(wrong)
