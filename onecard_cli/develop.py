"""`onecard test`, `onecard check`, `onecard bench`: what developers and CI run."""

from __future__ import annotations

import os
import subprocess
import sys
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
    raise typer.Exit(subprocess.run(command, cwd=ROOT, check=False).returncode)


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
            help="crypto, apdu, cards, flows, readers, ifd, wire, keys, fuzz, chaos, soak, production, issue, api, "
            "audit, console, pictures, ecard, login, block-list, agent, agent-insertions, "
            "agent-lists, journal, journal-soak, terminals"
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
