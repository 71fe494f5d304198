"""`onecard agent selftest`: everything of a terminal tried once, with a report to print and sign."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onecard_cli.agent_config import ConfigOption, effective
from onecard_cli.office import AGENT_URL, AgentOption
from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    from onecard_cli.agent_stand import SimulatedCounter
    from terminal_agent.selftest.checks import Ask
    from terminal_agent.selftest.results import Result
    from terminal_agent.settings import AgentSettings

ANSWER_S = 120.0
SIMULATED_WAIT_S = 10.0
KEYS = "1234"
SIGNS = {"passed": "✓", "failed": "✗", "skipped": "-"}


@reports_failures
def selftest(
    simulators: Annotated[
        bool, typer.Option("--simulators", help="用模拟设备自测，不碰真设备 / with simulators of all devices")
    ] = False,
    skip: Annotated[list[str] | None, typer.Option(help="跳过 / leave out: reader, pin_pad, centre …")] = None,
    wait: Annotated[float, typer.Option(min=1, max=60, help="每步等人几秒 / seconds for people, each step")] = 30,
    report: Annotated[Path | None, typer.Option(help="报告文件 .html 或 .txt / report file")] = None,
    config: ConfigOption = None,
    agent: AgentOption = AGENT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
) -> None:
    """安装自测：逐个试读写器、设备、中心、目录、磁盘，可打印报告 / try every part of this terminal, with a report.

    The agent must be running; cards and keys are asked for here. Exit status 1 if anything failed.

    \b
    Examples: ./onecard agent selftest --report selftest.html
              ./onecard agent selftest --simulators
    """
    import httpx

    from terminal_agent.selftest.checks import SelfTest, is_good

    _demand(skip or (), report)
    found: list[Result] = []
    with _terminal(simulators, config, agent) as (url, settings, ask):
        seconds = SIMULATED_WAIT_S if simulators else wait
        with httpx.Client(base_url=url, timeout=ANSWER_S, trust_env=False) as client:
            for result in SelfTest(client, settings, ask, wait_s=seconds, left_out=skip or ()).results():
                found.append(result)
                if not as_json:
                    print(lines_of(result), flush=True)
    begun = datetime.now().astimezone()
    if as_json:
        print_json({"ok": is_good(found), "results": [result.to_json() for result in found]})
    if report is not None:
        text = paper(found, settings, begun) if report.suffix == ".html" else plain(found, settings, begun)
        report.write_text(text, encoding="utf-8")
        if not as_json:
            print(f"报告 / report: {report}")
    raise typer.Exit(0 if is_good(found) else 1)


def _demand(left_out: Iterable[str], report: Path | None) -> None:
    """Before anybody presses a key: only what exists is left out, and the report has a place. Raises CommandError."""
    from cardlib.failures import FailureCode
    from terminal_agent.selftest.checks import CAN_BE_LEFT_OUT

    for name in left_out:
        if name not in CAN_BE_LEFT_OUT:
            raise CommandError(FailureCode.INPUT_INVALID, f"--skip {name}: {', '.join(CAN_BE_LEFT_OUT)}")
    if report is not None and report.suffix not in (".html", ".txt"):
        raise CommandError(FailureCode.INPUT_INVALID, f"{report.name}: .html, .txt")
    if report is not None and not os.access(report.parent, os.W_OK):
        raise CommandError(FailureCode.INPUT_INVALID, f"--report: {report.parent}")


@contextmanager
def _terminal(simulators: bool, config: Path | None, agent: str) -> Iterator[tuple[str, AgentSettings, Ask]]:
    """Address of an agent, its settings, and who is asked to put cards in and press keys."""
    if not simulators:
        yield agent, effective(config, {}).settings, ask_people
        return
    from onecard_cli.agent_stand import simulated_counter

    with simulated_counter(persona="adult-3.0", with_pad=True) as counter:
        yield counter.where.url, counter.settings, hands_of(counter)


def ask_people(kind: str, name: str) -> None:
    from terminal_agent.selftest.checks import CODE
    from terminal_agent.selftest.results import wish

    print(f"→ {wish(kind)} ({name})", file=sys.stderr, flush=True)
    if kind == "qr_scanner" and sys.stderr.isatty():
        from onecard_ui.code_picture import picture_of

        print(blocks(picture_of(CODE.encode()).rows), file=sys.stderr, flush=True)


def hands_of(counter: SimulatedCounter) -> Ask:
    """Does with the simulators what people do with devices, as soon as the agent waits for it."""
    from terminal_agent.selftest.checks import CODE

    def keys() -> None:
        if counter.pad is not None and counter.pad.asked.wait(SIMULATED_WAIT_S):
            counter.pad.type(KEYS)

    acts = {"pin_pad": keys, "qr_scanner": lambda: counter.scanner.scan(CODE)}

    def ask(kind: str, _: str) -> None:
        if kind in acts:
            threading.Timer(0.3, acts[kind]).start()

    return ask


def blocks(rows: tuple[bytes, ...]) -> str:
    """Two rows of a code in one line of text; light modules are drawn, as terminals are dark."""
    signs = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
    padded = [*rows, bytes(len(rows[0]))] if len(rows) % 2 else list(rows)
    pairs = zip(padded[::2], padded[1::2], strict=True)
    return "\n".join("".join(signs[a, b] for a, b in zip(upper, lower, strict=True)) for upper, lower in pairs)


def lines_of(result: Result) -> str:
    about = f" ({result.about})" if result.about else ""
    first = f"{SIGNS[result.outcome]} {result.title}{about}: {result.detail}".rstrip(": ")
    if not result.remedy.zh:
        return first
    return f"{first}  [{result.code}]\n  原因 {result.cause}\n  办法 {result.remedy}"


def plain(results: list[Result], settings: AgentSettings, at: datetime) -> str:
    where = f"{settings.device_number} {settings.profile.value} {at:%Y-%m-%d %H:%M %z}"
    tail = "安装人员 / installer ____________    日期 / date ____________"
    return "\n".join(["终端自测报告 / Self test of a terminal", where, "", *map(lines_of, results), "", tail, ""])


def paper(results: list[Result], settings: AgentSettings, at: datetime) -> str:
    """One A4 page that needs no other file."""
    from onecard_cli.key_forms import TEMPLATES

    counts = {name: sum(result.outcome == name for result in results) for name in SIGNS}
    return TEMPLATES.get_template("selftest.html").render(
        results=results, settings=settings, at=at, counts=counts, signs=SIGNS
    )
