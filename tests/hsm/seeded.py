"""Known secrets, and the search for them in whatever a run left behind: bytes, hex, base64, Python's spellings."""

from __future__ import annotations

import base64
import io
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hsm.primitives import default_engine


class Secrets:
    """Values by name. Short ones would be found by chance, so each has at least eight bytes."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def make(self, name: str, length: int = 16) -> bytes:
        """The same in every run, and like nothing else."""
        return self.add(name, default_engine().sm3(b"seeded " + name.encode())[:length])

    def add(self, name: str, value: bytes) -> bytes:
        assert len(value) >= 8, name
        self.values[name] = value
        return value

    def found_in(self, data: bytes | str) -> list[str]:
        """Names and forms of the secrets in `data`."""
        haystack = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        folded = haystack.lower()
        return [
            f"{name} as {form}"
            for name, value in self.values.items()
            for form, needle, is_folded in forms(value)
            if needle in (folded if is_folded else haystack)
        ]


def forms(value: bytes) -> Iterator[tuple[str, bytes, bool]]:
    """What the value may look like; the last item: whether upper and lower case are the same."""
    yield "bytes", value, False
    yield "bytes backwards", value[::-1], False
    yield "hex", value.hex().encode(), True
    yield "hex with spaces", value.hex(" ").encode(), True
    yield "hex with colons", value.hex(":").encode(), True
    yield "repr", repr(value)[2:-1].encode(), False
    yield "list", ", ".join(map(str, value)).encode(), False
    yield "number", str(int.from_bytes(value)).encode(), False
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            # The characters that depend on the value alone, wherever in a longer text it stands.
            text = alphabet(bytes(before) + value + bytes(-(before + len(value)) % 3))
            start, end = -(-8 * before // 6), 8 * (before + len(value)) // 6
            yield "base64", text[start:end], False


class Everything(logging.Handler):
    """All log records with all they carry, and what else is noted."""

    def __init__(self) -> None:
        super().__init__(level=1)
        self.text = io.StringIO()
        self.setFormatter(logging.Formatter("%(name)s %(levelno)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.note(self.format(record), *map(repr, (record.args, record.__dict__)))

    def note(self, *texts: object) -> None:
        self.text.writelines(f"{text}\n" for text in texts)

    def note_error(self, error: BaseException) -> None:
        """As printed, with the arguments of the whole chain."""
        self.note(*traceback.format_exception(error))
        link: BaseException | None = error
        while link is not None:
            self.note(repr(link), repr(link.args), repr(vars(link)))
            link = link.__cause__ or link.__context__


@contextmanager
def everything() -> Iterator[Everything]:
    """Every logger at its most verbose."""
    handler, root = Everything(), logging.getLogger()
    loggers = [
        root,
        *(found for found in logging.root.manager.loggerDict.values() if isinstance(found, logging.Logger)),
    ]
    levels = [logger.level for logger in loggers]
    root.addHandler(handler)
    for logger in loggers:
        logger.setLevel(1)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def files(folder: Path) -> dict[str, bytes]:
    """Content by path, sockets left out."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
