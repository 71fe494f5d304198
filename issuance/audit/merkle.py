"""Proofs over a tree of RFC 6962, of which every eighth level is kept: leaves, subtrees of 256 leaves, of 65,536 …

A proof therefore reads at most two runs of 256 hashes a kept level, however large the tree. Nothing here knows where
the hashes are: `wanted` says which are needed, `Kept` computes from those that were found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from issuance.audit.verifier import Hash, fold, node_hash

STEP = 8
"""Levels 0, 8, 16 … are kept."""

Node = tuple[int, int]
"""Level and position of a complete subtree: leaves position * 2**level up to the next one's."""
Interval = tuple[int, int]


def inclusion_path(index: int, size: int) -> list[Interval]:
    """Leaves [start, end) under each hash of PATH(index, D[size]) (RFC 6962, 2.1.1), from the leaf up."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    path: list[Interval] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_path(first: int, second: int) -> list[Interval]:
    """As `inclusion_path` for PROOF(first, D[second]) (RFC 6962, 2.1.2)."""
    if not 0 < first <= second:
        raise ValueError(f"a tree of {second} leaves has not grown from one of {first}")
    path: list[Interval] = []
    start, end, is_known = 0, second, True
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start, is_known = middle, False
    if not is_known:
        path.append((start, end))
    return path[::-1]


def complete_subtrees(interval: Interval) -> Iterator[Node]:
    """The complete subtrees of an interval that a path names, the largest first."""
    start, end = interval
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def wanted(intervals: Iterable[Interval]) -> dict[int, list[range]]:
    """Positions that `Kept` needs, by kept level; runs that touch are one."""
    runs: dict[int, list[range]] = {}
    for level, position in sorted(node for interval in intervals for node in complete_subtrees(interval)):
        kept, found = level - level % STEP, 1 << level % STEP
        run = range(position * found, (position + 1) * found)
        known = runs.setdefault(kept, [])
        known.append(run)
    return {level: list(_joined(sorted(found, key=lambda run: run.start))) for level, found in runs.items()}


@dataclass(frozen=True, slots=True)
class Kept:
    """Hashes of kept levels that were found."""

    digest: Hash
    hashes: Mapping[Node, bytes]

    def subtree(self, level: int, position: int) -> bytes:
        """Raises KeyError for a hash that was not found."""
        if level % STEP == 0:
            return self.hashes[level, position]
        left, right = (self.subtree(level - 1, 2 * position + side) for side in (0, 1))
        return node_hash(self.digest, left, right)

    def interval(self, interval: Interval) -> bytes:
        return fold(self.digest, [self.subtree(*node) for node in complete_subtrees(interval)])


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _joined(runs: Iterable[range]) -> Iterator[range]:
    current: range | None = None
    for run in runs:
        if current is not None and run.start <= current.stop:
            current = range(current.start, max(current.stop, run.stop))
            continue
        if current is not None:
            yield current
        current = run
    if current is not None:
        yield current
