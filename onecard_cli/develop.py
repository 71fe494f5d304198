"""`onecard test`, `onecard check`, `onecard bench`: what developers and CI run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from onecard_cli import ROOT
from onecard_cli.output import reports_failures

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
)


def test(ctx: typer.Context) -> None:
    """运行全部测试；其余参数交给 pytest / run all tests, further arguments go to pytest.

    \b
    Example: ./onecard test -k session
    """
    chosen = any(a.startswith(("-n", "--pdb")) for a in ctx.args)
    # Stealing: else whoever holds the last batch of whole-process tests works on alone for a minute.
    workers = [] if chosen else ["-n", _workers(), "--dist", "worksteal"]
    command = [sys.executable, "-m", "pytest", *workers, *ctx.args]
    with _quick_disk() as environment:
        raise typer.Exit(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)


def check() -> None:
    """静态检查 / ruff, mypy --strict and the import contract.

    \b
    Example: ./onecard check
    """
    failed = []
    for name, *arguments in CHECKS:
        tool = str(ROOT / ".venv" / "bin" / name)
        print(f"== {name} {' '.join(arguments)}", flush=True)
        if subprocess.run([tool, *arguments], cwd=ROOT, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"✗ {', '.join(failed)}")
        raise typer.Exit(1)


@reports_failures
def bench(
    only: Annotated[
        str | None,
        typer.Option(
            help="crypto, apdu, cards, flows, readers, ifd, catalog, wire, keys, fuzz, chaos, soak, production, issue, "
            "api, audit, console, pictures, ecard, login, block-list, agent, agent-insertions, agent-lists, journal, "
            "journal-soak, takings, terminals, transit"
        ),
    ] = None,
    inputs: Annotated[int, typer.Option(min=1, help="fuzz：每个对象的输入数 / inputs for each target")] = 1_000_000,
    seconds: Annotated[float, typer.Option(min=1, help="soak：每个后端的秒数 / seconds for each backend")] = 120,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
) -> None:
    """测量并与同类对比；wire 以后的需点名 / measure, each figure with its peer in one run; those after wire, up to
    minutes each, run only when named.

    \b
    Example: ./onecard bench --only crypto
    """
    from bench.run import run

    run(only, as_json=as_json, inputs=inputs, seconds=seconds)


def _workers() -> str:
    # One more than processors: many tests wait for a browser, a card or a process.
    return str(min(4, (os.cpu_count() or 1) + 1))


@contextmanager
def _quick_disk() -> Iterator[dict[str, str]]:
    """An environment in which no process waits until its writes are on the disk; the usual one where there is no
    compiler, or where what it makes cannot be loaded (a `noexec` folder)."""
    compiler = shutil.which("gcc")
    with tempfile.TemporaryDirectory(prefix="onecard-test-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another account
        library = Path(folder) / "quick_disk.so"
        preloaded = " ".join(filter(None, (os.environ.get("LD_PRELOAD"), str(library))))
        quick = dict(os.environ) | {"LD_PRELOAD": preloaded}
        make = [str(compiler), "-shared", "-fPIC", "-o", str(library), str(ROOT / "tests" / "quick_disk.c")]
        can_be_made = compiler and _is_silent(make, os.environ)
        yield quick if can_be_made and _is_silent([sys.executable, "-SEc", ""], quick) else dict(os.environ)


def _is_silent(command: list[str], environment: Mapping[str, str]) -> bool:
    done = subprocess.run(command, env=environment, check=False, capture_output=True)
    return not done.returncode and not done.stderr
