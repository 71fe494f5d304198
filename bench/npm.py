"""Packages from npm that tests and benches compare with: kept in the user's cache, never in the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory


def npm_package(name: str, version: str) -> Path | None:
    """The package's folder, fetched once; None where npm or its registry is missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onecard" / f"{name}-{version}"
    folder = cache / "node_modules" / name
    npm = shutil.which("npm")
    if not folder.exists() and npm is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache.parent, prefix=f"{cache.name}-", ignore_cleanup_errors=True) as made:
            order = [npm, "install", "--prefix", made, "--no-audit", "--no-fund", "--no-save", f"{name}@{version}"]
            subprocess.run(order, capture_output=True, timeout=120, check=False)
            if (Path(made) / "node_modules" / name).exists() and not folder.exists():
                shutil.rmtree(cache, ignore_errors=True)  # what a broken fetch left
                with suppress(OSError):  # another process was faster
                    Path(made).rename(cache)
    return folder if folder.exists() else None
