"""Rows that no program of ours writes: other types, other places, what waits. Each is named, none stops a check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from issuance.audit import merkle, report, sequencer, verifier
from issuance.audit.heads import AuditBrokenError
from issuance.audit.report import export_lines, fingerprints
from issuance.audit.sequencer import sequence_due
from issuance.services import Services
from tests.issuance.audit_log.stand import act, filled, found, found_outside, run_alone, unprotect
from tests.issuance.conftest import Store

LAST = "(SELECT max(id) FROM audit_entries)"
ODD = {
    "a hash that is a text": (
        "UPDATE audit_leaves SET hash = CAST(hash AS TEXT) WHERE sequence = 9",
        "leaf_changed",
        9,
    ),
    "an id that is a word": ("UPDATE audit_leaves SET entry_id = 'x' WHERE sequence = 9", "entry_missing", 9),
    "a root that is a text": ("UPDATE audit_heads SET root = CAST(root AS TEXT) WHERE size = 8", "head_signature", 7),
    "a time that is no text": (
        "UPDATE audit_heads SET at = CAST(X'FF' || CAST(substr(at, 2) AS BLOB) AS TEXT) WHERE size = 8",
        "head_signature",
        7,
    ),
    "a time that is bytes": ("UPDATE audit_heads SET at = CAST(at AS BLOB) WHERE size = 8", "head_signature", 7),
    "a version that is a word": ("UPDATE audit_heads SET key_version = 'x' WHERE size = 8", "head_key", 7),
    "a head of no size": (
        "INSERT INTO audit_heads SELECT -3, centre, root, at, key_version, frontier, signature"
        " FROM audit_heads WHERE size = 8",
        "head_signature",
        -4,
    ),
}


@pytest.mark.parametrize("case", ODD)
async def test_odd_rows_are_named_by_both(services: Services, store: Store, tmp_path: Path, case: str) -> None:
    await filled(services)
    unprotect(store)
    change, kind, place = ODD[case]
    store.sql(change)
    for findings in (await found(services), await found_outside(services, tmp_path)):
        assert (kind, place) in [(finding[0], finding[2]) for finding in findings]


@pytest.mark.parametrize(
    "change", ["level = 1 << 20", "level = -1", "level = 'x'", "position = 'x'", "hash = CAST(hash AS TEXT)"]
)
async def test_odd_subtrees_are_named(
    services: Services, store: Store, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    for module in (merkle, sequencer, report):
        monkeypatch.setattr(module, "STEP", 2)
    await filled(services)
    unprotect(store)
    store.sql(f"UPDATE audit_nodes SET {change} WHERE level = 2 AND position = 1")
    told = await report.verify_log(services)
    assert "node_changed" in [finding.kind for finding in told.findings]
    assert all(str(finding) for finding in told.findings)


WAITING = {
    "time": f"UPDATE audit_entries SET at = 'x' || substr(at, 2) WHERE id = {LAST}",
    "time that is no text": f"UPDATE audit_entries SET at = CAST(X'FF' AS TEXT) WHERE id = {LAST}",
    "seal": f"UPDATE audit_entries SET seal = NULL WHERE id = {LAST}",
}


@pytest.mark.parametrize("case", WAITING)
async def test_a_change_of_what_waits_is_named(services: Services, store: Store, case: str) -> None:
    await filled(services, 1)
    await act(services, 2)
    unprotect(store, "audit_entries_no")
    store.sql(WAITING[case])
    ((last,),) = store.sql("SELECT max(id) FROM audit_entries")
    assert [finding[:2] for finding in await found(services)] == [("seal_wrong", last)]


async def test_what_is_queued_again_is_named_and_stops_nothing(services: Services, store: Store) -> None:
    await filled(services, 1)
    await act(services, 2)
    store.sql("INSERT INTO audit_pending SELECT entry_id FROM audit_leaves WHERE sequence = 2")
    ((twice,),) = store.sql("SELECT entry_id FROM audit_leaves WHERE sequence = 2")
    assert [finding[:2] for finding in await found(services)] == [("queued_again", twice)]
    assert await sequence_due(services) == 3
    assert store.sql("SELECT subject, detail FROM audit_entries WHERE act = 'audit.broken'") == [
        (f"audit:{twice}", json.dumps({"why": "queued again"}))
    ]


async def test_a_leaf_behind_the_last_head_stops_the_log_with_its_reason(services: Services, store: Store) -> None:
    await filled(services, 1)
    await act(services, 1)
    store.sql("INSERT INTO audit_leaves SELECT max(sequence) + 1, 999, zeroblob(32) FROM audit_leaves")
    with pytest.raises(AuditBrokenError, match="behind the last signed head"):
        await sequence_due(services)


@pytest.mark.parametrize("lines", [1, 5, -1])
async def test_an_export_cut_at_a_line_is_named(services: Services, tmp_path: Path, lines: int) -> None:
    await filled(services)
    log = [line async for line in export_lines(services)]
    keys = list(fingerprints(services).values())
    assert "file_cut" in [finding[0] for finding in run_alone("".join(log[:lines]), keys, tmp_path)]


async def test_an_export_cut_within_a_line_is_refused(
    services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await filled(services)
    log = "".join([line async for line in export_lines(services)])
    (tmp_path / "log.jsonl").write_text(log[: len(log) // 2])
    (key,) = fingerprints(services).values()
    assert verifier.main([str(tmp_path / "log.jsonl"), "--key", key]) == 2
    assert "is not a record" in capsys.readouterr().err


async def test_an_export_of_tables_that_are_gone_says_so(services: Services, store: Store) -> None:
    await filled(services, 1)
    store.sql("DROP TABLE audit_leaves")
    with pytest.raises(AuditBrokenError):
        [line async for line in export_lines(services)]
