"""`onecard sim printer`: a simulated card printer whose faults come from the keyboard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from onecard_cli.output import reports_failures


@reports_failures
def printer(
    folder: Annotated[Path, typer.Option(help="打好的卡放哪里 / where printed cards go")] = Path("printed-cards"),
    port: Annotated[int, typer.Option(help="端口，0 = 任意 / port, 0 = any")] = 9102,
    seconds: Annotated[float, typer.Option(help="打一张要几秒 / seconds for one card")] = 2.0,
    ribbon: Annotated[int | None, typer.Option(help="色带还能打几张 / cards left on the ribbon")] = None,
) -> None:
    """模拟卡面打印机：打好的卡是 SVG 图片 / a card printer; printed cards are SVG pictures in a folder.

    Lines typed here are faults: jam, paused, cover_open, ribbon_empty, hopper_empty; an empty line clears them.

    \b
    Example: ./onecard sim printer --port 9102
    """
    from simulators.printer import FAULTS, SimCardPrinter

    with SimCardPrinter(folder, port=port, print_s=seconds, ribbon=ribbon) as device:
        print(f"printer {device.address}", flush=True)
        for line in sys.stdin:
            word = line.strip()
            if word in FAULTS:
                device.fail(word)
            elif not word:
                device.clear()
            else:
                print(f"? {', '.join(FAULTS)}", file=sys.stderr)
