"""What a terminal holds: complete sets of files, one of them in force, each with the metadata that proves it.

    fetch.lock  root.json  metadata/  partial/  current.json
    sets/NAME/files/…  sets/NAME/catalog/*.toml  sets/NAME/metadata/…

`current.json` names the set in force and is replaced in one step after everything it names is on the disk.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from apps_catalog.catalog import Catalog, load
from apps_catalog.distribution.contents import JOINT, MANIFEST, differences, owner_of, sm3_of
from apps_catalog.distribution.errors import DamagedError, NothingHeldError
from apps_catalog.errors import CatalogError, Problem
from hsm.sealed_store import write_atomically

POINTER: Final = "current.json"
SETS: Final = "sets"
FORMAT: Final = "distribution-1"
_SET: Final = re.compile(r"\d{1,18}(-\d{1,9})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Held:
    """The set in force. `valid_until` is the end of its timestamp, `checked_at` the last good word."""

    folder: Path
    valid_until: datetime
    checked_at: datetime

    @property
    def number(self) -> int:
        """Version of the timestamp that brought it."""
        return int(self.folder.name.partition("-")[0])

    @property
    def files(self) -> Path:
        """Under it the repository's paths: `catalog/joint/…`, `blocklist/…`."""
        return self.folder / "files"

    @property
    def metadata(self) -> Path:
        return self.folder / "metadata"

    def age_s(self, now: datetime) -> float:
        return (now - self.checked_at).total_seconds()

    def is_stale(self, now: datetime) -> bool:
        return now >= self.valid_until

    def catalog(self) -> Catalog:
        """Raises CatalogError."""
        return load(self.folder / "catalog")


def held(into: Path) -> Held:
    """Raises NothingHeldError before the first fetch, DamagedError for a pointer that is none."""
    try:
        table: dict[str, Any] = json.loads((into / POINTER).read_bytes())
        if table["format"] != FORMAT:
            raise DamagedError(f"{POINTER} is not {FORMAT}")
        name = table["set"]
        if not _SET.fullmatch(name):
            raise DamagedError(f"{POINTER} names no set")
        times = [datetime.fromtimestamp(int(table[key]), UTC) for key in ("valid_until", "checked_at")]
        return Held(into / SETS / name, *times)
    except FileNotFoundError:
        raise NothingHeldError("nothing was fetched yet") from None
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DamagedError(f"{POINTER} cannot be read") from error


def point(into: Path, name: str, *, valid_until: datetime, checked_at: datetime) -> Held:
    table = {
        "format": FORMAT,
        "set": name,
        "valid_until": int(valid_until.timestamp()),
        "checked_at": int(checked_at.timestamp()),
    }
    write_atomically(into / POINTER, json.dumps(table, indent=2).encode() + b"\n")
    return held(into)


def lay_catalog(folder: Path) -> None:
    """`folder/catalog` from `folder/files/catalog/ROLE/`, as one flat catalog that loads; nothing when it has none.

    Raises CatalogError for files that are no catalog, that the joint manifest does not list as they are, and for one
    that names another owner than the role it came from.
    """
    source = folder / "files" / "catalog"
    if not source.is_dir():
        return
    flat = folder / "catalog"
    flat.mkdir()
    owners: dict[str, str] = {}
    for file in sorted(source.glob("*/*.toml")):
        if file.name in owners:
            raise CatalogError(
                [Problem(file.name, "", "", f"is published by {owners[file.name]} and {file.parent.name}")]
            )
        owners[file.name] = file.parent.name
        link(file, flat / file.name)
    load(flat)
    for name, role in owners.items():
        owner = owner_of(flat / name)
        if owner != role:
            raise CatalogError([Problem(name, "", "owner", f"{owner} in a file published by {role}", remedy=role)])
    digests = {name: sm3_of((flat / name).read_bytes()) for name in owners}
    manifest = source / JOINT / MANIFEST
    wrong = differences(manifest.read_bytes() if manifest.is_file() else b"", digests)
    if wrong:
        raise CatalogError([Problem(name, "", "", "is not the one agreed on jointly") for name in wrong])


def has_its_catalog(folder: Path) -> bool:
    """Whether `folder/catalog` is what `lay_catalog` made of the set's files; where links are copies, it may differ."""
    flat = {file.name: file for file in (folder / "catalog").glob("*")}
    source = {file.name: file for file in (folder / "files" / "catalog").glob("*/*.toml")}
    return flat.keys() == source.keys() and all(_are_same(flat[name], file) for name, file in source.items())


def _are_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other) or one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def link(source: Path, target: Path) -> None:
    """A second name for the same file; a copy where the disk has no such thing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def settle(folder: Path) -> None:
    """Everything under `folder` is on the disk, names included, when this returns."""
    for top, _, names in os.walk(folder):
        for name in names:
            _sync(Path(top) / name)
        if sys.platform != "win32":
            _sync(Path(top))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
