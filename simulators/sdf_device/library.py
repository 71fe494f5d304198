"""Builds the device library where a compiler and OpenSSL 3 are; OpenSSL's headers are not needed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

FOLDER = Path(__file__).parent
LIBRARY = "libonecard_sdf.so"
BUILD_TIMEOUT_S = 60
OLD_VENDOR = "-DSDF_OLD_VENDOR"


class SdfBuildError(Exception):
    """The library cannot be built here."""

    failure: ClassVar[str] = "HSM_UNAVAILABLE"


def is_available() -> tuple[bool, str]:
    """Whether `build` can work, and if not what is missing."""
    for program in ("gcc", "make"):
        if shutil.which(program) is None:
            return False, f"{program} is not installed"
    return True, ""


def build(folder: Path, *, old_vendor: bool = False) -> Path:
    """The library, fresh in `folder`; `old_vendor` gives the structures and ids of machines before the standard.

    Raises SdfBuildError with the compiler's words.
    """
    is_possible, reason = is_available()
    if not is_possible:
        raise SdfBuildError(reason)
    flags = f"-O2 {OLD_VENDOR}" if old_vendor else "-O2"
    done = subprocess.run(
        ["make", "-s", "-B", "-C", str(FOLDER), f"OUT={folder.resolve()}", "CC=gcc", f"CFLAGS={flags}"],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise SdfBuildError(done.stderr[-1000:])
    return folder / LIBRARY
