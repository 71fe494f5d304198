"""One question to the whole catalog, every item with its reasons, beside the plain filter that gives none."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

from rich.table import Table

from apps_catalog import Carrier, Catalog, Holder, Opened, load
from bench.measure import BenchError, heading, latencies, mark

TARGET_US: Final = 1000.0
DAY: Final = date(2026, 12, 1)
HOLDER: Final = Holder(
    "130000", age=70, generation="3.0", ecard_level=2, categories=frozenset(), opened=frozenset(Opened)
)
QUESTIONS: Final = {
    "qr": (Carrier.QR, False),
    "contactless, offline": (Carrier.CONTACTLESS, True),
    "any carrier": (None, False),
}
FILTER: Final = "filter without reasons"


@dataclass(frozen=True, slots=True)
class CatalogRow:
    question: str
    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class CatalogFigures:
    items: int
    rows: tuple[CatalogRow, ...]

    def tables(self) -> list[Table | str]:
        table = Table(title=f"应用目录 / catalog: {self.items} 项 / items", title_justify="left")
        for column in (heading("问题", "question"), "p50 µs", "p99 µs", f"≤ {TARGET_US:.0f} µs"):
            table.add_column(column)
        for row in self.rows:
            met = None if row.question == FILTER else row.p50_us <= TARGET_US
            table.add_row(row.question, f"{row.p50_us:.1f}", f"{row.p99_us:.1f}", mark(met))
        return [table]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"target_us": TARGET_US}


def measure(*, rounds: int = 5, calls: int = 400, catalog: Catalog | None = None) -> CatalogFigures:
    """Raises BenchError when a question has no answer for some item: then nothing was measured."""
    asked = catalog or load()
    actions: dict[str, Any] = {
        name: lambda carrier=carrier, offline=offline: asked.what(
            HOLDER, "110000", on=DAY, carrier=carrier, offline=offline
        )
        for name, (carrier, offline) in QUESTIONS.items()
    }
    for name, action in actions.items():
        if [answer.item for answer in action()] != list(asked.items):
            raise BenchError(f"{name}: an item has no answer")
    actions[FILTER] = lambda: asked.what_can("110000", holder_region="130000", on=DAY, carrier=Carrier.QR)
    seen = latencies(actions, rounds=rounds, calls=calls)
    rows = tuple(CatalogRow(name, latency.p50_us, latency.p99_us) for name, latency in seen.items())
    return CatalogFigures(len(asked.items), rows)
