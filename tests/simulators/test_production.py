"""Simulated partners: whatever they spoil they say, and the same seed spoils the same."""

from __future__ import annotations

import io

import pytest

from cardlib.spec import Generation
from simulators.ministry import RootKeys
from simulators.production import (
    ENCODING,
    Faults,
    PartnerFileError,
    bank,
    card_factory,
    certification_authority,
    initialization_centre,
)

TITLES = ("序号", "社保卡号", "社会保障号码", "姓名", "制卡日期", "有效期至", "银行卡号", "个人帐户")
KEY_TITLES = ("鉴别随机数", "鉴别原始数据", "卡复位码")


def sent(count: int) -> bytes:
    titles = [*TITLES, *KEY_TITLES]
    lines = [
        [
            str(n),
            "A00000011",
            "9" * 18,
            "测试",
            "20260105",
            "20360105",
            "1" * 16,
            "2" * 9,
            "11" * 8,
            "22" * 8,
            "00" * 13,
        ]
        for n in range(1, count + 1)
    ]
    return "".join("|".join(line) + "\r\n" for line in [titles, *lines]).encode(ENCODING)


@pytest.mark.parametrize("name", ["bank", "ca", "factory", "keys"])
def test_every_partner_tells_what_it_spoiled(name: str) -> None:
    partner = {
        "bank": bank(),
        "ca": certification_authority(),
        "factory": card_factory("110000"),
        "keys": initialization_centre("110000", Generation.V3, RootKeys.generate()),
    }[name]
    faults = Faults(bad=0.2, failed=0.2, missing=0.1, seed=5)
    target, again = io.BytesIO(), io.BytesIO()
    answer = partner.answer(io.BytesIO(sent(60)), target, faults)
    assert answer.read == 60 == answer.written + answer.missing
    assert answer.bad
    assert answer.failed
    assert answer.missing
    lines = target.getvalue().split(b"\r\n")
    assert len(lines) == answer.written + 2
    assert lines[0].decode(ENCODING).split(partner.delimiter) == list(partner.titles)
    if name != "keys":
        partner.answer(io.BytesIO(sent(60)), again, faults)
        assert again.getvalue() == target.getvalue()


def test_a_file_with_odd_lines_is_refused() -> None:
    with pytest.raises(PartnerFileError):
        bank().answer(io.BytesIO("序号|社保卡号\r\n1\r\n".encode(ENCODING)), io.BytesIO(), Faults())
