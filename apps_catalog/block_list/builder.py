"""Build a full edition, or the delta from the last full one, from all cards that are blocked now."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from apps_catalog.block_list import files
from apps_catalog.block_list.errors import BlockListError
from apps_catalog.block_list.files import MAX_CHANGES, MAX_ENTRIES, Content, Head
from apps_catalog.block_list.keys import SALT_BYTES, Keys, KeySet, Kind
from apps_catalog.block_list.parts import ExactList, write_delta, write_exact, write_filter

Blocked = Iterable[tuple[Kind, str]]
Progress = Callable[[str, int], None]
"""Told the step (`read`, `list`, `filter`, `compare`) and how many entries it has done."""

_TELL_EVERY: Final = 100_000


def build(folder: Path, blocked: Blocked, *, as_of: int, progress: Progress | None = None) -> Head:
    """Write filter and exact list with a new salt, and drop the old delta. Raises QueryError for a wrong number.

    The edition is the second `as_of`, or one above the last edition where the clock has not moved on.
    """
    tell = progress or _silent
    salt = secrets.token_bytes(SALT_BYTES)
    keys, count = _collect(blocked, Keys(salt), tell)
    folder.mkdir(parents=True, exist_ok=True)
    edition = _next_edition(folder, as_of)
    exact = Head(Content.EXACT, edition, edition, as_of, salt, count)
    full = Head(Content.FILTER, edition, edition, as_of, salt, count)
    # A reader between two steps finds files that do not belong together, and says so.
    (folder / files.DELTA).unlink(missing_ok=True)
    write_exact(folder / files.EXACT, exact, _counted(keys, "list", tell))
    write_filter(folder / files.FILTER, full, _counted(keys, "filter", tell))
    return full


def build_delta(folder: Path, blocked: Blocked, *, as_of: int, progress: Progress | None = None) -> Head:
    """Write what was added and removed since the full edition in `folder`; it replaces the delta before it.

    Raises BlockListError when there is no full edition, or when so much changed that a new one is due.
    """
    tell = progress or _silent
    if not (folder / files.EXACT).exists():
        raise BlockListError("there is no full edition to build on")
    exact = ExactList(folder / files.EXACT)
    try:
        keys, _ = _collect(blocked, Keys(exact.head.salt), tell)
        added, removed = _differences(iter(exact.keys), _counted(keys, "compare", tell))
    finally:
        exact.close()
    edition = _next_edition(folder, as_of)
    head = Head(Content.DELTA, edition, exact.head.base, as_of, exact.head.salt, len(added), len(removed))
    write_delta(folder / files.DELTA, head, added, removed)
    return head


def _collect(blocked: Blocked, make: Keys, tell: Progress) -> tuple[KeySet, int]:
    keys = KeySet()
    for done, (kind, number) in enumerate(blocked, 1):
        keys.add(make.of(kind, number))
        if done % _TELL_EVERY == 0:
            tell("read", done)
        if done > MAX_ENTRIES:
            raise BlockListError(f"more than {MAX_ENTRIES} cards")
    return keys, keys.settle()


def _differences(old: Iterator[bytes], new: Iterator[bytes]) -> tuple[list[bytes], list[bytes]]:
    """What only `new` has, and what only `old` has; both are sorted."""
    added: list[bytes] = []
    removed: list[bytes] = []
    before, after = next(old, None), next(new, None)
    while before is not None or after is not None:
        if before == after:
            before, after = next(old, None), next(new, None)
        elif after is None or (before is not None and before < after):
            removed.append(before or b"")
            before = next(old, None)
        else:
            added.append(after)
            after = next(new, None)
        if len(added) + len(removed) > MAX_CHANGES:
            raise BlockListError(f"more than {MAX_CHANGES} changes: build a full edition")
    return added, removed


def _next_edition(folder: Path, as_of: int) -> int:
    paths = (folder / files.FILTER, folder / files.EXACT, folder / files.DELTA)
    return max([as_of, *(files.edition_of(path) + 1 for path in paths if path.exists())])


def _counted(keys: KeySet, step: str, tell: Progress) -> Iterator[bytes]:
    for done, key in enumerate(keys, 1):
        if done % _TELL_EVERY == 0:
            tell(step, done)
        yield key


def _silent(step: str, done: int) -> None: ...
