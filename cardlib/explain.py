"""Words for bytes: a command, a response, a status word, an FCI, an ATR, records of a file, a line of a recording.

Secret bodies are never shown; what identifies the holder is masked unless `show_personal`. Nothing here raises for any
bytes: what cannot be read is said to be so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from apdu.atr import Atr
from apdu.channel import SECRET_RESPONSES, has_secret_body
from apdu.command import CommandApdu
from apdu.errors import DecodingError
from apdu.response import ResponseApdu
from apdu.scripts.language import Command
from apdu.scripts.parser import parse as parse_script
from apdu.simple_tlv import parse_records
from apdu.sw import Ins, command_name, meaning
from apdu.tlv import Tlv, parse
from cardlib.codec import CodecError, decode_value
from cardlib.command_words import describe_parameters, name_of
from cardlib.failures import FailureCode, describe
from cardlib.identity import UnknownResetError, mask_card_number, mask_id, mask_name, reset_information
from cardlib.spec import CardSpec, EfSpec, Generation, ItemSpec, load
from cardlib.texts import text_of

Kind = Literal["command", "response", "sw", "fci", "atr", "record", "recording"]
KINDS: tuple[Kind, ...] = ("command", "response", "sw", "fci", "atr", "record", "recording")
MAX_INPUT = 1 << 17

_MASKS: dict[str, Callable[[str], str]] = {
    "name": mask_name,
    "name_extension": mask_name,
    "social_security_number": mask_id,
    "card_number": mask_card_number,
}
_HIDDEN_ITEMS = ("address", "telephone", "contact", "birth_date", "account_number", "photo", "fingerprint")
_FCI_TAGS = {
    0x6F: ("文件控制信息", "file control information"),
    0x84: ("DF名称", "name"),
    0xA5: ("专有信息", "proprietary information"),
    0x88: ("目录文件短标识", "short identifier of the directory"),
    0x9F0C: ("发卡方自定义数据", "issuer's data"),
    0x86: ("算法标识", "algorithm identifier"),
    0x50: ("应用标签", "label"),
    0x4F: ("应用标识", "application identifier"),
    0x61: ("应用模板", "application template"),
}
_FILE_COMMANDS = frozenset(
    {
        *(Ins.READ_RECORD, Ins.READ_BINARY, Ins.UPDATE_RECORD, Ins.UPDATE_BINARY),
        *(Ins.GET_RESPONSE, Ins.GET_BALANCE, Ins.TRANSIT_GET_BALANCE),
    }
)
_ALGORITHMS = {0x00: "3DES", 0x01: "3DES", 0x02: "SSF33", 0x03: "SM4"}


@dataclass(frozen=True, slots=True)
class Line:
    """One fact. `value` is the same in both languages."""

    label_zh: str
    label_en: str
    value: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What some bytes are, in a title and lines of facts."""

    kind: Kind
    title_zh: str
    title_en: str
    lines: tuple[Line, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def explain(
    text: str,
    *,
    kind: Kind | None = None,
    ins: int | None = None,
    path: str | None = None,
    generation: Generation = Generation.V3,
    show_personal: bool = False,
) -> Explanation:
    """The words for `text`: hex digits with or without spaces, or one line of a recording.

    Without `kind` the most likely one is taken. `ins` is the instruction a response or status word answers; `path`
    (`SSSEEF05`) the file that records come from. Raises CodecError when `text` is neither hex nor a recording line.
    """
    if len(text) > MAX_INPUT:
        raise CodecError(f"more than {MAX_INPUT} characters")
    words = _Words(load(generation), path, show_personal)
    text = text.strip()
    if kind == "recording" or (kind is None and "=>" in text):
        return words.recording(text)
    try:
        raw = bytes.fromhex(text.replace(":", " "))
    except ValueError as error:
        raise CodecError("hex digits were expected") from error
    if not raw:
        raise CodecError("nothing to explain")
    kind = kind or _guess(raw, words)
    act: dict[str, Callable[[], Explanation]] = {
        "command": lambda: words.command(raw),
        "response": lambda: words.response(raw, ins),
        "sw": lambda: words.status(raw, ins),
        "fci": lambda: words.fci(raw),
        "atr": lambda: words.atr(raw),
        "record": lambda: words.records(raw),
    }
    return act[kind]()


def _guess(raw: bytes, words: _Words) -> Kind:
    """An ATR and an FCI show by their first byte, a status word by its length, records by tags that fill the bytes."""
    if raw[0] in (0x3B, 0x3F) and _parses(Atr.from_bytes, raw):
        return "atr"
    if len(raw) == 2:
        return "sw"
    if raw[0] == 0x6F and _parses(parse, raw):
        return "fci"
    if _is_command(raw):
        return "command"
    # 9000 behind records would itself pass as a record of tag 90 without a value; no item of a card is empty.
    if raw[-2:] == b"\x90\x00":
        return "response"
    if _parses(parse_records, raw) and words.knows(raw):
        return "record"
    if len(raw) > 2 and raw[-2] in (0x90, 0x61, 0x62, 0x63):
        return "response"
    return "command"


def _is_command(raw: bytes) -> bool:
    try:
        command = CommandApdu.from_bytes(raw)
        Ins(command.ins)
    except (DecodingError, ValueError):
        return False
    return command.cla in (0x00, 0x04, 0x80, 0x84, 0xB0, 0xBF)


def _parses(parser: Callable[[bytes], object], raw: bytes) -> bool:
    try:
        parser(raw)
    except DecodingError:
        return False
    return True


class _Words:
    """One explanation in the making."""

    def __init__(self, spec: CardSpec, path: str | None, show_personal: bool) -> None:
        self._spec = spec
        self._files = [ef for df in spec.dfs for ef in df.efs]
        if path is not None:
            try:
                self._files = [spec.ef(path.upper())]
            except KeyError:
                raise CodecError(f"no file {path}; SSSEEF05 or DF04EF05 is the form") from None
        self._show_personal = show_personal

    def command(self, raw: bytes) -> Explanation:
        try:
            command = CommandApdu.from_bytes(raw)
        except DecodingError as error:
            return Explanation("command", "不是完整的指令", "not a whole command", (_wrong(error),))
        zh, en = name_of(command.cla, command.ins)
        lines = [_plain("类别/指令", "class/instruction", f"{command.cla:02X} {command.ins:02X}")]
        lines += [Line(*words) for words in describe_parameters(command, self._spec)]
        if command.data:
            lines += self._body(command, is_secret=has_secret_body(raw))
        if command.le is not None:
            lines.append(_plain("期望长度", "bytes wanted", str(command.le)))
        return Explanation("command", zh, en, tuple(lines))

    def response(self, raw: bytes, ins: int | None) -> Explanation:
        try:
            response = ResponseApdu.from_bytes(raw)
        except DecodingError as error:
            return Explanation("response", "不是完整的应答", "not a whole response", (_wrong(error),))
        status = self._status(response.sw, ins)
        inner = self._inner(response.data, ins)
        said = meaning(response.sw, ins)
        return Explanation("response", said.text_zh, said.text_en, (*status, *inner))

    def status(self, raw: bytes, ins: int | None) -> Explanation:
        sw = int.from_bytes(raw[-2:], "big")
        said = meaning(sw, ins)
        return Explanation("sw", said.text_zh, said.text_en, tuple(self._status(sw, ins)))

    def _status(self, sw: int, ins: int | None) -> list[Line]:
        said = meaning(sw, ins)
        lines = [_plain("状态字", "status word", f"{sw:04X}")]
        if ins is not None:
            lines.append(_plain("指令", "instruction", command_name(ins)))
        if said.attempts_remaining is not None:
            lines.append(_plain("还可尝试", "tries left", str(said.attempts_remaining)))
        if said.failure is not None:
            failure = describe(FailureCode(said.failure))
            lines.append(_plain("失败代码", "failure", said.failure))
            lines.append(_plain("原因", "cause", f"{failure.cause_zh} / {failure.cause_en}"))
            lines.append(_plain("办法", "remedy", f"{failure.remedy_zh} / {failure.remedy_en}"))
        return lines

    def fci(self, raw: bytes) -> Explanation:
        body = raw[:-2] if raw[-2:] == b"\x90\x00" else raw
        try:
            lines = tuple(self._objects(parse(body)))
        except DecodingError as error:
            return Explanation("fci", "文件控制信息不完整", "malformed FCI", (_wrong(error),))
        return Explanation("fci", "文件控制信息", "file control information (FCI)", lines)

    def _objects(self, objects: list[Tlv], depth: int = 0) -> list[Line]:
        lines: list[Line] = []
        for each in objects:
            zh, en = _FCI_TAGS.get(each.tag, ("数据对象", "data object"))
            has_children = (each.is_constructed or each.tag == 0x9F0C) and _parses(parse, each.value)
            value = "" if has_children else self._object_value(each)
            indent = "  " * depth
            lines.append(Line(f"{indent}{each.tag:02X} {zh}", en, value))
            if has_children:
                lines += self._objects(each.children, depth + 1)
        return lines

    def _object_value(self, each: Tlv) -> str:
        value = each.value.hex().upper()
        if each.tag == 0x86 and len(each.value) == 1:
            return f"{value} {_ALGORITHMS.get(each.value[0], 'unknown')}"
        df = next((df for df in self._spec.dfs if df.aid == each.value), None)
        if df is not None:
            return f"{value} {df.label} / {df.name_en}"
        return f"{value} {_characters(each.value)}".rstrip() if each.tag in (0x84, 0x50) else value

    def atr(self, raw: bytes) -> Explanation:
        try:
            atr = Atr.from_bytes(raw)
        except DecodingError as error:
            return Explanation("atr", "复位应答格式错误", "malformed ATR", (_wrong(error),))
        lines = [_plain("传输协议", "protocols", ", ".join(f"T={number}" for number in atr.protocols))]
        for level, group in enumerate(atr.interface, start=1):
            shown = " ".join(f"T{n}{level}={b:02X}" for n, b in zip("ABCD", group, strict=True) if b is not None)
            lines.append(_plain("接口字符", "interface bytes", shown))
        lines.append(_plain("历史字符", "historical bytes", atr.historical_bytes.hex().upper()))
        if atr.rejection:
            lines.append(_plain("终端应拒绝", "a terminal must refuse it", atr.rejection))
        try:
            reset = reset_information(raw)
        except UnknownResetError:
            return Explanation("atr", "复位应答，不是社保卡的形式", "ATR, not in the form of this card", tuple(lines))
        lines += [
            _plain("卡复位信息", "reset information", reset.hex().upper()),
            _plain("芯片商", "chip vendor", reset[:2].hex().upper()),
            _plain("卡商", "card maker", reset[5:7].hex().upper()),
            _plain("发卡地区前四位", "issuing region, first four digits", reset[7:9].hex().upper()),
            _plain("流水号", "serial", reset[9:].hex().upper()),
        ]
        return Explanation("atr", "社保卡复位应答", "ATR of a social security card", tuple(lines))

    def knows(self, raw: bytes) -> bool:
        tags = {item.tag for ef in self._files for item in ef.items}
        return all(record.tag in tags for record in parse_records(raw))

    def records(self, raw: bytes) -> Explanation:
        try:
            records = parse_records(raw)
        except DecodingError as error:
            return Explanation("record", "记录不完整", "malformed records", (_wrong(error),))
        lines: list[Line] = []
        ef = self._file_of({record.tag for record in records})
        for record in records:
            item = next((item for item in ef.items if item.tag == record.tag), None) if ef else None
            if item is None:
                label = f"{record.tag:02X} 未知数据项", "unknown item"
                lines.append(Line(*label, f"[{len(record.value)} bytes]"))
            else:
                lines += self._item(item, record.value)
        if ef is None:
            return Explanation("record", "记录", "records", tuple(lines))
        return Explanation("record", f"{ef.path} {ef.name_zh}", f"{ef.path} {ef.name_en}", tuple(lines))

    def _file_of(self, tags: set[int]) -> EfSpec | None:
        """The file that has all these tags; a tag may stand in several."""
        return next((ef for ef in self._files if tags <= {item.tag for item in ef.items}), None)

    def _item(self, item: ItemSpec, raw: bytes, prefix: str = "") -> list[Line]:
        label_zh, label_en = f"{prefix}{item.tag or 0:02X} {item.name_zh}", f"{item.name_en} ({item.slug})"
        try:
            value = decode_value(item, raw)
        except CodecError:
            return [Line(label_zh, label_en, f"格式错误 / malformed, {len(raw)} bytes")]
        if isinstance(value, dict):
            inner = [
                line
                for part, record in zip(item.inner, _inner_records(item, raw), strict=False)
                for line in self._item(part, record, prefix + "  ")
            ]
            return [Line(label_zh, label_en, ""), *inner]
        text = text_of(item, value)
        return [
            Line(
                label_zh, label_en, self._masked(item.slug, value) + (f" = {text['zh']} / {text['en']}" if text else "")
            )
        ]

    def _masked(self, slug: str, value: str) -> str:
        if self._show_personal or not value:
            return value
        if slug in _MASKS:
            return _MASKS[slug](value)
        return "***" if any(word in slug for word in _HIDDEN_ITEMS) else value

    def recording(self, text: str) -> Explanation:
        try:
            (step,) = parse_script(text).statements
        except ValueError:  # ScriptSyntaxError, or not one statement
            step = None
        recorded = step.recorded if isinstance(step, Command) else None
        answered = step.expected.recorded() if isinstance(step, Command) and step.expected else None
        if not isinstance(step, Command) or recorded is None or answered is None:
            # Not the parser's own words: they say what to write, not what a recording is.
            raise CodecError("not a line of a recording; 00B0850000 => 9000 is the form")
        known, length = recorded
        if step.is_hidden:
            zh, en = name_of(known[0], known[1])
            lines = [_plain("指令", "command", f"{known[:4].hex(' ').upper()} [{length - 4} bytes hidden]")]
        else:
            command = self.command(known)
            zh, en, lines = command.title_zh, command.title_en, list(command.lines)
        ins = known[1]
        answer = self.response(answered, ins)
        lines.append(Line("→ 应答", "→ response", f"{answer.title_zh} / {answer.title_en}"))
        return Explanation("recording", zh, en, (*lines, *answer.lines))

    def _body(self, command: CommandApdu, *, is_secret: bool) -> list[Line]:
        if is_secret:
            return [_plain("数据", "data", f"[{len(command.data)} bytes hidden]")]
        if command.ins == Ins.UPDATE_RECORD and self._is_record(command.data):
            return list(self.records(command.data).lines)
        return [_plain("数据", "data", self._shown(command.data, command.ins))]

    def _inner(self, data: bytes, ins: int | None) -> list[Line]:
        if not data:
            return []
        if ins in SECRET_RESPONSES:
            return [_plain("数据", "data", f"[{len(data)} bytes hidden]")]
        if data[0] == 0x6F and _parses(parse, data):
            return list(self.fci(data).lines)
        if self._is_record(data) and ins in (None, Ins.READ_RECORD, Ins.GET_RESPONSE):
            return list(self.records(data).lines)
        return [_plain("数据", "data", self._shown(data, ins))]

    def _is_record(self, data: bytes) -> bool:
        return _parses(parse_records, data) and self.knows(data)

    def _shown(self, data: bytes, ins: int | None) -> str:
        """Content of files may be a person's, and is counted only; everything else that is not secret is shown."""
        name = next((f" {df.label} / {df.name_en}" for df in self._spec.dfs if df.aid == data), "")
        if self._show_personal or (ins is not None and ins not in _FILE_COMMANDS):
            return data.hex(" ").upper() + name
        return f"[{len(data)} bytes]"


def _inner_records(item: ItemSpec, raw: bytes) -> list[bytes]:
    """Values of a constructed item in the order of its specification; `decode_value` has accepted `raw`."""
    if not raw.strip(b"\x00\x20\xff"):
        return [b""] * len(item.inner)
    found = {record.tag: record.value for record in parse_records(raw)}
    return [found.get(cast(int, part.tag), b"") for part in item.inner]


def _characters(raw: bytes) -> str:
    text = raw.decode("gb18030", "replace")
    return text if text.isprintable() and "\N{REPLACEMENT CHARACTER}" not in text else ""


def _wrong(error: Exception) -> Line:
    return Line("错误", "error", str(error))


def _plain(zh: str, en: str, value: str) -> Line:
    return Line(zh, en, value)
