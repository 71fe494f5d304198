"""npm's oidc-provider, the peer of our own provider in tests and in the bench."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.npm import npm_package

VERSION: Final = "9.13.3"
_SCRIPT: Final = Path(__file__).with_suffix(".mjs")


@dataclass(frozen=True, slots=True)
class PeerProvider:
    issuer: str
    process: subprocess.Popen[str]


def problem() -> str:
    """Why there is none here; empty where there is one."""
    if shutil.which("node") is None:
        return "node is not installed"
    return "" if npm_package("oidc-provider", VERSION) else "npm or its registry is missing"


@contextmanager
def running(*, is_automatic: bool = False) -> Iterator[PeerProvider]:
    """`is_automatic`: whoever comes is logged in without a page. Raises OSError where `problem` tells one."""
    folder = npm_package("oidc-provider", VERSION)
    if folder is None:
        raise OSError(problem())
    order = ["node", str(_SCRIPT), str(folder), *(["auto"] if is_automatic else [])]
    with subprocess.Popen(order, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        issuer = process.stdout.readline().strip()
        if not issuer:
            raise OSError("oidc-provider did not start")
        try:
            yield PeerProvider(issuer, process)
        finally:
            process.stdin.close()
            process.wait(10)
