"""Frames of serial devices: vectors, and every parser against cut, damaged and random bytes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apdu.errors import EncodingError
from apdu.serial import idcard, mt3, scanner
from apdu.serial.errors import FrameError, ScanError
from apdu.serial.frames import MAX_NOISE, FrameSource
from apdu.serial.idcard import IdCard, IdCardDataError, IdCardText, IdCardUnsupportedError
from apdu.serial.mt3 import Form, Reply, Slot
from apdu.serial.pinpad import Pin
from simulators.serial import Person

FORMS = pytest.mark.parametrize("form", list(Form))
BODIES = st.binary(min_size=1, max_size=300)
CUTS = st.lists(st.integers(1, 40), max_size=30)


def drain(decoder: FrameSource, data: bytes, cuts: list[int] | None = None) -> list[bytes]:
    found = []
    while data:
        size = cuts.pop() if cuts else len(data)
        decoder.feed(data[:size])
        data = data[size:]
        while (frame := decoder.next()) is not None:
            found.append(frame)
    return found


@pytest.mark.parametrize(("form", "body", "frame"), mt3.VECTORS)
def test_mt3_vectors(form: Form, body: bytes, frame: bytes) -> None:
    assert mt3.encode(body, form) == frame
    assert drain(mt3.FrameDecoder(form), frame) == [body]


def test_the_published_example_is_the_command_we_build() -> None:
    select = bytes.fromhex("00A404000F7378312E73682EC9E7BBE1B1A3D5CF")
    frame = mt3.encode(mt3.apdu(Slot.USER, select, Form.SPLIT), Form.SPLIT)
    # Spec digest, 8.1 (b): LEN 0017, command 3226, slot 00, the APDU, LRC E6.
    assert frame.startswith(bytes.fromhex("0230303137333232363030 30303A34".replace(" ", "")))
    assert frame.endswith(bytes.fromhex("3E3603"))
    assert Reply.from_body(bytes.fromhex("00006118"), Form.SPLIT) == Reply(0, bytes.fromhex("6118"))


def test_commands_of_both_forms() -> None:
    assert mt3.power_on(Slot.SAM1, Form.SPLIT).hex() == "3222000011"
    assert mt3.power_off(Slot.USER, Form.SPLIT).hex() == "322300"
    assert mt3.power_on(Slot.CONTACTLESS, Form.RAW).hex() == "c1300001"
    assert mt3.apdu(Slot.SAM2, b"\x00\x84\x00\x00\x08", Form.RAW).hex() == "c331000084000008"
    assert mt3.power_off(Slot.CONTACTLESS, Form.RAW).hex() == "c13300"
    assert Reply.from_body(bytes.fromhex("100700"), Form.RAW) == Reply(0x1007, b"")
    with pytest.raises(EncodingError):
        mt3.power_on(Slot.CONTACTLESS, Form.SPLIT)
    for length in (0, mt3.MAX_BODY + 1):
        with pytest.raises(EncodingError):
            mt3.encode(bytes(length), Form.RAW)


@FORMS
@given(bodies=st.lists(BODIES, max_size=4), cuts=CUTS)
@settings(max_examples=60)
def test_mt3_stream_is_its_bodies(form: Form, bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(mt3.encode(body, form) for body in bodies)
    assert drain(mt3.FrameDecoder(form), stream, cuts) == bodies


@FORMS
@given(body=BODIES, data=st.data())
@settings(max_examples=60)
def test_mt3_never_yields_a_damaged_body(form: Form, body: bytes, data: st.DataObject) -> None:
    frame = bytearray(mt3.encode(body, form))
    assert drain(mt3.FrameDecoder(form), bytes(frame[: data.draw(st.integers(0, len(frame) - 1))])) == []
    index, flip = data.draw(st.integers(0, len(frame) - 1)), data.draw(st.integers(1, 255))
    frame[index] ^= flip
    try:
        found = drain(mt3.FrameDecoder(form), bytes(frame))
    except FrameError:
        return
    assert body not in found


@FORMS
@given(noise=st.binary(max_size=400))
@settings(max_examples=100)
def test_mt3_random_bytes_and_recovery(form: Form, noise: bytes) -> None:
    decoder = mt3.FrameDecoder(form)
    try:
        drain(decoder, noise)
    except FrameError:
        assert drain(decoder, mt3.encode(b"\x00\x00\x00", form)) == [b"\x00\x00\x00"]


@FORMS
def test_mt3_limits(form: Form) -> None:
    with pytest.raises(FrameError, match="before a frame"):
        drain(mt3.FrameDecoder(form), bytes(MAX_NOISE + 1))
    long = (mt3.MAX_BODY + 1).to_bytes(2, "big")
    for length in (b"\0\0", long):
        with pytest.raises(FrameError, match="announces"):
            drain(mt3.FrameDecoder(form), b"\x02" + (mt3.split(length) if form is Form.SPLIT else length))
    with pytest.raises(FrameError):
        Reply.from_body(b"\x00", form)


def test_sdt_vectors_and_noise() -> None:
    for content, frame in idcard.VECTORS:
        assert idcard.encode(content) == frame
        assert drain(idcard.FrameDecoder(), b"\xaa\xaa\x96" + frame + frame) == [content, content]
    with pytest.raises(FrameError, match="before a frame"):
        drain(idcard.FrameDecoder(), bytes(MAX_NOISE + 10))
    for length in (b"\0\2", b"\xff\xff"):
        with pytest.raises(FrameError, match="announces"):
            drain(idcard.FrameDecoder(), idcard.HEADER + length)
    for content in (b"\x00\x90", b"\x00\x01\x90"):
        with pytest.raises(FrameError):
            idcard.parse_reply(content)


@given(contents=st.lists(st.binary(min_size=2, max_size=200), max_size=3), cuts=CUTS)
@settings(max_examples=60)
def test_sdt_stream_is_its_contents(contents: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(idcard.encode, contents))
    assert drain(idcard.FrameDecoder(), stream, cuts) == contents


@given(content=st.binary(min_size=2, max_size=100), data=st.data())
@settings(max_examples=60)
def test_sdt_never_yields_a_damaged_content(content: bytes, data: st.DataObject) -> None:
    frame = bytearray(idcard.encode(content))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = drain(idcard.FrameDecoder(), bytes(frame))
    except FrameError:
        return
    assert content not in found


def test_id_card_text() -> None:
    text = IdCardText.from_bytes(Person().text())
    assert (text.name, text.sex, text.nation, text.number) == ("测试甲", "1", "01", "990101199001010012")
    assert (text.birth_date.isoformat(), text.valid_from.year) == ("1990-01-01", 2020)
    assert (text.address, text.issuer) == ("测试省测试市测试路1号", "测试市公安局")
    assert "测试甲" not in repr(text)
    assert "1990" not in repr(text)
    assert IdCardText.from_bytes(Person(valid_to="长期").text()).valid_to is None
    assert IdCardText.from_bytes(Person(name="\ue863测").text()).name == "\ue863测"
    assert IdCardText.from_bytes(Person(kind="J", nation="").text()).kind.name == "HONG_KONG_MACAO_TAIWAN"
    with pytest.raises(IdCardUnsupportedError):
        IdCardText.from_bytes(Person(kind="I").text())


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "测\n甲"},
        {"sex": "男"},
        {"nation": "1"},
        {"birth": "19900230"},
        {"birth": "１９９００１０１"},
        {"number": "99010119900101001"},
        {"valid_to": "永远"},
        {"name": "\ud800"},
    ],
)
def test_id_card_text_that_is_none(change: dict[str, str]) -> None:
    person = Person(**{**change, "name": change.get("name", "测试甲").replace("\ud800", "测")})
    raw = person.text()
    if change.get("name") == "\ud800":
        raw = b"\x00\xd8" + raw[2:]
    with pytest.raises(IdCardDataError):
        IdCardText.from_bytes(raw)


@given(raw=st.binary(max_size=1400), keep=st.integers(0, 1400))
@settings(max_examples=100)
def test_id_card_from_anything(raw: bytes, keep: int) -> None:
    good = bytes.fromhex("01000400") + Person().text() + bytes(1024)
    assert IdCard.from_bytes(good).photo_wlt == bytes(1024)
    for data in (raw, good[: min(keep, len(good) - 1)], raw[:4] + good[4:]):
        if data != good:
            with pytest.raises(IdCardDataError):
                IdCard.from_bytes(data)
    for text in (raw[:256], raw[:100] + good[104:260]):
        with suppress(IdCardDataError):
            assert IdCardText.from_bytes(text).name


@given(scans=st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=30), max_size=4), cuts=CUTS)
@settings(max_examples=60)
def test_scans_in_lines_and_frames(scans: list[str], cuts: list[int]) -> None:
    for framing, start, end in (("lines", b"", b"\r\n"), ("stx-etx", b"\x02", b"\x03")):
        stream = b"".join(start + scan.encode() + end for scan in scans)
        splitter, found, left = scanner.ScanSplitter(scanner.Framing(framing)), [], list(cuts)
        while stream:
            size = left.pop() if left else len(stream)
            found += splitter.feed(stream[:size])
            stream = stream[size:]
        assert [scanner.decode(scan) for scan in found if isinstance(scan, bytes)] == scans
        assert not splitter.is_pending


@given(st.binary(max_size=300))
def test_scans_from_anything(data: bytes) -> None:
    for framing in scanner.Framing:
        for scan in scanner.ScanSplitter(framing, max_length=20).feed(data):
            if isinstance(scan, bytes):
                assert 0 < len(scan) <= 20
                with suppress(ScanError):
                    assert scanner.decode(scan).isprintable()


def test_an_overlong_scan_is_reported_once_and_the_next_is_whole() -> None:
    splitter = scanner.ScanSplitter(max_length=5)
    first, second = splitter.feed(b"x" * 100 + b"\rabc\n")
    assert isinstance(first, ScanError)
    assert second == b"abc"
    framed = scanner.ScanSplitter(scanner.Framing.STX_ETX)
    assert framed.feed(b"noise\x03\x02cut off\x02whole\x03") == [b"whole"]
    assert scanner.decode("测试".encode("gb18030")) == "测试"
    for bad in (b"\xff\xff", b"a\x1bb"):
        with pytest.raises(ScanError):
            scanner.decode(bad)


@given(st.binary(max_size=10))
def test_pin_blocks_from_anything(block: bytes) -> None:
    try:
        pin = Pin.from_block(block)
    except FrameError:
        return
    assert 4 <= len(pin) <= 12
    assert pin.digits.isdigit()


def test_pin_blocks() -> None:
    with Pin.from_block(bytes.fromhex("26123456FFFFFFFF")) as pin:
        assert pin.digits == "123456"
        assert "1" not in repr(pin)
    assert pin.digits == ""
    for bad in (
        "16123456FFFFFFFF",
        "23123FFFFFFFFFFF",
        "2D1234567890123F",
        "2612345AFFFFFFFF",
        "26123456FFFFFFF0",
        "26",
    ):
        with pytest.raises(FrameError) as raised:
            Pin.from_block(bytes.fromhex(bad))
        assert "12" not in str(raised.value)
