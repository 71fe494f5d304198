"""Is this card blocked? Answered from local files, without the network."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from rbloom import Bloom

from apps_catalog.block_list import files
from apps_catalog.block_list.errors import BlockListError, OlderListError
from apps_catalog.block_list.keys import Keys, Kind
from apps_catalog.block_list.parts import ExactList, read_delta, read_filter


class Verdict(StrEnum):
    """`suspected`: only where there is no exact list; one good card in 455, and every blocked one."""

    CLEAR = "clear"
    BLOCKED = "blocked"
    SUSPECTED = "suspected"


_CLEAR: Final = Verdict.CLEAR
_BLOCKED: Final = Verdict.BLOCKED


class BlockList:
    """One edition of the block list. Close it, or use it as a context; threads may share it.

    `folder` holds the filter, and may hold the exact list and a delta. `at_least` is the highest edition that was
    used here before. Raises BlockListError, OlderListError.
    """

    def __init__(self, folder: Path, *, at_least: int = 0) -> None:
        self.head, bloom = read_filter(folder / files.FILTER)
        self._keys = Keys(self.head.salt)
        self.edition, self.as_of = self.head.edition, self.head.as_of
        self._added = self._removed = 0
        self._changed: dict[bytes, Verdict] = {}
        self._bloom: Bloom | None = bloom
        self._exact: ExactList | None = None
        self._take_delta(folder / files.DELTA)
        if self.edition < at_least:
            raise OlderListError(f"edition {self.edition}, but {at_least} was in use already")
        self._take_exact(folder / files.EXACT)

    def look(self, kind: Kind, number: str) -> Verdict:
        """`number`: 32 hex digits. Raises QueryError for anything else."""
        key = self._keys.of(kind, number)
        if key in self._changed:
            return self._changed[key]
        bloom, exact = self._bloom, self._exact
        if bloom is not None and key not in bloom:
            return _CLEAR
        if exact is None:
            return Verdict.SUSPECTED
        return _BLOCKED if key in exact.keys else _CLEAR

    def hold(self) -> None:
        """Take the exact list into memory, six bytes an entry, and let go of the filter: no verdict reads the disk.

        Does nothing without an exact list. Raises BlockListError where it was cut short since it was opened.
        """
        if self._exact is not None:
            self._bloom = None
            self._exact.keys.hold()

    @property
    def has_exact(self) -> bool:
        return self._exact is not None

    def __len__(self) -> int:
        return self.head.entries + self._added - self._removed

    def to_json(self) -> dict[str, Any]:
        return {
            "edition": self.edition,
            "base": self.head.base,
            "as_of": self.as_of,
            "entries": len(self),
            "added": self._added,
            "removed": self._removed,
            "exact": self.has_exact,
        }

    def close(self) -> None:
        if self._exact is not None:
            self._exact.close()

    def __enter__(self) -> BlockList:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _take_delta(self, path: Path) -> None:
        if not path.exists():
            return
        head, added, removed = read_delta(path)
        if not head.belongs_to(self.head):
            raise BlockListError(f"{path.name} builds on edition {head.base}, the filter is edition {self.head.base}")
        self.edition, self.as_of = head.edition, head.as_of
        self._added, self._removed = head.entries, head.removed
        self._changed = dict.fromkeys(added, _BLOCKED) | dict.fromkeys(removed, _CLEAR)

    def _take_exact(self, path: Path) -> None:
        if not path.exists():
            return
        exact = ExactList(path)
        if not exact.head.belongs_to(self.head) or exact.head.entries != self.head.entries:
            exact.close()
            raise BlockListError(f"{path.name} is edition {exact.head.base}, the filter is edition {self.head.base}")
        self._exact = exact
