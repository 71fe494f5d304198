"""Builds the token library where a compiler and OpenSSL 3 are; no headers of either are needed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from simulators.sdf_device.library import BUILD_TIMEOUT_S, SdfBuildError, is_available

FOLDER = Path(__file__).parent
PROFILE = FOLDER / "vendor.toml"
LIBRARY = "libonecard_pkcs11.so"


def build(folder: Path, behind: Path) -> Path:
    """The library, fresh in `folder`, over the PKCS#11 library `behind`. Raises SdfBuildError."""
    is_possible, reason = is_available()
    if not is_possible:
        raise SdfBuildError(reason)
    done = subprocess.run(
        ["make", "-s", "-B", "-C", str(FOLDER), f"OUT={folder.resolve()}", f"BEHIND={behind}", "CC=gcc"],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise SdfBuildError(done.stderr[-1000:])
    return folder / LIBRARY
