from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onecard_cli import ROOT
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


UNSTEADY = """
from pathlib import Path
from hypothesis import given, strategies

def is_first(name):
    path = Path(__file__).with_name(name)
    was_there = path.exists()
    path.touch()
    return not was_there

def test_once():
    assert not is_first("once")

@given(strategies.integers())
def test_property(number):
    assert not is_first("property")
"""


def test_only_what_is_not_random_is_tried_again_and_each_failure_is_told(tmp_path: Path) -> None:
    (tmp_path / "test_unsteady.py").write_text(UNSTEADY)
    command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-p", "tests.conftest", str(tmp_path)]
    told = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True).stdout
    assert "1 failed, 1 passed, 1 rerun" in told.splitlines()[-1]
    assert 'is_first("once")' in told
