"""Packages from npm that tests and benches compare with: kept in the user's cache, never in the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def npm_package(name: str, version: str) -> Path | None:
    """The package's folder, fetched once; None where npm or its registry is missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onecard" / f"{name}-{version}"
    folder = cache / "node_modules" / name
    npm = shutil.which("npm")
    if not folder.exists() and npm is not None:
        order = [npm, "install", "--prefix", str(cache), "--no-audit", "--no-fund", "--no-save", f"{name}@{version}"]
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(order, capture_output=True, timeout=120, check=False)
    return folder if folder.exists() else None
