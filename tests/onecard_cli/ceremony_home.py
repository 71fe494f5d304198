"""A home made by a ceremony, once for all tests of a process, copied for each."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from onecard_cli.__main__ import app

OFFICERS = {"甲": "passphrase-one", "乙": "passphrase-two", "丙": "passphrase-three"}
REGIONS = ("--region", "990000", "--city", "990100")
PLACE = {"ONECARD_PASSPHRASE": "correct horse battery"}
TWO = ("--officer", "甲", "--officer", "乙")


def passphrases(*names: str) -> dict[str, str]:
    return {f"ONECARD_OFFICER_{n}_PASSPHRASE": OFFICERS.get(name, name) for n, name in enumerate(names, 1)}


def run(home: Path, *arguments: str, typed: str = "", **environment: str) -> Any:
    """`./onecard hsm …` with what is piped to it; 甲 and 乙 know their passphrases."""
    known = {**PLACE, **passphrases("甲", "乙"), **environment, "ONECARD_HOME": str(home)}
    return CliRunner().invoke(app, ("hsm", *arguments), input=typed, env=known)


def told(home: Path, *arguments: str) -> Any:
    result = run(home, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def init(home: Path, forms: Path, *options: str, shares: tuple[int, ...] = (1, 2, 3)) -> Any:
    """`shares` are the numbers of the forms handed in by 甲, 乙 and 丙."""
    files = [word for n in shares for word in ("--shares-from", str(forms / f"share-{n}.html"))]
    names = [word for name in OFFICERS for word in ("--officer", name)]
    return run(home, "init", *REGIONS, *names, "--forms", str(forms), *files, *options, **passphrases(*OFFICERS))


@cache
def _made() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="onecard-ceremony-"))
    atexit.register(shutil.rmtree, folder, True)
    result = init(folder / "home", folder / "forms")
    assert result.exit_code == 0, result.output
    return folder


def ceremony_home(folder: Path) -> Path:
    """`folder`/home with its forms beside."""
    shutil.copytree(_made(), folder, dirs_exist_ok=True)
    return folder / "home"
