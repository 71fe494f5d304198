"""The terminal's side: fetch what is new, verify it, put it in force in one step, or keep what was in force.

Verification is python-tuf's `ngclient` from the root a terminal was given; beyond it, the SM3 of each file, that no
role names paths outside its own, and that a catalog loads.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
from tuf.api.exceptions import DownloadError, RepositoryError, StorageError
from tuf.api.metadata import TOP_LEVEL_ROLE_NAMES, Metadata, Root, TargetFile, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from apps_catalog.distribution import keys
from apps_catalog.distribution.contents import named_sm3, sm3_of_file
from apps_catalog.distribution.errors import (
    DamagedError,
    DistributionError,
    NothingHeldError,
    SignatureError,
    StaleError,
    alarm_of,
)
from apps_catalog.distribution.fetcher import HeldFetcher, fetcher_for
from apps_catalog.distribution.held import POINTER, SETS, Held, has_its_catalog, held, lay_catalog, link, point, settle
from apps_catalog.distribution.roles import FILE_NAME
from hsm.sealed_store import exclusive, write_atomically

_PROBE: Final = "-"
_CONFIG: Final = UpdaterConfig(max_root_rotations=64, root_max_length=128 << 10, targets_max_length=1 << 20)


def _now() -> datetime:
    return datetime.now(UTC)


def fetch(
    url: str,
    into: Path,
    *,
    root: bytes | None = None,
    roles: Collection[str] | None = None,
    check: Callable[[Path], None] = lambda files: None,
    auth: httpx.Auth | None = None,
    clock: Callable[[], datetime] = _now,
) -> Held:
    """Bring `into` to what the repository at `url` says and return the set in force.

    `root` is needed the first time and kept as `root.json`; later it is ignored, the chain of roots goes on from there.
    `roles`: only their files, all by default. One process at a time per folder; others wait. `check` is given the files
    of a new set before it is put in force; what it raises comes through. `auth` signs each request over HTTP.
    Raises a DistributionError or CatalogError: then the set that was in force still is.
    """
    keys.register()
    fetcher = fetcher_for(url, into / "partial", auth)
    try:
        with _alarms():
            into.mkdir(parents=True, exist_ok=True)
            with exclusive(into / "fetch"):
                return _Fetch(url.rstrip("/"), into, _anchor(into, root), fetcher, roles, check, clock()).run()
    finally:
        fetcher.close()


def verify(into: Path, *, clock: Callable[[], datetime] = _now) -> Held:
    """The set in force after every signature and file of it was checked again, without the network.

    Raises StaleError when all is genuine but past its term, another DistributionError when it is not.
    """
    keys.register()
    current = held(into)
    if current.is_stale(clock()):
        raise StaleError(f"set {current.number} counted until {current.valid_until:%Y-%m-%d %H:%M} UTC")
    with _alarms(), tempfile.TemporaryDirectory() as name:
        updater = Updater(
            name,
            "held:///metadata/",
            fetcher=HeldFetcher(current.metadata),
            config=_CONFIG,
            bootstrap=_anchor(into, None),
        )
        # Only some roles may have been fetched; a file that none of them names is a stranger.
        files = _files(updater, Path(name), {file.stem for file in current.metadata.glob("*.json")})
        for path in sorted(files.keys() | _there(current)):
            if path not in files or not _is_whole(current.files / path, files[path]):
                raise DamagedError(f"{path} is not the signed file")
        if not has_its_catalog(current.folder):
            raise DamagedError("the catalog beside the signed files is not made of them")
    return current


@dataclass(frozen=True, slots=True)
class _Fetch:
    url: str
    into: Path
    root: bytes
    fetcher: FetcherInterface
    roles: Collection[str] | None
    check: Callable[[Path], None]
    now: datetime

    def run(self) -> Held:
        before = self._before()
        metadata = self._mended(before)
        updater = Updater(
            str(metadata),
            f"{self.url}/metadata/",
            target_base_url=f"{self.url}/targets/",
            fetcher=self.fetcher,
            config=_CONFIG,
            bootstrap=self.root,
        )
        files = _files(updater, metadata, self.roles)
        timestamp: Metadata[Timestamp] = Metadata.from_file(str(metadata / "timestamp.json"))
        number = timestamp.signed.version
        if before is not None and before.number == number and _holds(before, files):
            name = before.folder.name
        else:
            name = self._lay(updater, number, files, before)
        current = point(self.into, name, valid_until=timestamp.signed.expires, checked_at=self.now)
        self._sweep(current)
        return current

    def _mended(self, before: Held | None) -> Path:
        """python-tuf's folder; what a power cut tore there comes back from the set in force, so that nothing older
        than that set can be offered as new."""
        metadata = self.into / "metadata"
        metadata.mkdir(exist_ok=True)
        for leftover in metadata.glob("tmp*"):
            leftover.unlink()
        if before is not None and before.metadata.is_dir():
            for kept in before.metadata.glob("*.json"):
                try:
                    Metadata.from_file(str(metadata / kept.name))
                except (OSError, StorageError, RepositoryError):
                    if kept.name != "root.json":
                        shutil.copyfile(kept, metadata / kept.name)
        return metadata

    def _before(self) -> Held | None:
        try:
            return held(self.into)
        except (NothingHeldError, DamagedError):
            return None

    def _lay(self, updater: Updater, number: int, files: dict[str, TargetFile], before: Held | None) -> str:
        """Make a set of files held already and new ones, under a hidden name until it is complete; its name."""
        sets = self.into / SETS
        for leftover in sets.glob(".*"):
            shutil.rmtree(leftover)
        folder = sets / f".{number}"
        (folder / "files").mkdir(parents=True)
        for path, info in files.items():
            place = folder / "files" / path
            if before is not None and _is_whole(before.files / path, info):
                link(before.files / path, place)
                continue
            updater.download_target(info, str(place))
            if not _is_whole(place, info):
                raise DamagedError(f"{path}: SM3 is not the signed one")
        lay_catalog(folder)
        self.check(folder / "files")
        shutil.copytree(self.into / "metadata", folder / "metadata", ignore=self._left_out())
        names = (str(number), *(f"{number}-{again}" for again in range(2, 1000)))
        name = next(name for name in names if not (sets / name).exists())
        folder.rename(sets / name)
        settle(sets)
        return name

    def _left_out(self) -> Callable[[Any, list[str]], set[str]]:
        """Metadata that proves no file of the set: of roles another fetch, or one broken off, asked for."""
        there = {file.stem for file in (self.into / "metadata").glob("*.json")}
        others = set() if self.roles is None else there - TOP_LEVEL_ROLE_NAMES - set(self.roles)
        return shutil.ignore_patterns("tmp*", *(f"{role}.json" for role in others))

    def _sweep(self, current: Held) -> None:
        for folder in (self.into / SETS).iterdir():
            if folder != current.folder:
                # Where files in use cannot go, they go with a later fetch.
                shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self.into / "partial", ignore_errors=True)


def _anchor(into: Path, root: bytes | None) -> bytes:
    """The root this folder was begun with; a wrong one can be replaced until something was accepted under it, one that
    cannot be read always."""
    place = into / "root.json"
    kept = place.read_bytes() if place.exists() else None
    if kept is not None and (root is None or ((into / POINTER).exists() and _is_root(kept))):
        return kept
    if root is None:
        raise NothingHeldError("the first fetch needs the repository's root file")
    write_atomically(place, root)
    return root


def _is_root(raw: bytes) -> bool:
    try:
        return isinstance(Metadata.from_bytes(raw).signed, Root)
    except RepositoryError:
        return False


def _files(updater: Updater, metadata: Path, roles: Collection[str] | None) -> dict[str, TargetFile]:
    """Every file of the delegated roles by path, the metadata verified. Raises SignatureError."""
    updater.refresh()
    top: Metadata[Targets] = Metadata.from_file(str(metadata / "targets.json"))
    delegations = top.signed.delegations
    found: dict[str, TargetFile] = {}
    for name, rule in ((delegations and delegations.roles) or {}).items():
        if roles is not None and name not in roles:
            continue
        if rule.paths is None:
            raise DamagedError(f"{name} has no paths")
        # Asking for a file nobody has makes python-tuf load and verify the role whose path it would be.
        updater.get_targetinfo(rule.paths[0].removesuffix("*") + _PROBE)
        said: Metadata[Targets] = Metadata.from_file(str(metadata / f"{name}.json"))
        for path, info in said.signed.targets.items():
            is_named = FILE_NAME.fullmatch(path.rpartition("/")[2]) and rule.is_delegated_path(path)
            if not is_named or updater.get_targetinfo(path) != info:
                raise SignatureError(f"{name} may not speak for {path}")
            found[path] = info
    return found


def _is_whole(path: Path, info: TargetFile) -> bool:
    """Whether the file has the signed length, SHA-256 and SM3."""
    try:
        with path.open("rb") as file:
            info.verify_length_and_hashes(file)
            digest = sm3_of_file(file)
    except (OSError, RepositoryError):
        return False
    return named_sm3(info) == digest


def _there(current: Held) -> set[str]:
    """Paths of the files of a set."""
    return {path.relative_to(current.files).as_posix() for path in current.files.rglob("*") if path.is_file()}


def _holds(before: Held, files: dict[str, TargetFile]) -> bool:
    are_whole = all(_is_whole(before.files / path, info) for path, info in files.items())
    return _there(before) == set(files) and are_whole and has_its_catalog(before.folder)


@contextmanager
def _alarms() -> Iterator[None]:
    try:
        yield
    except (DistributionError, RepositoryError, StorageError, DownloadError, OSError) as error:
        raise alarm_of(error) from error
