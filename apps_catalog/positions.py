"""Where in a TOML file a field stands; tomllib gives values without lines. For text that tomllib has accepted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

Path = tuple[str | int, ...]
"""Keys from the top; the number of a table in its list, from 0, follows the list's key."""


class Position(NamedTuple):
    """Both from 1; a column counts characters."""

    line: int
    column: int


_TOKEN: Final = re.compile(
    r'''
    (?P<space>[ \t\r]+|\#[^\n]*)
  | (?P<newline>\n)
  | (?P<text>"""(?:\\.|[^\\])*?"{3,5}|\'{3}.*?\'{3,5})
  | (?P<key>"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[^\s\[\]{}=.,\#"']+)
  | (?P<mark>[\[\]{}=.,])
    ''',
    re.VERBOSE | re.DOTALL,
)


class Positions:
    def __init__(self, text: str) -> None:
        self._found: dict[Path, Position] = {}
        _Scan(self._found).read(text)

    def find(self, path: Path) -> Position | None:
        """Of the field, else of the nearest table that holds it; None when not even its first key is there."""
        while path and path not in self._found:
            path = path[:-1]
        return self._found.get(path)


class _Scan:
    """One pass. `_open` are the brackets we are in, each with the path of what it holds and its number of tables."""

    def __init__(self, found: dict[Path, Position]) -> None:
        self._found = found
        self._counts: dict[Path, int] = {}
        self._prefix: Path = ()
        self._open: list[tuple[str, Path]] = []
        self._keys: list[str] = []
        self._start = Position(1, 1)
        self._value: Path = ()
        self._is_key_next = True

    def read(self, text: str) -> None:
        tokens = _tokens(text)
        for kind, piece, position in tokens:
            if kind == "newline" and not self._open:
                self._is_key_next, self._keys = True, []
            elif self._is_key_next and not self._open and piece == "[":
                self._header(tokens, position)
            elif self._is_key_next and kind == "key":
                if not self._keys:
                    self._start = position
                self._keys.append(_bare(piece))
            elif piece == "=" and self._is_key_next:
                self._name()
            elif kind == "mark":
                self._bracket(piece, position)

    def _header(self, tokens: Iterator[tuple[str, str, Position]], position: Position) -> None:
        keys: list[str] = []
        brackets = 1
        for kind, piece, _ in tokens:
            if kind == "newline":
                break
            if kind == "key":
                keys.append(_bare(piece))
            brackets += piece == "["
        path: Path = ()
        for number, key in enumerate(keys, start=1):
            path = (*path, key)
            self._found.setdefault(path, position)
            if number == len(keys) and brackets == 2:
                path = (*path, self._next(path))
            elif path in self._counts:
                path = (*path, self._counts[path] - 1)
        self._found.setdefault(path, position)
        self._prefix, self._is_key_next = path, True

    def _name(self) -> None:
        """The keys read so far have a value; every table on the way is known by its first key."""
        path = self._open[-1][1] if self._open else self._prefix
        for key in self._keys:
            path = (*path, key)
            self._found.setdefault(path, self._start)
        self._value, self._keys, self._is_key_next = path, [], False

    def _bracket(self, piece: str, position: Position) -> None:
        if piece == "[":
            self._open.append((piece, self._value))
            self._is_key_next = False
        elif piece == "{":
            path = self._value
            if self._open and self._open[-1][0] == "[":
                path = (*self._open[-1][1], self._next(self._open[-1][1]))
                self._found.setdefault(path, position)
            self._open.append((piece, path))
            self._is_key_next = True
        elif piece in "]}":
            self._open.pop()
            self._is_key_next = False
        elif piece == ",":
            self._is_key_next = bool(self._open) and self._open[-1][0] == "{"

    def _next(self, path: Path) -> int:
        number = self._counts.get(path, 0)
        self._counts[path] = number + 1
        return number


def _tokens(text: str) -> Iterator[tuple[str, str, Position]]:
    line, line_start = 1, 0
    for match in _TOKEN.finditer(text):
        kind, piece = match.lastgroup or "", match.group()
        if kind != "space":
            yield kind, piece, Position(line, match.start() - line_start + 1)
        if "\n" in piece:
            line += piece.count("\n")
            line_start = match.start() + piece.rindex("\n") + 1


def _bare(piece: str) -> str:
    return piece[1:-1] if piece[0] in "\"'" else piece
