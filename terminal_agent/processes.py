"""Who else is there: the program on a port, the programs that use PC/SC. As far as `/proc` lets this account see.

Where there is no `/proc`, or a process belongs to somebody else, nothing is said rather than guessed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_LISTENING: Final = "0A"
_PCSC_LIBRARY: Final = re.compile(rb"/libpcsclite(?:_real)?\.so")


def listener_of(port: int) -> str | None:
    """The program that listens on a local TCP port, as `name (pid)`."""
    inodes = {
        fields[9]
        for table in ("tcp", "tcp6")
        for fields in _rows(PROC / "net" / table)
        if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port
    }
    wanted = {f"socket:[{inode}]" for inode in inodes}
    return next((_named(process) for process in _processes() if wanted & set(_open(process))), None)


def card_programs() -> list[str]:
    """Programs that have the PC/SC library loaded, without the service and this one."""
    return [
        _named(process)
        for process in _processes()
        if process.name != str(os.getpid()) and _PCSC_LIBRARY.search(_read(process / "maps"))
    ]


def _processes() -> Iterator[Path]:
    with suppress(OSError):
        yield from sorted((path for path in PROC.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


def _open(process: Path) -> Iterator[str]:
    with suppress(OSError):
        for link in (process / "fd").iterdir():
            with suppress(OSError):
                yield str(link.readlink())


def _rows(table: Path) -> list[list[str]]:
    return [line.split() for line in _read(table).decode("ascii", "replace").splitlines()[1:]]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _named(process: Path) -> str:
    name = _read(process / "comm").decode("utf-8", "replace").strip()
    return f"{ascii(name)[1:-1] or '?'} ({process.name})"
