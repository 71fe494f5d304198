"""The log at work: replicas, crashes, rotated keys, exports, proofs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from hsm.api import Purpose
from issuance.audit import sequencer, verifier
from issuance.audit.heads import AUDIT_HEAD, AuditBrokenError, HeadFile
from issuance.audit.report import export_lines, fingerprints, verify_log
from issuance.audit.sequencer import sequence_due
from issuance.services import Services
from issuance.unit import system_unit
from tests.issuance.audit_log.stand import COUNT, act, both, filled, found, unprotect
from tests.issuance.conftest import Centre, Store, both_engines, ok, refused


@both_engines
async def test_a_whole_log_is_whole(centre: Centre, services: Services, tmp_path: Path) -> None:
    await filled(services)
    assert await both(services, tmp_path) == []
    report = await verify_log(services)
    assert (report.entries, report.heads, report.waiting, report.unsealed) == (COUNT + 4, 3, 0, 4)
    await act(services, 2)
    assert (await verify_log(services)).waiting == 2
    centre.clock.advance(services.settings.audit_wait_s + 1)
    assert [kind for kind, *_ in await found(services)] == ["waiting"]
    entry = ok(await centre.as_("operator").get("/v1/audit", params={"limit": 1}))[0]
    assert (entry["reason"], entry["place"]) == ("应办", "")


@both_engines
async def test_the_tree_cannot_be_changed(services: Services, store: Store) -> None:
    await filled(services, 1)
    store.sql("INSERT INTO audit_nodes (level, position, hash) SELECT 8, 0, hash FROM audit_leaves WHERE sequence = 0")
    for table, column in (("audit_leaves", "hash"), ("audit_nodes", "hash"), ("audit_heads", "root")):
        statements = [f"DELETE FROM {table}", f"UPDATE {table} SET {column} = NULL"]
        if store.url.startswith("sqlite"):
            statements.append(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")
        for statement in statements:
            with pytest.raises(DBAPIError, match="append-only"):
                store.sql(statement)
    assert ("node_changed", None, 0, 255) in await found(services)


@both_engines
async def test_sequencers_of_several_replicas(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that come meanwhile, and rounds at the same moment: each entry once, in one unbroken tree."""
    monkeypatch.setattr(sequencer, "ROUND", 5)

    async def work() -> None:
        for _ in range(5):
            await act(services, 3)
            await sequence_due(services)

    await asyncio.gather(*(work() for _ in range(3)))
    while await sequence_due(services):
        continue
    report = await verify_log(services)
    assert (report.findings, report.waiting, report.entries) == ([], 0, 3 * 15 + 4)


async def test_a_crash_between_commit_and_file(services: Services) -> None:
    """A line cut in the middle is written anew; heads the file missed are added."""
    await filled(services)
    path = services.settings.audit_heads_path
    assert path is not None
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:50])
    await sequence_due(services)
    assert path.read_bytes() == whole
    assert [head["size"] for head in HeadFile(path).heads()] == [8, 12, 16]


async def test_a_log_that_was_rolled_back_gets_no_new_head(services: Services, store: Store) -> None:
    """The job stops; what it did not take stays in line."""
    await filled(services)
    unprotect(store, "audit_leaves")
    unprotect(store, "audit_heads")
    store.sql("DELETE FROM audit_heads WHERE size > 8")
    store.sql("DELETE FROM audit_leaves WHERE sequence >= 8")
    await act(services, 1)
    with pytest.raises(AuditBrokenError, match="heads file knows a head of size 16"):
        await sequence_due(services)
    assert store.sql("SELECT count(*) FROM audit_pending") == [(1,)]


async def test_a_changed_head_stops_the_job(services: Services, store: Store) -> None:
    await filled(services, 1)
    unprotect(store, "audit_heads")
    store.sql("UPDATE audit_heads SET frontier = zeroblob(32)")
    await act(services, 1)
    with pytest.raises(AuditBrokenError, match="does not verify"):
        await sequence_due(services)


async def test_heads_under_a_rotated_key_and_a_clock_set_back(
    centre: Centre, services: Services, tmp_path: Path
) -> None:
    await filled(services, 1)
    services.keys.generate_pair(replace(AUDIT_HEAD, version=2), Purpose.SIGN)
    services.keys.retire(AUDIT_HEAD)
    centre.clock.advance(-3600)
    await act(services, 1)
    await sequence_due(services)
    assert await both(services, tmp_path) == []
    assert set(fingerprints(services)) == {1, 2}
    times = [head["at"] for head in HeadFile(tmp_path / "anchor" / "heads.jsonl").heads()]
    assert times == sorted(times)


async def test_a_log_signed_by_somebody_else(services: Services) -> None:
    await filled(services, 1)
    lines = [line async for line in export_lines(services)]
    check = verifier.check_export(lines, {"00" * 32}, [], verifier.sm3)
    assert [finding.kind for finding in check.findings] == ["unsigned", "head_key", "head_key"]


async def test_an_export_that_was_cut(services: Services) -> None:
    await filled(services)
    lines = [line async for line in export_lines(services)]
    keys = set(fingerprints(services).values())
    for kept in (lines[:-1], lines[:-2] + lines[-1:], lines[:5]):
        assert "file_cut" in [finding.kind for finding in verifier.check_export(kept, keys, [], verifier.sm3).findings]
    for bad in ([], ["{}"], ["[1]"], [lines[0], "x"]):
        with pytest.raises(verifier.FormatError):
            verifier.check_export(bad, keys, [], verifier.sm3)


@both_engines
async def test_proofs_by_http(centre: Centre, services: Services) -> None:
    await filled(services)
    operator = centre.as_("operator")
    state = ok(await operator.get("/v1/audit/head"))
    assert state["head"]["size"] == COUNT + 4
    keys = set(state["fingerprints"].values())
    ids = [row[0] for row in centre.store.sql("SELECT entry_id FROM audit_leaves ORDER BY sequence")]
    for entry_id in (ids[0], ids[7], ids[-1]):
        proof = ok(await operator.get(f"/v1/audit/{entry_id}/proof"))
        assert verifier.check_proof(proof, keys, verifier.sm3) == []
        forged = proof | {"entry": proof["entry"] | {"outcome": "other"}}
        assert [finding.kind for finding in verifier.check_proof(forged, keys, verifier.sm3)] == ["proof_wrong"]
    growth = ok(await operator.get("/v1/audit/consistency", params={"first": 8}))
    assert verifier.check_proof(growth, keys, verifier.sm3) == []
    growth["old"]["root"] = growth["head"]["root"]
    assert [finding.kind for finding in verifier.check_proof(growth, keys, verifier.sm3)] == ["head_signature"]
    refused(await operator.get("/v1/audit/consistency", params={"first": 7}), "NOT_FOUND", 404)
    refused(await operator.get("/v1/audit/999999/proof"), "NOT_FOUND", 404)
    await centre.register("hebei", ("operator",), "130000")
    refused(await centre.as_("hebei").get(f"/v1/audit/{ids[-1]}/proof"), "NOT_FOUND", 404)


async def test_a_changed_export_is_never_taken_for_whole(services: Services, tmp_path: Path) -> None:
    """One character anywhere: a finding or a refusal; accepted only where the records say the same."""
    await filled(services, 1)
    text = "".join([line async for line in export_lines(services)])
    keys = [part for key in fingerprints(services).values() for part in ("--key", key)]
    file = tmp_path / "changed.jsonl"

    def records(lines: str) -> list[Any]:
        found = [json.loads(line.lower()) for line in lines.split("\n")[:-1]]
        return [record for record in found if "anchor" not in record]

    @settings(max_examples=100)
    @given(st.integers(0, len(text) - 1), st.characters(codec="utf-8"))
    def check(place: int, letter: str) -> None:
        changed = text[:place] + letter + text[place + 1 :]
        file.write_text(changed, encoding="utf-8")
        code = verifier.main([str(file), *keys])
        assert code in (0, 1, 2)
        assert code or records(changed) == records(text)

    check()
    renumbered = text.replace('"entry_id":1,', '"entry_id":0,', 1).replace('"entry_id": 1,', '"entry_id": 0,', 1)
    assert renumbered != text
    file.write_text(renumbered, encoding="utf-8")
    assert verifier.main([str(file), *keys]) in (1, 2)
    for hostile in ("[" * 100_000, '{"onecard_audit":1,"keys":[]}', '{"onecard_audit":1}\n{"leaf":"x"}', "\0"):
        file.write_text(hostile, encoding="utf-8")
        assert verifier.main([str(file), *keys]) in (1, 2)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_nobody_waits_for_the_log(services: Services, store: Store, tmp_path: Path) -> None:
    """While one act is not committed yet others are, and get their places; the smaller id then comes later."""
    async with system_unit(services) as slow:
        await slow.audit("test.slow", "card:1", region=None)
        await slow.session.flush()
        await asyncio.wait_for(act(services, 2), 30)
        assert await asyncio.wait_for(sequence_due(services), 30) == 6
    assert await sequence_due(services) == 1
    query = "SELECT e.act, l.sequence FROM audit_leaves l JOIN audit_entries e ON e.id = l.entry_id ORDER BY e.id"
    assert store.sql(query)[-3:] == [("test.slow", 6), ("test.act", 4), ("test.act", 5)]
    assert await both(services, tmp_path) == []
