"""The parsers of outside data, each with valid samples and the errors it may refuse with."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import cycle
from typing import Any, cast

from pydantic import ValidationError

from apdu import command, simple_tlv, tlv
from apdu.atr import Atr
from apdu.channel import T0Channel, T1Channel
from apdu.errors import (
    AtrDecodingError,
    CardProtocolError,
    DecodingError,
    ReplayError,
    TlvDecodingError,
)
from apdu.response import ResponseApdu
from apdu.scripts.language import ScriptValueError
from apdu.scripts.parser import ScriptSyntaxError, parse
from apdu.scripts.recording import ReplayChannel, line_of
from apdu.serial import idcard, mt3, pinpad, scanner
from apdu.serial.errors import DeviceRefusedError, FrameError, PinEntryError, ScanError
from apdu.serial.frames import FrameSource
from apdu.serial.idcard import IdCard, IdCardDataError
from apdu.serial.mt3 import Form, Reply
from apdu.vpcd import GET_ATR, RemoteCard
from bench.fuzz import Target
from bench.fuzz_codes import code_targets
from cardlib import bank, driver_address, transit_records
from cardlib.codec import CodecError, StoredDataError, decode_cyclic, decode_value, join_name
from cardlib.driver_address import IdentificationFormatError
from cardlib.errors import CardDataError
from cardlib.explain import explain
from cardlib.pki_envelope import Envelope
from cardlib.spec import Generation, Structure, load
from cardlib.wire import BatchResponses, CommandBatch
from issuance.codes.schemas import CodeValidation
from simulators import vpcd as vpcd_card
from simulators.serial import Person

FCI = bytes.fromhex("6F1C840F7378312E73682EC9E7BBE1B1A3D5CFA50988011E9F0C03860103")
DIR = bytes.fromhex("61184F06D15600000500500EB9ABB9B2D3A6D3C3D0C5CFA2C7F8")
EF05 = bytes.fromhex(
    "0110990100D15600000500000001FFFFFFFF0201330304332E3030040C9156000002990100990100010504202501010604203501010709413030303030303131"
)
ATRS = tuple(
    map(
        bytes.fromhex,
        ("3B6D000000FE00000086FE990100000001", "3B80800101", "3B9F958131FE9F006646530523002571DF000000000002"),
    )
)
NONCE = bytes(range(8))
TAKEN_COMMANDS = tuple(
    map(
        bytes.fromhex,
        (
            "00A404000F7378312E73682EC9E7BBE1B1A3D5CF",
            "00B2010500",
            "0084000008",
            "00A40400",
            "00D60000000103AABBCC0000",
        ),
    )
)
ANSWERS = tuple(map(bytes.fromhex, ("9000", "61189000", "6C089000", "00000003619000", "63C3")))
_PIN_BODY = bytes(2) + NONCE + b"\x00" + bytes.fromhex("26123456FFFFFFFF")
_SHORT_PART = 7


def targets() -> tuple[Target, ...]:
    return (
        Target(
            "BER-TLV",
            "BER-TLV",
            (FCI, DIR, b"\0" + FCI, bytes.fromhex("9F0C8180") + bytes(128)),
            _ber,
            (TlvDecodingError,),
        ),
        Target("记录 TLV", "simple TLV", (EF05,), _simple, (TlvDecodingError,)),
        Target("复位应答", "ATR", ATRS, _atr, (AtrDecodingError,)),
        Target("数据项", "card items", (*_values(), EF05[2:]), _items(), (StoredDataError,)),
        Target("交通记录", "transit records", _transit_samples(), _transit, (CardDataError,)),
        Target("银行卡与信封", "bank card, envelope", _BANK_SAMPLES, _bank_and_envelope, (CardDataError,)),
        Target("命令", "command APDU", TAKEN_COMMANDS, _command, (DecodingError,)),
        Target("应答", "response APDU", ANSWERS, _responses, (DecodingError, CardProtocolError)),
        Target("脚本与录制", "scripts, recordings", _recordings(), _recording, (ScriptSyntaxError, ScriptValueError)),
        Target(
            "释义",
            "explain",
            (*(FCI.hex().encode(), EF05.hex().encode()), b"63C3", *_recordings()),
            _explain,
            (CodecError, DecodingError),
        ),
        Target("MT3 原始帧", "MT3 raw frames", _mt3_samples(Form.RAW), partial(_mt3, Form.RAW), (FrameError,)),
        Target("MT3 拆分帧", "MT3 split frames", _mt3_samples(Form.SPLIT), partial(_mt3, Form.SPLIT), (FrameError,)),
        Target("身份证帧", "ID-card frames", _sdt_samples(), _sdt, (FrameError,)),
        Target("身份证内容", "ID-card content", (_ID_CARD,), IdCard.from_bytes, (IdCardDataError,)),
        Target(
            "密码键盘",
            "PIN pad",
            (_PIN_BODY, b"\0\x31"),
            _pin_pad,
            (FrameError, PinEntryError, DeviceRefusedError),
        ),
        Target("扫码与电子卡码", "scans, e-card codes", _scan_samples(), _scan, (ScanError, ValidationError)),
        Target("驱动字符串", "driver strings", _driver_samples(), _driver, (CodecError, IdentificationFormatError)),
        Target("vpcd 读写器侧", "vpcd, reader side", _vpcd_samples(), _vpcd_reader, (ConnectionError,)),
        Target("vpcd 卡侧", "vpcd, card side", _vpcd_samples(), _vpcd_card, ()),
        Target("会话消息", "session messages", _messages(), _message, (ValidationError,)),
        *code_targets(),
    )


# -- cards ------------------------------------------------------------------------------------------------------------


def _ber(raw: bytes) -> None:
    objects = [item for depth, item in tlv.walk(raw) if depth == 0]
    assert tlv.parse(tlv.encode(objects)) == objects


def _simple(raw: bytes) -> None:
    assert simple_tlv.encode(simple_tlv.parse_records(raw)) == raw


def _atr(raw: bytes) -> None:
    """Also with the check byte that belongs to it, else a change is refused for that alone."""
    if raw[:1] in (b"\x3b", b"\x3f") and len(raw) > 2:
        check = 0
        for byte in raw[1:-1]:
            check ^= byte
        raw = raw[:-1] + bytes((check,))
    atr = Atr.from_bytes(raw)
    assert atr.to_bytes() == raw
    assert atr.rejection is None or atr.rejection
    assert set(atr.protocols) <= set(range(15))


def _values() -> tuple[bytes, ...]:
    return (
        "测试甲".encode("gbk"),
        bytes.fromhex("20250101"),
        b"2025",
        b"\x00" * 30,
        b"\xff" * 4,
        "㛃".encode("gb18030"),
    )


def _items() -> Callable[[bytes], object]:
    """Items of all generations take turns."""
    specs = [load(generation) for generation in Generation]
    files = [ef for spec in specs for df in spec.dfs for ef in df.efs]
    items = cycle({item.slug: item for ef in files for item in ef.items}.values())
    logs = cycle([ef for ef in files if ef.structure is Structure.CYCLIC])

    def feed(raw: bytes) -> None:
        decode_value(next(items), raw)
        decode_cyclic(next(logs), raw)
        join_name(raw[:30], raw[30:])

    return feed


def _transit_samples() -> tuple[bytes, ...]:
    public = bytes(8) + bytes.fromhex("0101" + "00" * 10 + "2025010120350101" + "0000")
    return (
        public,
        bytes(transit_records.MANAGEMENT_LENGTH),
        bytes(transit_records.LOG_LENGTH),
        bytes(transit_records.TRIP_LENGTH),
    )


def _transit(raw: bytes) -> None:
    """The kind whose length it has; all of them refuse any other."""
    kinds: dict[int, Callable[[bytes], Any]] = {
        transit_records.PUBLIC_LENGTH: transit_records.PurseIdentity.from_bytes,
        transit_records.LOG_LENGTH: transit_records.LogEntry.from_bytes,
        transit_records.TRIP_LENGTH: transit_records.Trip.from_bytes,
    }
    found = kinds.get(len(raw), transit_records.Management.from_bytes)(raw)
    if hasattr(found, "to_json"):
        json.dumps(found.to_json())


_BANK_SAMPLES = (
    bytes.fromhex("70155A0862284800000000155F24032512315F280201569000"),
    bytes.fromhex("800618000801010090009000"),
    bytes.fromhex("770A820200009404080101009000"),
    b"OCE1" + bytes(113 + 12 + 16),
)


def _bank_and_envelope(raw: bytes) -> None:
    if raw[:4] == b"OCE1":
        assert Envelope.from_bytes(raw).to_bytes() == raw
        return

    class Card:
        def transmit(self, command: bytes) -> bytes:
            return b"\x90\x00" if command[1] == 0xA4 else raw if raw[-2:] == b"\x90\x00" else raw + b"\x90\x00"

    bank.read_bank_card(Card())


# -- commands, answers, recordings ------------------------------------------------------------------------------------


def _command(raw: bytes) -> None:
    parsed, case = command.decode(raw)
    assert parsed.to_bytes(extended=case.is_extended) == raw


def _responses(raw: bytes) -> None:
    """A card that answers with pieces of the input, for ever; what follows 61 and 6C must end all the same."""
    assert ResponseApdu.from_bytes(raw).to_bytes() == raw
    for kind in (T0Channel, T1Channel):
        pieces = cycle([raw[at : at + _SHORT_PART] for at in range(0, len(raw), _SHORT_PART)])

        class Card:
            def transmit(self, command: bytes, pieces: Iterable[bytes] = pieces) -> bytes:
                return next(iter(pieces))

        for sent in TAKEN_COMMANDS[:3]:
            kind(Card()).transmit(sent)


def _recordings() -> tuple[bytes, ...]:
    verify = bytes.fromhex("0020000003123456")
    lines = (line_of(TAKEN_COMMANDS[0], ANSWERS[1]), line_of(verify, b"\x90\x00"), f"reset => {ATRS[0].hex()}")
    return tuple(line.encode() for line in (*lines, "\n".join(("raw", *lines)), _SCRIPT))


_SCRIPT = """select 7378312E7368 => .. 9000
let challenge = data[0:8]
0082000010 [$secret:pin] => ~0102 63Cx  # wrong
expect tlv(6F/A5/88) = 1E
"""


def _recording(raw: bytes) -> None:
    """As a script, and as a recording whose first command is sent to it."""
    text = raw.decode("utf-8", "surrogateescape")
    parse(text)
    with suppress(ReplayError):
        ReplayChannel(text).transmit(TAKEN_COMMANDS[0])


def _explain(raw: bytes) -> None:
    json.dumps(explain(raw.decode("utf-8", "replace")).to_json())


# -- serial devices ---------------------------------------------------------------------------------------------------


def _drain(decoder: FrameSource, raw: bytes) -> list[bytes]:
    """In two parts, as a line gives it. An error is raised when all was read: none may leave the decoder stuck."""
    found, trouble = [], None
    for part in (raw[: len(raw) // 2], raw[len(raw) // 2 :]):
        decoder.feed(part)
        try:
            while (frame := decoder.next()) is not None:
                found.append(frame)
        except FrameError as error:
            trouble = error
    if trouble is not None:
        raise trouble
    return found


def _mt3_samples(form: Form) -> tuple[bytes, ...]:
    frame = mt3.encode(bytes(3) + ATRS[0], form)
    return (*(raw for kind, _, raw in mt3.VECTORS if kind is form), frame, frame + frame)


def _mt3(form: Form, raw: bytes) -> None:
    """As a stream, and as a body that came whole."""
    for body in _drain(mt3.FrameDecoder(form), raw):
        assert mt3.encode(body, form) in raw
        Reply.from_body(body, form)
    if raw:
        assert _drain(mt3.FrameDecoder(form), mt3.encode(raw, form)) == [raw]
        Reply.from_body(raw, form)


_ID_CARD = bytes.fromhex("01000400") + Person().text() + bytes(1024)


def _sdt_samples() -> tuple[bytes, ...]:
    return (
        *(frame for _, frame in idcard.VECTORS),
        idcard.encode(b"\0\0\x90"),
        b"\xaa" + idcard.encode(b"\0\0\x9f" + bytes(9)),
    )


def _sdt(raw: bytes) -> None:
    for content in _drain(idcard.FrameDecoder(), raw):
        assert idcard.encode(content) in raw
        if content[0] == 0:
            idcard.parse_reply(content)
    if len(raw) > 1:
        assert _drain(idcard.FrameDecoder(), idcard.encode(raw)) == [raw]


_PAD = pinpad.PinPad("unused")


def _pin_pad(raw: bytes) -> None:
    with _PAD._parse(raw, NONCE) as pin:
        assert pin.digits.isdigit()


def _scan_samples() -> tuple[bytes, ...]:
    code = b"OC1." + b"3q2-7wAA" * 5
    return code + b"\r\n", b"\x02" + code + b"\x03", "测试".encode("gb18030") + b"\r", '{"name":"测"}\n'.encode()


def _scan(raw: bytes) -> None:
    """What a scanner sends, up to the request for the validation of a code."""
    for framing in scanner.Framing:
        for scan in scanner.ScanSplitter(framing).feed(raw):
            if isinstance(scan, ScanError):
                raise scan
            text = scanner.decode(scan)
            assert text.isprintable()
            request = CodeValidation.model_validate({"code": text, "scene": "identity"})
            assert CodeValidation.model_validate_json(request.model_dump_json()) == request


# -- programs and links -----------------------------------------------------------------------------------------------


def _driver_samples() -> tuple[bytes, ...]:
    return (
        b"SSSEEF05|05|06|07|$DF03EF06|4A:01|45|$DF04EF08:01|$",
        b"990100D15600000500000001FFFFFFFF|A00000011|",
        b"0.1|0.2|20250316101500|",
        b"20250316101500",
        "SSSEEF06|测试甲|1|$".encode(),
    )


_ADDRESSES = driver_address.parse_addresses("SSSEEF06|09|0A|$")
_STRINGS: tuple[Callable[[str], object], ...] = (
    lambda text: driver_address.parse_addresses(driver_address.format_addresses(driver_address.parse_addresses(text))),
    lambda text: driver_address.parse_values(text, _ADDRESSES),
    driver_address.parse_card_info,
    driver_address.parse_pay_info,
    driver_address.parse_time,
    lambda text: driver_address.split_fields(text, 3),
    lambda text: driver_address.hex_field(text, 8),
)


def _driver(raw: bytes) -> None:
    """Each function; refused when all refuse it."""
    text, refusal, taken = raw.decode("utf-8", "surrogateescape"), None, 0
    for taker in _STRINGS:
        try:
            taker(text)
            taken += 1
        except CodecError as error:
            refusal = error
    if not taken and refusal is not None:
        raise refusal


class _Line:
    """A socket whose other end has sent `raw` and hung up; it gives a few bytes at a time."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.sent = 0

    def recv(self, size: int) -> bytes:
        part, self.raw = self.raw[: min(size, _SHORT_PART)], self.raw[min(size, _SHORT_PART) :]
        return part

    def sendall(self, data: bytes) -> None:
        self.sent += len(data)

    def settimeout(self, timeout_s: float) -> None: ...
    def setsockopt(self, *option: int) -> None: ...
    def shutdown(self, how: int) -> None: ...
    def close(self) -> None: ...


def _vpcd_samples() -> tuple[bytes, ...]:
    messages = (GET_ATR, b"\x01", b"\x00", ATRS[0], TAKEN_COMMANDS[0], b"\x90\x00")
    framed = [len(message).to_bytes(2, "big") + message for message in messages]
    return b"".join((*framed[3:], framed[5])), b"".join(framed), framed[3] + framed[5]


def _vpcd_reader(raw: bytes) -> None:
    card = RemoteCard(cast(socket.socket, _Line(raw)))
    assert len(card.power_on()) <= 33
    for sent in TAKEN_COMMANDS[:2]:
        assert len(card.transmit(sent)) <= len(raw)
    card.close()


class _Zeros:
    def power_on(self) -> bytes:
        return ATRS[0]

    def power_off(self) -> None: ...

    def transmit(self, command: bytes) -> bytes:
        return b"\x90\x00"


def _vpcd_card(raw: bytes) -> None:
    """What a card answers to whatever a reader sends, until the link ends."""
    link, line = vpcd_card.VpcdLink(_Zeros(), 0), cast(socket.socket, _Line(raw))
    with suppress(ConnectionError):
        while True:
            link._answer(vpcd_card._receive(line))


def _messages() -> tuple[bytes, ...]:
    batch = {"session_id": "0" * 32, "sequence": 1, "commands": [{"apdu": "0084000008", "expect": ["9000"]}]}
    return (
        json.dumps(batch).encode(),
        b'{"sequence":1,"responses":["9000"]}',
        b'{"code":"OC1.x","scene":"identity"}',
    )


def _message(raw: bytes) -> None:
    """As each of the messages that come from the network; refused when none takes it."""
    refusal = None
    for kind in (CommandBatch, BatchResponses, CodeValidation):
        try:
            kind.model_validate_json(raw)
        except ValidationError as error:
            refusal = error
        else:
            return
    assert refusal is not None
    raise refusal
