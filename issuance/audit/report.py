"""Verifying, exporting and proving: what `onecard audit` and the endpoints show.

The log is read in one transaction, page by page, and goes through the same `LogCheck` that a regulator's copy of
`verifier.py` runs; what only the service can know comes on top: seals, kept subtrees, entries that no leaf counts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.audit.heads import AuditBrokenError, HeadFile, head_key, public_keys, sm3, tree_of, verify
from issuance.audit.log import Leaf, LogRepository
from issuance.audit.merkle import STEP, Node, consistency_path, inclusion_path
from issuance.audit.sequencer import is_bootstrap
from issuance.audit.verifier import Finding, FormatError, Frontier, LogCheck
from issuance.problems import ProblemError

if TYPE_CHECKING:
    from issuance.services import Services

VERSION = 1
_MAX_LEVEL = 64
_FIRST = -(1 << 63)
"""Before any size that a changed head may have."""
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """`waiting`: entries that are not in the tree yet; `unsealed`: those from before there were seals, and clients
    registered on the server itself."""

    entries: int
    heads: int
    waiting: int
    unsealed: int
    findings: list[Finding]

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": not self.findings,
            "entries": self.entries,
            "heads": self.heads,
            "waiting": self.waiting,
            "unsealed": self.unsealed,
            "findings": [finding.to_json() for finding in self.findings],
        }


async def verify_log(services: Services, *, anchored: list[Record] | None = None) -> Report:
    """Everything, entry by entry. Raises AuditBrokenError where not even the tables can be read."""
    heads = await asyncio.to_thread(_anchored, services) if anchored is None else anchored
    try:
        async with services.database.transaction(is_reading=True) as session:
            return await _Verification(services, session, heads).run()
    except (DBAPIError, FormatError, TypeError, ValueError) as error:  # whatever a changed row may hold
        raise AuditBrokenError(f"the tables cannot be read: {type(error).__name__}") from error


class _Verification:
    def __init__(self, services: Services, session: AsyncSession, anchored: list[Record]) -> None:
        self._services = services
        self._log = LogRepository(session)
        self._check = LogCheck(sm3(), verify, public_keys(services.keys))
        self._check.anchor(anchored)
        self._tree = Frontier(sm3())
        self._nodes: dict[Node, bytes] = {}
        self._unsealed = 0
        self._may_be_old = True

    async def run(self) -> Report:
        async for kind, item in records_of(self._log):
            if kind == "head":
                self._check.head(item)
                continue
            for leaf in item:
                self._check.leaf(*leaf)
            await asyncio.to_thread(self._look_at, item)
        self._check.end()
        await self._compare_nodes()
        waiting = await self._look_beside()
        findings = sorted(self._check.findings, key=lambda finding: (finding.first, finding.kind))
        return Report(self._check.leaves, self._check.heads, waiting, self._unsealed, findings)

    def _look_at(self, leaves: list[Leaf]) -> None:
        """Seals, and the subtrees over the hashes that are on record."""
        for sequence, entry_id, recorded, entry in leaves:
            if entry is not None and entry["seal"] is None and (self._may_be_old or is_bootstrap(entry)):
                self._unsealed += 1
            elif entry is not None:
                self._may_be_old = False
                if not self._services.audit_seal.fits(entry):
                    self._find("seal_wrong", sequence, entry_id)
            if sequence == self._tree.size and len(recorded) == 64:
                grown = self._tree.append(bytes.fromhex(recorded))
                self._nodes |= {(level, place): value for level, place, value in grown if level % STEP == 0}

    async def _compare_nodes(self) -> None:
        """A kept subtree that is wrong makes wrong proofs; where leaves are missing they are named already."""
        async for (level, place), value in self._log.nodes():
            if (level, place) not in self._nodes and self._tree.size < self._check.leaves:
                continue
            if self._nodes.pop((level, place), None) != value:
                self._find_node(level, place)
        for level, place in self._nodes:
            self._find_node(level, place)

    def _find_node(self, level: Any, place: Any) -> None:
        """By the leaves under it; one that says of itself that it is where no tree reaches by that."""
        if isinstance(level, int) and 0 <= level < _MAX_LEVEL and isinstance(place, int):
            self._find("node_changed", place << level, None, ((place + 1) << level) - 1)
        else:
            end = self._check.leaves
            self._check.findings.append(Finding("node_changed", end, end, None, f"level {level}, position {place}"))

    async def _look_beside(self) -> int:
        for kind, entry_ids in (
            ("outside", await self._log.outside()),
            ("copied", await self._log.copies()),
            ("queued_again", await self._log.queued_again()),
        ):
            for entry_id in entry_ids:
                self._find(kind, self._check.leaves, entry_id)
        limit = self._services.clock() - timedelta(seconds=self._services.settings.audit_wait_s)
        count, oldest = await self._log.wait()
        if oldest is not None and oldest < limit:
            self._find("waiting", self._check.leaves, None)
        for entry in await self._log.waiting(count):
            if "is_gone" in entry:
                self._find("entry_missing", self._check.leaves, entry["id"])
            elif entry["seal"] is None and (self._check.leaves == 0 or is_bootstrap(entry)):
                continue
            elif not self._services.audit_seal.fits(entry):
                self._find("seal_wrong", self._check.leaves, entry["id"])
        return count

    def _find(self, kind: str, first: int, entry_id: int | None, last: int | None = None) -> None:
        self._check.findings.append(Finding(kind, first, first if last is None else last, entry_id))


async def records_of(log: LogRepository) -> AsyncIterator[tuple[str, Any]]:
    """Pages of leaves and single heads, each head behind the last leaf it counts."""
    heads = await log.heads_after(_FIRST)
    async for page in log.leaves():
        while heads and heads[0]["size"] <= page[-1][0]:
            behind = [leaf for leaf in page if leaf[0] < heads[0]["size"]]
            page = page[len(behind) :]
            if behind:
                yield "leaves", behind
            yield "head", heads[0]
            heads = heads[1:] or await log.heads_after(heads[0]["size"])
        if page:
            yield "leaves", page
    while heads:
        yield "head", heads[0]
        heads = heads[1:] or await log.heads_after(heads[0]["size"])


async def export_lines(services: Services) -> AsyncIterator[str]:
    """The whole log as `verifier.py` reads it, one JSON record a line; the heads of the heads file come first.

    Raises AuditBrokenError where not even the tables can be read.
    """
    try:
        async for line in _export_lines(services):
            yield line
    except (DBAPIError, TypeError, ValueError) as error:  # whatever a changed row may hold
        raise AuditBrokenError(f"the tables cannot be read: {type(error).__name__}") from error


async def _export_lines(services: Services) -> AsyncIterator[str]:
    keys = {str(version): key.hex() for version, key in public_keys(services.keys).items()}
    yield _line({"onecard_audit": VERSION, "keys": keys})
    for head in await asyncio.to_thread(_anchored, services):
        yield _line({"anchor": head})
    leaves = heads = 0
    async with services.database.transaction(is_reading=True) as session:
        async for kind, item in records_of(LogRepository(session)):
            if kind == "head":
                heads += 1
                yield _line({"head": item})
                continue
            for sequence, entry_id, recorded, entry in item:
                yield _line({"leaf": sequence, "entry_id": entry_id, "hash": recorded, "entry": entry})
            leaves += len(item)
    yield _line({"end": {"leaves": leaves, "heads": heads}})


async def prove_entry(services: Services, session: AsyncSession, entry_id: int) -> Record:
    """That an entry stands in the log under the last signed head. Raises NOT_FOUND for one that is not in it yet."""
    log = LogRepository(session)
    leaf, head = await log.leaf(entry_id), await log.head()
    if leaf is None or head is None or leaf[3] is None or leaf[0] >= head["size"]:
        raise ProblemError("NOT_FOUND", "no such entry in the tree; a new one gets its place within seconds")
    tree_of(head, public_keys(services.keys))
    intervals = inclusion_path(leaf[0], head["size"])
    path = await _hashes(log, intervals)
    return _proof(services, head) | {"leaf": leaf[0], "entry": leaf[3], "path": path}


async def prove_growth(services: Services, session: AsyncSession, first: int, second: int | None) -> Record:
    """That the log of head `second`, null for the last one, begins with all of head `first`. Raises NOT_FOUND."""
    log = LogRepository(session)
    old, head = await log.head(first), await log.head(second)
    if old is None or head is None or first > head["size"]:
        raise ProblemError("NOT_FOUND", "no signed head of this size")
    path = await _hashes(log, consistency_path(first, head["size"]))
    return _proof(services, head) | {"old": old, "path": path}


def fingerprints(services: Services) -> dict[int, str]:
    """SM3 of every public key that signed heads, by version; the current one is made where there is none."""
    head_key(services.keys)
    digest = sm3()
    return {version: digest(key).hex() for version, key in public_keys(services.keys).items()}


async def _hashes(log: LogRepository, intervals: list[tuple[int, int]]) -> list[str]:
    kept = await log.kept(intervals, sm3())
    try:
        return [kept.interval(interval).hex() for interval in intervals]
    except KeyError as error:
        raise AuditBrokenError(f"the tree has no hash at level {error.args[0][0]}, {error.args[0][1]}") from error


def _proof(services: Services, head: Record) -> Record:
    keys = {str(version): key.hex() for version, key in public_keys(services.keys).items()}
    return {"onecard_audit": VERSION, "keys": keys, "head": head}


def _anchored(services: Services) -> list[Record]:
    path = services.settings.audit_heads_path
    return [] if path is None else HeadFile(path).heads()


def _line(record: Record) -> str:
    return json.dumps(record, separators=(",", ":")) + "\n"
