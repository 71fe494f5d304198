"""What a script is made of (docs/scripts.md): values, patterns, statements. `apdu.scripts.parser` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from apdu.errors import ApduError, DecodingError, EncodingError
from apdu.response import ResponseApdu
from apdu.sw import SW
from apdu.tlv import find

HEADER: Final = 4
MAX_VALUE: Final = 65_544  # an extended command of case 4 with all its length fields


class ScriptValueError(ApduError):
    """A value cannot be made, now that the script runs; the message says why and repeats no bytes."""

    failure = "INPUT_INVALID"


@dataclass(frozen=True, slots=True)
class Hex:
    """Bytes as they stand."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Secret:
    """`$secret:NAME`: known to whoever runs the script, never to the script, its report or a recording."""

    name: str


@dataclass(frozen=True, slots=True)
class Hidden:
    """`?N`: N bytes left out by the recorder."""

    length: int


@dataclass(frozen=True, slots=True)
class DataPart:
    """`data` or `data[start:end]`: bytes of the last response; after `reset` of the ATR."""

    start: int = 0
    end: int | None = None


@dataclass(frozen=True, slots=True)
class TlvPart:
    """`tlv(6F/A5/88)`: the value of one data object of the last response."""

    path: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sized:
    """`[ … ]`: its content behind one byte with the content's length."""

    content: tuple[Value, ...]


Value = Hex | Variable | Secret | Hidden | DataPart | TlvPart | Sized


@dataclass(frozen=True, slots=True)
class Masked:
    """Bytes of which only the bits of `mask` count; an `x` in the text leaves four bits out."""

    data: bytes
    mask: bytes


@dataclass(frozen=True, slots=True)
class Changing:
    """`~HEX`: bytes of the recorded session; any others of the same length will do."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Rest:
    """`..`: any number of bytes, also none."""


Element = Masked | Changing | Hidden | Variable | Rest


@dataclass(frozen=True, slots=True)
class Pattern:
    """What bytes are expected to be. At most one element is `Rest`."""

    elements: tuple[Element, ...]
    text: str

    def matches(self, raw: bytes, variables: Mapping[str, bytes]) -> bool:
        before: list[tuple[int, int]] = []
        after: list[tuple[int, int]] = []
        side, is_open = before, False
        for element in self.elements:
            if isinstance(element, Rest):
                side, is_open = after, True
            else:
                side += _pairs(element, variables)
        fixed = len(before) + len(after)
        if len(raw) < fixed or (len(raw) > fixed and not is_open):
            return False
        tail = raw[len(raw) - len(after) :]
        return _fits(raw, before) and _fits(tail, after)

    def recorded(self) -> bytes | None:
        """The response of a recording, hidden bytes as zeros; None when this pattern leaves anything open."""
        raw = b""
        for element in self.elements:
            match element:
                case Masked(data, mask) if not mask.strip(b"\xff"):
                    raw += data
                case Changing(data):
                    raw += data
                case Hidden(length):
                    raw += bytes(length)
                case _:
                    return None
        return raw


def _pairs(element: Element, variables: Mapping[str, bytes]) -> list[tuple[int, int]]:
    """(byte, mask) for each byte."""
    match element:
        case Masked(data, mask):
            return list(zip(data, mask, strict=True))
        case Changing(data):
            return [(0, 0)] * len(data)
        case Hidden(length):
            return [(0, 0)] * length
        case Variable(name):
            return [(byte, 0xFF) for byte in variables[name]]
        case Rest():
            return []


def _fits(raw: bytes, wanted: list[tuple[int, int]]) -> bool:
    return all(byte & mask == value & mask for byte, (value, mask) in zip(raw, wanted, strict=False))


@dataclass(frozen=True, slots=True)
class Raw:
    """`raw`: from here on no 61xx is followed and no 6Cxx corrected, as in every recording."""

    line: int


@dataclass(frozen=True, slots=True)
class Reset:
    """`reset`: power off and on; the pattern is for the ATR."""

    line: int
    expected: Pattern | None


@dataclass(frozen=True, slots=True)
class Let:
    """`let NAME = …`."""

    line: int
    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Expect:
    """`expect PART = PATTERN`: about the last response."""

    line: int
    part: DataPart | TlvPart
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class Command:
    """One command APDU and the response expected, status word included; None stands for 9000 or 61xx.

    `is_once`: what it carries holds for one session only, as a MAC under that session's challenge.
    """

    line: int
    values: tuple[Value, ...]
    expected: Pattern | None
    is_once: bool = False

    @property
    def header(self) -> bytes:
        """CLA and INS at least; the parser sees to it."""
        first = self.values[0]
        return first.data[:HEADER] if isinstance(first, Hex) else b""

    @property
    def is_hidden(self) -> bool:
        return any(isinstance(value, Hidden) for value in self.values)

    @property
    def recorded(self) -> tuple[bytes, int] | None:
        """What is known of the command and its length; None when it is not a recorded one."""
        known, length = b"", 0
        for value in self.values:
            if isinstance(value, Hex):
                known += value.data
                length += len(value.data)
            elif isinstance(value, Hidden):
                length += value.length
            else:
                return None
        return known, length

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_secrets(self.values)))

    def accepts(self, response: ResponseApdu, variables: Mapping[str, bytes]) -> bool:
        if self.expected is None:
            return response.sw == SW.OK or response.sw1 == 0x61
        return self.expected.matches(response.to_bytes(), variables)


def _secrets(values: tuple[Value, ...]) -> list[str]:
    found: list[str] = []
    for value in values:
        if isinstance(value, Secret):
            found.append(value.name)
        elif isinstance(value, Sized):
            found += _secrets(value.content)
    return found


Statement = Raw | Reset | Let | Expect | Command


@dataclass(frozen=True, slots=True)
class Script:
    """Statements in their order, with the names of the secrets they ask for."""

    statements: tuple[Statement, ...]

    @property
    def secrets(self) -> tuple[str, ...]:
        commands = [each for each in self.statements if isinstance(each, Command)]
        return tuple(dict.fromkeys(name for command in commands for name in command.secrets))


def evaluate(
    values: tuple[Value, ...], variables: Mapping[str, bytes], secrets: Mapping[str, bytes], last: bytes
) -> bytes:
    """The bytes of `values`; `last` is the data of the last response. Raises ScriptValueError."""
    raw = b"".join(_evaluate(value, variables, secrets, last) for value in values)
    if len(raw) > MAX_VALUE:
        raise ScriptValueError(f"more than {MAX_VALUE} bytes")
    return raw


def _evaluate(value: Value, variables: Mapping[str, bytes], secrets: Mapping[str, bytes], last: bytes) -> bytes:
    match value:
        case Hex(data):
            return data
        case Variable(name):
            return variables[name]
        case Secret(name):
            if name not in secrets:
                raise ScriptValueError(f"the secret {name} was not given")
            return secrets[name]
        case Sized(content):
            inner = evaluate(content, variables, secrets, last)
            if len(inner) > 0xFF:
                raise ScriptValueError(f"{len(inner)} bytes in brackets, at most 255")
            return bytes((len(inner),)) + inner
        case DataPart() | TlvPart():
            return part_of(value, last)
        case Hidden():
            raise ScriptValueError("the recording left these bytes out")


def part_of(part: DataPart | TlvPart, last: bytes) -> bytes:
    """Raises ScriptValueError when the response does not have this part."""
    if isinstance(part, DataPart):
        end = len(last) if part.end is None else part.end
        if not part.start <= end <= len(last):
            raise ScriptValueError(f"the response has {len(last)} bytes of data, {part.start}:{end} was asked for")
        return last[part.start : end]
    name = "/".join(f"{tag:02X}" for tag in part.path)
    try:
        found = find(last, *part.path)
    except (DecodingError, EncodingError) as error:
        raise ScriptValueError(f"no data objects to find {name} in: {error}") from error
    if found is None:
        raise ScriptValueError(f"the response has no data object {name}")
    return found.value
