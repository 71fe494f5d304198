"""Other card software at the counter: waited for, named, survived."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from apdu.pcsc import is_available
from tests.apdu.pcscd import missing


@pytest.mark.pcsc
def test_everybody_is_served() -> None:
    reason = missing() or is_available(needs_service=False)[1]
    if reason:
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    order = [sys.executable, "-m", "tests.terminal_agent.neighbours"]
    run = subprocess.run(order, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=110, check=False)
    assert run.returncode == 0, run.stderr
