"""Filling the log, touching it as an administrator of the database can, and asking both verifiers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from issuance.audit import verifier
from issuance.audit.report import export_lines, fingerprints, verify_log
from issuance.audit.sequencer import sequence_due
from issuance.services import Services
from issuance.unit import system_unit
from tests.issuance.conftest import Store

COUNT = 12
PROTECTED = ("audit_entries", "audit_leaves", "audit_nodes", "audit_heads")


async def act(services: Services, count: int, region: str = "110000") -> None:
    async with system_unit(services) as unit:
        for number in range(count):
            await unit.audit(
                "test.act", f"card:{number:09d}", region=region, reason="应办", detail={"n": number, "x": "é"}
            )


async def filled(services: Services, rounds: int = 3) -> None:
    """Some rounds of the sequencer, a signed head each."""
    for _ in range(rounds):
        await act(services, COUNT // 3)
        assert await sequence_due(services)


def unprotect(store: Store, name: str = "audit_") -> None:
    """What an administrator of the database can do."""
    if store.url.startswith("sqlite"):
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE :name"
        for (trigger,) in store.sql(query, name=f"{name}%"):
            store.sql(f"DROP TRIGGER {trigger}")
        return
    for table in PROTECTED:
        store.sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")


async def found(services: Services) -> list[tuple[str, int | None, int, int]]:
    report = await verify_log(services)
    return [(finding.kind, finding.entry_id, finding.first, finding.last) for finding in report.findings]


async def found_outside(services: Services, folder: Path) -> list[tuple[str, int | None, int, int]]:
    """By the verifier as a regulator runs it: its own file, Python, an export, the published key, anchored heads."""
    log = "".join([line async for line in export_lines(services)])
    return run_alone(log, list(fingerprints(services).values()), folder)


def run_alone(log: str, keys: list[str], folder: Path) -> list[tuple[str, int | None, int, int]]:
    alone, heads = folder / "alone", folder / "anchor" / "heads.jsonl"
    alone.mkdir(exist_ok=True)
    (alone / "verifier.py").write_bytes(Path(verifier.__file__).read_bytes())
    (alone / "log.jsonl").write_text(log)
    command = [sys.executable, "-I", "verifier.py", "log.jsonl", "--json"]
    command += [part for key in keys for part in ("--key", key)]
    command += ["--heads", str(heads)] if heads.exists() else []
    done = subprocess.run(command, capture_output=True, text=True, cwd=alone, env={}, check=False)
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert (done.returncode == 0) is report["ok"] is (not report["findings"])
    return [(f["kind"], f["entry_id"], f["first_leaf"], f["last_leaf"]) for f in report["findings"]]


async def both(services: Services, folder: Path) -> list[tuple[str, int | None, int, int]]:
    """What both name; the service may name seals and kept subtrees on top."""
    mine, alone = await found(services), await found_outside(services, folder)
    extra = {"seal_wrong", "outside", "copied", "node_changed"}
    assert [finding for finding in mine if finding[0] not in extra] == alone
    return alone
