"""Entries get their place in the tree: the only writer of it, one at a time, and nobody waits for it.

Adding an entry is one insert that locks nothing. This job takes what was committed meanwhile, in the order of ids as
far as they are there: on PostgreSQL a smaller id may be committed later and then comes later. Leaves, subtrees, the
signed head and the end of the wait are one transaction: broken off anywhere, the next round does it again.

A head is signed only over the head before, which must verify and must not be older than the heads file: whoever rolls
the database back or writes the tree anew stops this job (AUDIT_BROKEN in the log), not the issuing of cards.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import IntegrityError

from issuance.audit.heads import AuditBrokenError, HeadFile, public_keys, sign_head, sm3, tree_of
from issuance.audit.log import Entry, LogRepository
from issuance.audit.merkle import STEP
from issuance.audit.repository import AuditRepository
from issuance.audit.seal import AuditSeal
from issuance.audit.verifier import Frontier, entry_bytes, leaf_hash
from issuance.logs import get_logger

if TYPE_CHECKING:
    from issuance.services import Services

ROUND: Final = 256
"""Entries a signed head: a fault that cannot be pinned down is within so many."""
MAX_ROUNDS: Final = 200
BROKEN: Final = "audit.broken"
SYSTEM: Final = "onecard-system"
BOOTSTRAP: Final = ("console", "client.register")
log = get_logger("issuance.audit")


async def sequence_due(services: Services) -> int:
    """Everything that waits, at most `MAX_ROUNDS` rounds at once; returns how many entries. Raises AuditBrokenError."""
    done = 0
    for _ in range(MAX_ROUNDS):
        async with services.database.look() as session:
            if not await LogRepository(session).is_waiting():
                break
        count = await _round(services)
        done += count
        if count < ROUND:
            break
    await _publish(services)
    return done


async def _round(services: Services) -> int:
    async with services.database.transaction() as session:
        repository = LogRepository(session)
        if not await repository.claim():
            return 0
        last = await repository.head()
        tree = tree_of(last, await asyncio.to_thread(public_keys, services.keys))
        await _demand_newest(services, last)
        entries = await repository.waiting(ROUND)
        if not entries:
            return 0
        is_first = last is None
        placed = await repository.placed([entry["id"] for entry in entries])
        new = [entry for entry in entries if entry["id"] not in placed]
        bad = [(entry_id, "queued again") for entry_id in sorted(placed)]
        bad += await asyncio.to_thread(_unsealed, services.audit_seal, new, is_first)
        present = [entry for entry in new if "is_gone" not in entry]
        leaves, nodes = _grow(tree, present)
        if leaves:
            try:
                await repository.add_leaves(leaves, nodes)
            except IntegrityError as error:
                raise AuditBrokenError("something stands in the tree behind the last signed head") from error
            now = services.clock()
            head = await asyncio.to_thread(sign_head, services.keys, tree, services.settings.centre_id, now, last)
            await repository.add_head(head)
        await repository.settle([entry["id"] for entry in entries])
        for entry_id, why in bad:
            await _report(services, AuditRepository(session, services.audit_seal), entry_id, why)
    return len(entries)


def _grow(tree: Frontier, entries: list[Entry]) -> tuple[list[tuple[int, int, bytes]], list[tuple[int, int, bytes]]]:
    digest = sm3()
    leaves, nodes = [], []
    for entry in entries:
        value = leaf_hash(digest, entry_bytes(entry))
        leaves.append((tree.size, entry["id"], value))
        nodes += [node for node in tree.append(value) if node[0] % STEP == 0]
    return leaves, nodes


def _unsealed(seal: AuditSeal, entries: list[Entry], is_first: bool) -> list[tuple[int, str]]:
    """Entries that are not as they were made, and why. Those from before there were seals come first of all."""
    bad: list[tuple[int, str]] = []
    may_be_old = is_first
    for entry in entries:
        if "is_gone" in entry:
            bad.append((entry["id"], "deleted"))
        elif entry["seal"] is None:
            if not may_be_old and not is_bootstrap(entry):
                bad.append((entry["id"], "unsealed"))
        else:
            may_be_old = False
            if not seal.fits(entry):
                bad.append((entry["id"], "changed"))
    return bad


def is_bootstrap(entry: Entry) -> bool:
    """Registered on the server itself, where no key service is asked."""
    return (entry["actor"], entry["act"]) == BOOTSTRAP


async def _report(services: Services, entries: AuditRepository, entry_id: int, why: str) -> None:
    """Into the log itself, so that whoever has an export knows it too."""
    log.error("audit_entry_broken", entry=entry_id, why=why)
    await entries.add(
        at=services.clock(),
        actor=SYSTEM,
        clerk="",
        act=BROKEN,
        subject=f"audit:{entry_id}",
        application_id=None,
        region=None,
        outcome="AUDIT_BROKEN",
        detail={"why": why},
    )


async def _demand_newest(services: Services, last: dict[str, Any] | None) -> None:
    path = services.settings.audit_heads_path
    anchored = None if path is None else await asyncio.to_thread(HeadFile(path).last)
    if anchored is None:
        return
    size = 0 if last is None else int(last["size"])
    if anchored["size"] > size or (last is not None and anchored["size"] == size and anchored["root"] != last["root"]):
        raise AuditBrokenError(f"the heads file knows a head of size {anchored['size']}, the database ends at {size}")


async def _publish(services: Services) -> None:
    """Append to the heads file what it has not; after a crash between commit and file this makes it whole."""
    path = services.settings.audit_heads_path
    if path is None:
        return
    file = HeadFile(path)
    last = await asyncio.to_thread(file.last)
    size = 0 if last is None else last["size"]
    while True:
        async with services.database.look() as session:
            heads = await LogRepository(session).heads_after(size)
        if not heads:
            return
        await asyncio.to_thread(file.append, heads)
        size = heads[-1]["size"]
