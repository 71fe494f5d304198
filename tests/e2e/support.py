"""The command line as a user calls it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def onecard(
    *arguments: str, home: Path | None = None, timeout_s: float = 250, given: str = ""
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"ONECARD_HOME": str(home)} if home else {})
    return subprocess.run(
        [str(ROOT / "onecard"), *arguments],
        cwd=ROOT,
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
