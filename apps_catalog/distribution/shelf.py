"""The files of a repository: `metadata/N.ROLE.json`, `metadata/timestamp.json` and `targets/PATH/HASH.NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, TypeVar

from tuf.api.exceptions import RepositoryError, StorageError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from apps_catalog.distribution.errors import PublishError
from apps_catalog.distribution.roles import TIMESTAMP
from hsm.sealed_store import write_atomically

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)
_PUBLIC_MODE: Final = 0o644
_PUBLIC_FOLDER: Final = 0o755


class Shelf:
    """Reads what is there by role and version; each file is written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._metadata = path / "metadata"
        self._targets = path / "targets"

    def _file(self, role: str, version: int) -> Path:
        return self._metadata / (f"{role}.json" if role == TIMESTAMP else f"{version}.{role}.json")

    def _version(self, role: str) -> int:
        """The highest there is, 0 for none."""
        numbers = (path.name.partition(".")[0] for path in self._metadata.glob(f"*.{role}.json"))
        return max((int(number) for number in numbers if number.isdecimal()), default=0)

    def _read(self, role: str, version: int, kind: type[S]) -> S:
        return signed_as(self._open(role, version), kind)

    def _open(self, role: str, version: int) -> Metadata[Any]:
        try:
            return Metadata.from_file(str(self._file(role, version)))
        except (OSError, StorageError, RepositoryError, ValueError) as error:
            raise PublishError(f"{role} version {version} cannot be read") from error

    def _latest(self, role: str, kind: type[S]) -> S:
        return self._read(role, self._version(role), kind)

    def _put(self, place: str, data: bytes) -> None:
        target = self._targets / place
        make_public(target.parent, within=self._targets)
        if not target.is_file() or target.read_bytes() != data:
            write_public(target, data)


def signed_as(metadata: Metadata[Any], kind: type[S]) -> S:
    if not isinstance(metadata.signed, kind):
        raise PublishError(f"a file of {kind.type} is of another kind")
    return metadata.signed


def make_public(folder: Path, *, within: Path) -> None:
    """A folder that a web server may read, with those above it up to `within`; whatever the umask."""
    if not folder.is_dir():
        if folder != within:
            make_public(folder.parent, within=within)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(_PUBLIC_FOLDER)


def write_public(path: Path, content: bytes) -> None:
    write_atomically(path, content)
    path.chmod(_PUBLIC_MODE)
