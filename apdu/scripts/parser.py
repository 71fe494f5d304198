"""Text to `Script`. Every refusal names line, column, the rule that was broken and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from apdu.channel import SECRET_INSTRUCTIONS
from apdu.errors import ApduError, EncodingError
from apdu.scripts.language import (
    HEADER,
    Changing,
    Command,
    DataPart,
    Element,
    Expect,
    Hex,
    Hidden,
    Let,
    Masked,
    Pattern,
    Raw,
    Reset,
    Rest,
    Script,
    Secret,
    Sized,
    Statement,
    TlvPart,
    Value,
    Variable,
)
from apdu.tlv import Tlv

MAX_TEXT: Final = 1 << 22
MAX_LINES: Final = 20_000
MAX_LINE: Final = 300_000  # an extended command and response in hex
MAX_DEPTH: Final = 4
MAX_HIDDEN: Final = 65_544
LENGTH_AT: Final = HEADER + 1
KEYWORDS: Final = frozenset({"raw", "reset", "let", "expect", "select", "once"})

_TOKEN = re.compile(
    r"""(?P<space>[ \t]+) | (?P<comment>\#.*) | (?P<arrow>=>) | (?P<equals>=) | (?P<open>\[) | (?P<close>\])
      | (?P<data>data(?:\[(?P<start>[0-9]{1,6})?:(?P<end>[0-9]{1,6})?\])?(?![\w\[]))
      | (?P<tlv>tlv\((?P<path>[0-9A-Fa-f]+(?:/[0-9A-Fa-f]+)*)\))
      | \$secret:(?P<secret>[A-Za-z][A-Za-z0-9_-]*)
      | \$(?P<variable>[A-Za-z][A-Za-z0-9_]*)
      | ~(?P<changing>[0-9A-Fa-f]+) | \?(?P<hidden>[0-9]{1,6}) | (?P<rest>\.\.) | (?P<word>[A-Za-z0-9_]+)""",
    re.VERBOSE | re.ASCII,
)


class ScriptSyntaxError(ApduError, ValueError):
    """Not a script. `line` and `column` count from 1; the text of the script is not repeated."""

    failure = "INPUT_INVALID"

    def __init__(self, line: int, column: int, rule: str, remedy: str) -> None:
        super().__init__(f"line {line}, column {column}: {rule}; {remedy}")
        self.line = line
        self.column = column
        self.rule = rule
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class _Token:
    """`kind` is the name of the group that matched."""

    kind: str
    match: re.Match[str]

    @property
    def text(self) -> str:
        return self.match.group()

    @property
    def inner(self) -> str:
        """What stands behind the sign: the name of `$name`, the digits of `~hex`."""
        return self.match.group(self.kind)

    @property
    def column(self) -> int:
        return self.match.start() + 1

    @property
    def end(self) -> int:
        return self.match.end() + 1


def parse(text: str) -> Script:
    """Raises ScriptSyntaxError at the first line that is not of the language."""
    if len(text) > MAX_TEXT:
        raise ScriptSyntaxError(1, 1, f"a script has at most {MAX_TEXT} characters", "split it")
    lines = text.removeprefix("\ufeff").split("\n")
    if len(lines) > MAX_LINES:
        raise ScriptSyntaxError(MAX_LINES + 1, 1, f"a script has at most {MAX_LINES} lines", "split it")
    known: set[str] = set()
    statements: list[Statement] = []
    has_answer = False
    for number, line in enumerate(lines, start=1):
        statement = _Line(number, line.removesuffix("\r"), known, has_answer=has_answer).statement()
        if statement is not None:
            statements.append(statement)
        if isinstance(statement, Let):
            known.add(statement.name)
        has_answer = has_answer or isinstance(statement, Command | Reset)
    return Script(tuple(statements))


class _Line:
    """One line on its way to a statement."""

    def __init__(self, number: int, text: str, known: set[str], *, has_answer: bool) -> None:
        self._number = number
        self._known = known
        self._has_answer = has_answer
        self._end = len(text) + 1
        if len(text) > MAX_LINE:
            self._refuse(MAX_LINE + 1, f"a line has at most {MAX_LINE} characters", "shorten it")
        self._text = text
        self._tokens = list(self._split(text))
        self._position = 0

    def statement(self) -> Statement | None:
        if not self._tokens:
            return None
        is_once = self._takes("once")
        first = self._peek()
        if first is not None and first.text in KEYWORDS - {"select"} and first.kind == "word":
            if is_once or first.text == "once":
                self._refuse(first.column, "once stands before a command", "remove it")
            self._position += 1
            return self._keyword(first.text)
        return self._command(is_once=is_once)

    def _keyword(self, word: str) -> Statement:
        match word:
            case "raw":
                self._finish()
                return Raw(self._number)
            case "reset":
                return Reset(self._number, self._expectation(is_response=False))
            case "let":
                name = self._name()
                behind = self._position
                values = self._values("let")
                self._finish()
                for token in self._tokens[behind:]:
                    if token.kind in ("secret", "hidden"):
                        self._refuse(token.column, "a secret stands only in a command", "write it there")
                return Let(self._number, name, values)
            case _:
                return self._expect()

    def _name(self) -> str:
        token = self._next("let is followed by a name", "write let NAME = …")
        if token.kind != "word" or not token.text[0].isalpha():
            self._refuse(token.column, "a name is a letter and letters, digits or _", "write let NAME = …")
        equals = self._next("a name is followed by =", "write let NAME = …")
        if equals.kind != "equals":
            self._refuse(equals.column, "a name is followed by =", "write let NAME = …")
        return token.text

    def _expect(self) -> Expect:
        form = "write expect data = … or expect tlv(6F/84) = …"
        token = self._next("expect is followed by data or tlv", form)
        part = self._part(token)
        if part is None:
            self._refuse(token.column, "expect is followed by data or tlv", form)
        equals = self._next("expect needs = and the bytes", form)
        if equals.kind != "equals":
            self._refuse(equals.column, "expect needs = and the bytes", form)
        return Expect(self._number, part, self._pattern())

    def _command(self, *, is_once: bool) -> Command:
        start = self._position
        is_select = self._takes("select")
        values = self._values("a command")
        if is_select:
            values = (Hex(bytes.fromhex("00A40400")), Sized(values), Hex(b"\x00"))
        else:
            self._check_header(self._tokens[start], values[0])
        self._check_secrecy(self._tokens[start : self._position], values)
        expected = self._expectation(is_response=True)
        return Command(self._number, values, expected, is_once)

    # -- values -------------------------------------------------------------------------------------------------

    def _values(self, what: str, depth: int = 0) -> tuple[Value, ...]:
        found: list[Value] = []
        while (token := self._peek()) is not None and token.kind not in ("arrow", "close"):
            self._position += 1
            value = self._value(token, depth)
            if isinstance(value, Hex) and found and isinstance(found[-1], Hex):
                found[-1] = Hex(found[-1].data + value.data)
            else:
                found.append(value)
        if not found:
            column = token.column if token else self._end
            self._refuse(column, f"{what} has at least one byte", "write hex digits or a $name")
        return tuple(found)

    def _value(self, token: _Token, depth: int) -> Value:
        if token.kind == "open":
            return self._sized(token, depth + 1)
        if token.kind == "word":
            return Hex(self._hex(token.text, token.column))
        if token.kind == "secret":
            return Secret(token.inner)
        if token.kind == "variable":
            return Variable(self._variable(token))
        if token.kind == "hidden":
            return self._hidden(token)
        part = self._part(token)
        if part is None:
            self._refuse(token.column, "a value is hex, a $name, data, tlv(…) or [ … ]", "patterns belong behind =>")
        return part

    def _sized(self, opening: _Token, depth: int) -> Sized:
        if depth > MAX_DEPTH:
            self._refuse(opening.column, f"brackets are nested {MAX_DEPTH} deep at most", "use let")
        content = self._values("a pair of brackets", depth)
        closing = self._peek()
        if closing is None or closing.kind != "close":
            self._refuse(opening.column, "a bracket is closed on its line", "add ]")
        self._position += 1
        return Sized(content)

    def _part(self, token: _Token) -> DataPart | TlvPart | None:
        if token.kind not in ("data", "tlv"):
            return None
        if not self._has_answer:
            self._refuse(token.column, "there is no response yet", "send a command before")
        if token.kind == "data":
            start, end = token.match.group("start"), token.match.group("end")
            return DataPart(int(start or 0), None if end is None else int(end))
        path = tuple(int(tag, 16) for tag in token.match.group("path").split("/"))
        try:
            for tag in path:
                Tlv(tag, b"")
        except (EncodingError, OverflowError):
            self._refuse(token.column, "a path is of well-formed tags", "write tlv(6F/A5/9F0C)")
        return TlvPart(path)

    def _variable(self, token: _Token) -> str:
        name = token.inner
        if name not in self._known:
            self._refuse(token.column, f"${name} has no value yet", f"write let {name} = … before")
        return name

    def _hidden(self, token: _Token) -> Hidden:
        length = int(token.inner)
        if not 0 < length <= MAX_HIDDEN:
            self._refuse(token.column, f"1 to {MAX_HIDDEN} bytes can be hidden", "correct the number behind ?")
        return Hidden(length)

    def _hex(self, text: str, column: int, *, wildcard: str = "") -> bytes:
        """The bytes, 0 for each wildcard."""
        bad = re.search(f"[^0-9A-Fa-f{wildcard}]", text)
        if bad is not None:
            what = "a keyword in a wrong place" if text in KEYWORDS else f"{bad.group()!r}, no hex digit"
            self._refuse(column + bad.start(), f"bytes were expected, this is {what}", "correct it")
        if len(text) % 2:
            self._refuse(column + len(text) - 1, "hex digits come in pairs", "add or remove a digit")
        return bytes.fromhex(re.sub("[xX]", "0", text))

    # -- patterns -----------------------------------------------------------------------------------------------

    def _expectation(self, *, is_response: bool) -> Pattern | None:
        token = self._peek()
        if token is None:
            return None
        if token.kind != "arrow":
            self._refuse(token.column, "only => stands here", "write => and the response, or start a new line")
        self._position += 1
        pattern = self._pattern()
        if is_response and not _ends_with_status(pattern):
            self._refuse(self._end, "a response ends with its status word", "add 9000, 63Cx or the like")
        return pattern

    def _pattern(self) -> Pattern:
        first = self._peek()
        if first is None:
            self._refuse(self._end, "a pattern has at least one byte", "write hex digits, x for any digit, .. for any")
        found: list[Element] = []
        while (token := self._peek()) is not None:
            self._position += 1
            found.append(self._element(token))
            if isinstance(found[-1], Rest) and found.count(Rest()) > 1:
                self._refuse(token.column, ".. stands once in a pattern", "write x for each digit instead")
        return Pattern(tuple(found), self._text[first.column - 1 : self._tokens[-1].end - 1])

    def _element(self, token: _Token) -> Element:
        if token.kind not in ("word", "rest", "variable", "hidden", "changing"):
            self._refuse(token.column, "a pattern is hex, x, .., $name, ~hex or ?N", "correct it")
        match token.kind:
            case "rest":
                return Rest()
            case "variable":
                return Variable(self._variable(token))
            case "hidden":
                return self._hidden(token)
            case "changing":
                return Changing(self._hex(token.inner, token.column + 1))
        data = self._hex(token.text, token.column, wildcard="xX")
        mask = re.sub("[xX]", "0", re.sub("[0-9A-Fa-f]", "F", token.text))
        return Masked(data, bytes.fromhex(mask))

    # -- what a command may be ------------------------------------------------------------------------------------

    def _check_header(self, token: _Token, first: Value) -> None:
        if not isinstance(first, Hex) or len(first.data) < 2:
            self._refuse(token.column, "class and instruction are written out", "begin with hex, as 00A40400")

    def _check_secrecy(self, tokens: list[_Token], values: tuple[Value, ...]) -> None:
        """The body of a secret instruction is a reference, and references stand nowhere else: then everything that
        shows or records a command knows what to leave out."""
        first = values[0]
        assert isinstance(first, Hex)
        if first.data[1] not in SECRET_INSTRUCTIONS:
            for token in tokens:
                if token.kind in ("secret", "hidden"):
                    what = f"instruction {first.data[1]:02X} shows its body"
                    self._refuse(token.column, f"{what}: no secret may stand in it", "use a $name")
            return
        rule = f"the body of instruction {first.data[1]:02X} is secret"
        seen = 0
        for position, token in enumerate(tokens):
            size = len(token.text) // 2 if token.kind == "word" else 0
            if token.kind in ("secret", "hidden", "open", "close"):
                if seen < HEADER:
                    self._refuse(token.column, "CLA INS P1 P2 are written out before a secret", "write all four")
                seen = LENGTH_AT
            elif token.kind == "word" and (seen + size <= LENGTH_AT or self._is_le(tokens, position, size)):
                seen += size
            else:
                offset = 2 * (LENGTH_AT - seen) if token.kind == "word" else 0
                self._refuse(token.column + offset, rule, "write [$secret:NAME] instead")

    @staticmethod
    def _is_le(tokens: list[_Token], position: int, size: int) -> bool:
        """One byte at the end, behind a reference."""
        behind = position > 0 and tokens[position - 1].kind in ("secret", "close")
        return behind and size == 1 and position == len(tokens) - 1

    # -- tokens -------------------------------------------------------------------------------------------------

    def _split(self, text: str) -> Iterator[_Token]:
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                self._refuse(position + 1, f"no word of the language begins with {text[position]!r}", "correct it")
            position = match.end()
            kind = match.lastgroup or ""
            if kind == "comment":
                return
            if kind != "space":
                yield _Token(kind, match)

    def _peek(self) -> _Token | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def _takes(self, word: str) -> bool:
        token = self._peek()
        is_there = token is not None and token.text == word
        self._position += is_there
        return is_there

    def _next(self, rule: str, remedy: str) -> _Token:
        token = self._peek()
        if token is None:
            self._refuse(self._end, rule, remedy)
        self._position += 1
        return token

    def _finish(self) -> None:
        token = self._peek()
        if token is not None:
            self._refuse(token.column, "the line should end here", "start a new line")

    def _refuse(self, column: int, rule: str, remedy: str) -> NoReturn:
        raise ScriptSyntaxError(self._number, column, rule, remedy)


def _ends_with_status(pattern: Pattern) -> bool:
    """Two bytes that are compared, whole or in part, at the end; a variable may hold them."""
    length = 0
    for element in reversed(pattern.elements):
        if isinstance(element, Variable):
            return True
        if not isinstance(element, Masked):
            return False
        length += len(element.data)
        if length >= 2:
            return True
    return False
