"""Builds the reader driver where a compiler and the headers of pcscd are."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

SOURCE = Path(__file__).with_name("onecard_ifd.c")
INCLUDES = (Path("/usr/include/PCSC"), Path("/usr/local/include/PCSC"))
LIBRARY = "libonecard_ifd.so"
BUILD_TIMEOUT_S = 60


class IfdBuildError(Exception):
    """The driver cannot be built here."""

    failure: ClassVar[str] = "READER_SERVICE_UNAVAILABLE"


def is_available() -> tuple[bool, str]:
    """Whether `build` can work, and if not what is missing."""
    if _compiler() is None:
        return False, "no C compiler is installed (Debian package gcc)"
    if _include() is None:
        return False, "ifdhandler.h is not installed (Debian package libpcsclite-dev)"
    return True, ""


def build(folder: Path) -> Path:
    """The library, fresh in `folder`. Raises IfdBuildError with the compiler's words."""
    compiler, include = _compiler(), _include()
    if compiler is None or include is None:
        raise IfdBuildError(is_available()[1])
    target = folder / LIBRARY
    flags = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", f"-I{include}")
    done = subprocess.run(
        [compiler, *flags, str(SOURCE), "-o", str(target), "-lpthread"],
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise IfdBuildError(done.stderr[-1000:])
    return target


def _compiler() -> str | None:
    return shutil.which("gcc") or shutil.which("cc")


def _include() -> Path | None:
    return next((place for place in INCLUDES if (place / "ifdhandler.h").exists()), None)
