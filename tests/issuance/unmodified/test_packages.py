"""Packages of npm, fetched by several processes at once on a new machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.npm import npm_package


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: name)
    return tmp_path / "onecard" / "kit-1"


def fetched(by: str, folder: Path) -> None:
    package = folder / "node_modules" / "kit"
    package.mkdir(parents=True)
    (package / "by").write_text(by, "utf-8")


def test_who_comes_later_leaves_what_another_reads_already(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(order: list[str], **_: Any) -> None:
        fetched("us", Path(order[order.index("--prefix") + 1]))
        fetched("another", cache)

    monkeypatch.setattr(subprocess, "run", install)
    package = npm_package("kit", "1")
    assert package == cache / "node_modules" / "kit"
    assert (package / "by").read_text("utf-8") == "another"


def test_what_a_broken_fetch_left_is_replaced(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "node_modules").mkdir(parents=True)
    monkeypatch.setattr(subprocess, "run", lambda order, **_: fetched("us", Path(order[order.index("--prefix") + 1])))
    assert npm_package("kit", "1") == cache / "node_modules" / "kit"
