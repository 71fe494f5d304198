"""How batches, files, lines and work are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from issuance.input_rules import shape_error
from issuance.production.files import PART_BYTES
from issuance.production.models import BatchRow, FileRow, JobRow, LineRow, RejectRow
from issuance.production.schemas import (
    BatchSummary,
    BatchView,
    FileView,
    JobView,
    LineView,
    RejectView,
    StageCounts,
)
from issuance.production.states import (
    BATCH_CODES,
    LINE_CODES,
    PRODUCTION_CODES,
    BatchState,
    LineState,
    Outcome,
    Stage,
    stages_of,
)


def _columns(row: object, names: Any, *others: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names if name not in others}


def stage_counts(stage: Stage, outcomes: Mapping[tuple[str, str], int], unread: Mapping[str, int]) -> StageCounts:
    waiting, ok, failed = (outcomes.get((stage.value, o.value), 0) for o in (Outcome.SENT, Outcome.OK, Outcome.FAILED))
    bad = unread.get(stage.value, 0)
    return StageCounts(
        stage=stage.value,
        sent=waiting + ok + failed,
        ok=ok,
        failed=failed,
        bad=bad,
        missing=waiting - bad,
        unsent=outcomes.get((stage.value, Outcome.UNSENT.value), 0),
    )


def batch_view(
    row: BatchRow, states: dict[str, int], outcomes: Mapping[tuple[str, str], int], unread: Mapping[str, int]
) -> BatchView:
    code, text_zh, text_en = BATCH_CODES[BatchState(row.state)]
    shown = [stage_counts(stage, outcomes, unread) for stage in stages_of(row.has_certificates)]
    derived: dict[str, Any] = {
        "state_code": code,
        "state_zh": text_zh,
        "state_en": text_en,
        "by_state": states,
        "stages": shown,
    }
    return BatchView(**_columns(row, BatchView.model_fields, *derived), **derived)


def summary(row: BatchRow) -> BatchSummary:
    code, text_zh, _ = BATCH_CODES[BatchState(row.state)]
    derived: dict[str, Any] = {"state_code": code, "state_zh": text_zh}
    return BatchSummary(**_columns(row, BatchSummary.model_fields, *derived), **derived)


def file_view(row: FileRow) -> FileView:
    return FileView(**_columns(row, FileView.model_fields, "part_bytes"), part_bytes=PART_BYTES)


def job_view(row: JobRow) -> JobView:
    """The rate is of the time spent working, not of the time since the start."""
    rate = round(row.done * 1000 / row.busy_ms, 1) if row.busy_ms else 0.0
    eta = round((row.total - row.done) / rate) if rate and row.state == "running" else None
    return JobView(**_columns(row, JobView.model_fields, "lines_per_s", "eta_s"), lines_per_s=rate, eta_s=eta)


def line_view(row: LineRow) -> LineView:
    code, text_zh, _ = LINE_CODES[LineState(row.state)]
    production = PRODUCTION_CODES[LineState(row.state)]
    derived: dict[str, Any] = {"state_code": code, "state_zh": text_zh, "production_code": production}
    return LineView(**_columns(row, LineView.model_fields, *derived), **derived)


def reject_view(row: RejectRow) -> RejectView:
    words = shape_error(row.column, row.rule, row.limits)
    return RejectView(
        line_number=row.line_number,
        sequence=row.sequence,
        column=row.column,
        **words.model_dump(exclude={"location"}),
    )
