"""Words for bytes: right ones for the vectors, some for anything, and never a secret."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apdu.sw import Ins
from cardlib.codec import CodecError
from cardlib.command_words import name_of
from cardlib.explain import KINDS, Explanation, Kind, explain
from tests.simulators.support import vectors

SECRET = "13579246"


def said(explanation: Explanation) -> str:
    return json.dumps(explanation.to_json(), ensure_ascii=False)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("00B207280B", "command", ["读记录", "READ RECORD", "EF05", "07"]),
        ("00 A4 04 00 06 D1 56 00 00 05 03", "command", ["选择文件", "社会保险信息区2"]),
        ("00B08800", "command", ["EF08", "READ BINARY"]),
        ("0082000A10" + "00" * 16, "command", ["外部认证", "RK_SSSE"]),
        ("B0280101130100000FA0000003E80000138899010000000116", "command", ["交易初始化", "医疗消费 / purchase"]),
        ("80F400001E" + "11" * 30, "command", ["激活COS"]),
        ("6A82", "sw", ["文件未找到", "FILE_NOT_FOUND", "remedy"]),
        ("63C2", "sw", ["还可尝试2次", "tries left"]),
        ("6F1C840F7378312E73682EC9E7BBE1B1A3D5CFA50988011E9F0C03860103", "fci", ["社会保障系统环境", "03 SM4"]),
        ("3B6D000000FE00000086FE990100000001", "atr", ["T=0", "86FE", "00000001"]),
        ("3B00", "atr", ["不是社保卡"]),
        ("0A01310B0101", "record", ["性别", "1 = 男 / male", "汉族"]),
        ("0504202501019000", "response", ["发卡日期", "20250101"]),
        ("00B207280B => 6C0B", "recording", ["READ RECORD", "6C0B"]),
        ("0082000A ?17 => 63C2", "recording", ["外部认证", "17 bytes hidden", "还可尝试2次"]),
        ("0084000004 => ~A1B2C3D4 9000", "recording", ["取随机数", "A1 B2 C3 D4"]),
        ("805C000204 => 000000C8 9000", "recording", ["交通卡查询余额", "TRANSIT GET BALANCE"]),
        ("FE00", "sw", ["FE00"]),
    ],
)
def test_what_bytes_are(text: str, kind: str, words: list[str]) -> None:
    explanation = explain(text)
    assert explanation.kind == kind
    for word in words:
        assert word in said(explanation)


def test_a_status_word_is_explained_for_its_command() -> None:
    assert "密码" in explain("6983", ins=0x20).title_zh
    assert "外部认证密钥" in explain("6983", ins=0x82).title_zh


def test_every_command_of_a_real_session_and_every_instruction_has_a_name() -> None:
    for step in vectors()["session_read_3_0"]:
        if step["c"] != "reset":
            assert "unknown" not in explain(step["c"], kind="command").title_en
    for ins in Ins:
        zh, en = name_of(0x00, ins)
        assert "未知" not in zh
        assert "unknown" not in en


@pytest.mark.parametrize("header", ["00200000", "805E0100", "84240001", "84D40005", "00820004", "80F40000", "80FA0000"])
def test_secret_bodies_are_never_shown(header: str) -> None:
    command = f"{header}{len(SECRET) // 2:02X}{SECRET}"
    assert SECRET not in said(explain(command, show_personal=True)).replace(" ", "")
    with pytest.raises(CodecError) as broken:
        explain(f"{command} => 9000")
    assert SECRET not in str(broken.value)


def test_secret_responses_are_never_shown() -> None:
    assert SECRET not in said(explain(f"{SECRET}9000", kind="response", ins=0x4E, show_personal=True)).replace(" ", "")


def test_the_holder_is_masked_unless_asked_for() -> None:
    number = b"990101199001010019".hex()
    name = "测试甲".encode("gbk").hex() + "00" * 24
    address = "测试路1号".encode("gbk").hex().ljust(160, "0")
    for text in (f"0812{number}", f"091E{name}", f"2150{address}", f"00DC08360A{'0812' + number}", f"0812{number}9000"):
        hidden = said(explain(text))
        assert not any(secret in hidden for secret in ("99010119900101", "测试甲", "测试路", number)), text
    assert "测试甲" in said(explain(f"091E{name}", show_personal=True))


def test_inner_items_are_told_one_by_one() -> None:
    degree = "4034" + "5703343033" + "5803070100" + "5928" + "测试大学".encode("gbk").hex().ljust(80, "0")
    words = said(explain(degree, path="DF01EF15"))
    assert "403" in words
    assert "测试大学" in words
    assert "degree" in said(explain("4034" + "FF" * 0x34))


@pytest.mark.parametrize("text", ["", "xyz", "0", "{}", '{"c": 1}', "00" * (1 << 17)])
def test_what_is_neither_hex_nor_a_recording_is_refused(text: str) -> None:
    with pytest.raises(CodecError):
        explain(text)


def test_an_unknown_file_is_refused() -> None:
    with pytest.raises(CodecError, match="DF09EF05"):
        explain("0A0131", path="DF09EF05")


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=80), st.sampled_from([*KINDS[:-1], None]), st.none() | st.integers(0, 255))
def test_any_bytes_get_words(raw: bytes, kind: Kind | None, ins: int | None) -> None:
    explanation = explain(raw.hex(), kind=kind, ins=ins)
    assert explanation.title_zh
    assert explanation.title_en


@settings(max_examples=100)
@given(st.text(max_size=80).map(lambda text: "{" + text))
def test_any_recording_line_gets_words_or_is_refused(text: str) -> None:
    try:
        explain(text)
    except CodecError:
        return
