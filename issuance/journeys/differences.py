"""From a terminal's own sum of its day to what is booked, line by line; no database here.

The terminal counts by its clock and counts what it wrote down; the books count by the day that it really was and only
what is true. Every line is one of the reasons for which the two differ, and the lines add up to the fen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tomllib import loads
from typing import Final, get_args

from issuance.journeys.schemas import CountAndSum, DifferenceLine, LineKind, RecordName

_WORDS: Final = Path(__file__).with_name("lines.toml")
_UNEXPLAINED: Final = frozenset({"unexplained", "unsaid"})
NAMED: Final = 20
"""Records that a line names."""


@dataclass(slots=True)
class Part:
    count: int = 0
    fen: int = 0

    def add(self, count: int, fen: int) -> None:
        self.count, self.fen = self.count + count, self.fen + fen


@dataclass(slots=True)
class Received:
    """Records of one terminal. `told`: of the clock's day, all that the terminal counts as taken; of them `after` came
    after its last statement, and `lost` are taken back, by reason. `moved_in` and `moved_out` are takings whose day is
    another than the clock's; `rejected` were sent and could not be used; `gaps`: sequences that are not here, by
    journal."""

    told: Part = field(default_factory=Part)
    after: Part = field(default_factory=Part)
    lost: dict[LineKind, Part] = field(default_factory=lambda: defaultdict(Part))
    moved_in: Part = field(default_factory=Part)
    moved_out: Part = field(default_factory=Part)
    rejected: Part = field(default_factory=Part)
    gaps: dict[str, tuple[int, int]] = field(default_factory=dict)
    records: dict[LineKind, list[RecordName]] = field(default_factory=lambda: defaultdict(list))


def lines_of(said: CountAndSum | None, received: Received, *, is_over: bool) -> tuple[DifferenceLine, ...]:
    """`is_over`: the terminal has had its time to say how the day ended."""
    found: dict[LineKind, Part] = {}
    if said is None:
        # There is nothing to compare; the books stand on the records alone.
        if received.told.count and is_over:
            found["unsaid"] = Part(received.told.count, received.told.fen)
        elif received.told.count:
            found["after_statement"] = Part(received.told.count, received.told.fen)
    else:
        found |= _statement_lines(said, received)
    found |= {kind: Part(part.count, -part.fen) for kind, part in received.lost.items()}
    found["moved_out"] = Part(received.moved_out.count, -received.moved_out.fen)
    found["moved_in"] = received.moved_in
    wanted = [(kind, found[kind]) for kind in get_args(LineKind) if kind in found]
    return tuple(_line(kind, part, received) for kind, part in wanted if part.count or part.fen)


def _statement_lines(said: CountAndSum, received: Received) -> dict[LineKind, Part]:
    """What the terminal counted against what came of it."""
    found: dict[LineKind, Part] = {"after_statement": received.after}
    wanting = Part(said.count - received.told.count + received.after.count)
    wanting.fen = said.fen - received.told.fen + received.after.fen
    rejected = received.rejected
    if rejected.count:
        found["rejected"] = Part(rejected.count, -rejected.fen)
        wanting.add(-rejected.count, -rejected.fen)
    missing = sum(last - first + 1 for first, last in received.gaps.values())
    kind: LineKind = "missing" if 0 < wanting.count <= missing else "unexplained"
    if wanting.count or wanting.fen:
        found[kind] = Part(abs(wanting.count), -wanting.fen)
    return found


def _line(kind: LineKind, part: Part, received: Received) -> DifferenceLine:
    zh, en = texts()[kind]
    return DifferenceLine(
        kind=kind,
        count=part.count,
        fen=part.fen,
        is_explained=kind not in _UNEXPLAINED,
        text_zh=zh,
        text_en=en,
        records=tuple(received.records.get(kind, ())[:NAMED]),
        journals=received.gaps if kind == "missing" else {},
    )


def difference_fen(lines: Iterable[DifferenceLine]) -> int:
    return sum(line.fen for line in lines)


def is_explained(lines: Sequence[DifferenceLine]) -> bool:
    return all(line.is_explained for line in lines)


@cache
def texts() -> Mapping[str, tuple[str, str]]:
    """Chinese and English by kind of line."""
    given = loads(_WORDS.read_text(encoding="utf-8"))
    return {kind: (given[kind]["zh"], given[kind]["en"]) for kind in get_args(LineKind)}
