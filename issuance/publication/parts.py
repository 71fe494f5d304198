"""The parts of a publication, each brought into the repository on its own. Blocking: for a thread."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Final

from apps_catalog.block_list import BlockListError, files
from apps_catalog.distribution.contents import by_owner
from apps_catalog.distribution.held import link
from apps_catalog.distribution.keys import ServiceSigner
from apps_catalog.distribution.repository import Repository
from apps_catalog.distribution.roles import ONLINE, SNAPSHOT
from cardlib.transit_code_anchors import TrustAnchors
from hsm.api import KeyNotFoundError
from hsm.sealed_store import exclusive
from issuance.publication.edition import Edition, Order, make_edition

BLOCK_LIST: Final = "blocklist"
TRUST_ANCHORS: Final = "trust-anchors"
ANCHORS_FILE: Final = "transit-codes.json"
_FILES: Final = (files.FILTER, files.EXACT, files.DELTA)
_WORK: Final = ".work"
_KEPT: Final = timedelta(hours=2)
"""How long terminals may go on fetching what was replaced."""


class Part(StrEnum):
    """In the order of a round; the repository is what binds the others together and dates them."""

    BLOCK_LIST = "block-list"
    TRUST_ANCHORS = "trust-anchors"
    CATALOG = "catalog"
    REPOSITORY = "repository"


class NoRepositoryError(Exception):
    """`onecard issuance publication init` makes one."""

    failure: ClassVar[str] = "NOT_FOUND"


class OlderEditionError(Exception):
    """The edition would not be above one that terminals have: the clock is behind, or the folder was put back."""

    failure: ClassVar[str] = "BLOCK_LIST_OLDER"


@dataclass(frozen=True, slots=True)
class Publishing:
    """One round's hold of the repository; nobody else writes to it meanwhile."""

    repository: Repository
    signers: Mapping[str, ServiceSigner]
    work: Path

    @classmethod
    @contextmanager
    def opened(
        cls, path: Path, signers: Mapping[str, ServiceSigner], clock: Callable[[], datetime]
    ) -> Iterator[Publishing]:
        """Raises NoRepositoryError."""
        if not (path / "metadata" / "1.root.json").is_file():
            raise NoRepositoryError(f"there is no repository in {path.name}")
        work = path / _WORK
        with exclusive(work):
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            try:
                yield cls(Repository(path, signers, clock=clock), signers, work)
            finally:
                shutil.rmtree(work, ignore_errors=True)

    def block_list(self, order: Callable[[Path, bool], Order], above: int, is_stopped: Callable[[], bool]) -> Edition:
        """`order` for a folder, full or not; `above`: the last edition anybody was given.

        Raises KeyNotFoundError, OlderEditionError, PublishError and what `make_edition` raises.
        """
        self._demand(BLOCK_LIST)
        made = make_edition(order(self.work, not self._lay_last()), is_stopped)
        if made.number <= above:
            raise OlderEditionError(f"edition {made.number}, but {above} was published")
        changed = _FILES[:2] if made.is_full else _FILES[2:]
        contents = {name: (self.work / name).read_bytes() for name in changed}
        self.repository.publish(BLOCK_LIST, contents, keep=() if made.is_full else _FILES[:2])
        return made

    def trust_anchors(self, file: Path) -> None:
        """Raises KeyNotFoundError, OSError, TransitAnchorsError, PublishError."""
        self._demand(TRUST_ANCHORS)
        content = file.read_bytes()
        TrustAnchors.parse(content)
        self.repository.publish(TRUST_ANCHORS, {ANCHORS_FILE: content})

    def catalog(self, content: Mapping[str, bytes]) -> bool:
        """The files of those owners whose keys are here; False where none is. Raises CatalogError, PublishError."""
        parted = _by_owner(tuple(sorted(content.items())))
        here = {owner: theirs for owner, theirs in parted.items() if owner in self.signers}
        for owner, theirs in here.items():
            self.repository.publish(owner, theirs)
        return bool(here)

    def refresh(self) -> datetime:
        """Date everything anew; returns when the first signature ends that is not given here.

        Raises KeyNotFoundError, PublishError.
        """
        for holder in ONLINE:
            self._demand(holder)
        self.repository.refresh()
        return min(ends for role, _, ends in self.repository.status() if role not in self.signers)

    def prune(self, now: datetime) -> None:
        """What rounds replace all day; older catalogs stay, as one may have to come back."""
        self.repository.prune(now - _KEPT, (SNAPSHOT, BLOCK_LIST))

    def _demand(self, holder: str) -> None:
        if holder not in self.signers:
            raise KeyNotFoundError(f"the key of {holder} is not in the key service")

    def _lay_last(self) -> bool:
        """Put what was published last into the work folder; whether a delta can be built on it."""
        for name in _FILES:
            last = self.repository.file_of(BLOCK_LIST, name)
            if last is None:
                continue
            place = self.work / name
            link(last, place)
            try:
                files.read_head(place)
            except BlockListError:
                place.unlink()
        return (self.work / files.EXACT).exists() and (self.work / files.FILTER).exists()


@lru_cache(maxsize=2)
def _by_owner(content: tuple[tuple[str, bytes], ...]) -> dict[str, dict[str, bytes]]:
    """The same in most rounds."""
    with TemporaryDirectory() as folder:
        for name, data in content:
            (Path(folder) / name).write_bytes(data)
        return by_owner(Path(folder))
