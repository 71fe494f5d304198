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
PG_VERSION: Final = "8.23.1"
"""Of the client of PostgreSQL that keeps its data where it is to keep any."""
_SCRIPT: Final = Path(__file__).with_suffix(".mjs")


@dataclass(frozen=True, slots=True)
class PeerProvider:
    issuer: str
    process: subprocess.Popen[str]


@dataclass(frozen=True, slots=True)
class Kept:
    """A database of the PostgreSQL server whose socket is in `folder`."""

    folder: Path
    user: str
    database: str


def problem() -> str:
    """Why there is none here; empty where there is one."""
    if shutil.which("node") is None:
        return "node is not installed"
    return "" if npm_package("oidc-provider", VERSION) else "npm or its registry is missing"


@contextmanager
def running(*, is_automatic: bool = False, kept: Kept | None = None) -> Iterator[PeerProvider]:
    """`is_automatic`: whoever comes is logged in without a page. `kept`: where it keeps all, else in memory; of one
    that is automatic. Raises OSError where `problem` tells one.
    """
    folder = npm_package("oidc-provider", VERSION)
    client = None if kept is None else npm_package("pg", PG_VERSION)
    if folder is None or (kept is not None and client is None):
        raise OSError(problem() or "npm or its registry is missing")
    order = ["node", str(_SCRIPT), str(folder), *(["auto"] if is_automatic else [])]
    if kept is not None:
        order += [str(client), str(kept.folder), kept.user, kept.database]
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
