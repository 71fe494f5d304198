from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from onecard_cli.develop import _quick_disk

PIPE_ON_DISK = "import os; os.fsync(os.pipe()[1])"
"""What the kernel refuses."""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler")
def test_tests_do_not_wait_for_the_disk() -> None:
    with _quick_disk() as environment:
        subprocess.run([sys.executable, "-SEc", PIPE_ON_DISK], env=environment, check=True)


@pytest.mark.parametrize("compiler", [None, "/bin/true"], ids=["no compiler", "nothing that can be loaded"])
def test_else_they_do(monkeypatch: pytest.MonkeyPatch, compiler: str | None) -> None:
    monkeypatch.setattr("onecard_cli.develop.shutil.which", lambda _: compiler)
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    with _quick_disk() as environment:
        assert "LD_PRELOAD" not in environment
