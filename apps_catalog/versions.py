"""Versions of the catalog in a directory: drafted, reviewed by every province, released jointly, never changed again.

`STORE/VERSION/files/` holds the TOML files as they were drafted, `manifest.json` the SM3 of each and `state.json` what
happened to it since. Reviews are recorded here by name; the provinces' signatures belong to the distribution.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final

from apps_catalog.catalog import HEAD_FILE, MAX_FILES, Catalog, load
from apps_catalog.errors import CatalogError, Problem
from apps_catalog.fields import MAX_TEXT
from apps_catalog.lint import findings
from apps_catalog.source import MAX_FILE_BYTES
from hsm.primitives import default_engine

_FILES: Final = "files"
_MANIFEST: Final = "manifest.json"
_STATE: Final = "state.json"
_VERSION: Final = re.compile(r"\d{4}\.\d{1,2}\.\d{1,3}", re.ASCII)
_HEAD_VERSION: Final = re.compile(r"(?m)^version\s*=.*$")
_HEAD_PUBLISHED: Final = re.compile(r"(?m)^published\s*=.*$")


class VersionError(Exception):
    """A step the version's state does not allow, or content that may not become a version."""

    failure: ClassVar[str] = "CONFLICT"


class Stage(StrEnum):
    """`review`: some province has spoken, not yet all of them for it."""

    DRAFT = "draft"
    REVIEW = "review"
    ACCEPTED = "accepted"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Review:
    """What one province said of a version; of several by one province the last counts."""

    region: str
    accepts: bool
    by: str
    note: str
    on: date

    def to_json(self) -> dict[str, Any]:
        return {
            "region": self.region,
            "accepts": self.accepts,
            "by": self.by,
            "note": self.note,
            "on": self.on.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Version:
    """`effective` is the first day of a released version; `again` the older version whose content it repeats."""

    number: str
    drafted: date
    note: str
    files: Mapping[str, str]
    again: str | None = None
    reviews: tuple[Review, ...] = ()
    released: date | None = None
    effective: date | None = None

    def missing(self, regions: tuple[str, ...]) -> list[str]:
        """Regions whose last word is not yes."""
        last = {review.region: review.accepts for review in self.reviews}
        return [region for region in regions if not last.get(region)]

    def stage(self, regions: tuple[str, ...]) -> Stage:
        if self.released is not None:
            return Stage.RELEASED
        if not self.reviews:
            return Stage.DRAFT
        return Stage.REVIEW if self.missing(regions) else Stage.ACCEPTED

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.number,
            "drafted": self.drafted.isoformat(),
            "note": self.note,
            "files": dict(self.files),
            "again": self.again,
            "reviews": [review.to_json() for review in self.reviews],
            "released": self.released.isoformat() if self.released else None,
            "effective": self.effective.isoformat() if self.effective else None,
        }


class VersionStore:
    """One writer at a time. Every step is one rename, so a power cut leaves the state before it or after it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def draft(self, source: Path, *, note: str, on: date) -> Version:
        """Take the files of `source` as a new version, numbered as its `catalog.toml` says.

        Raises CatalogError for files that are no catalog or that lint objects to, VersionError for a number that
        does not come after all others, or an item that changed while its version did not rise.
        """
        return self._draft(source, note=note, on=on, again=None)

    def rollback(self, number: str, to: str, *, note: str, on: date) -> Version:
        """Draft the content of released version `to` again as version `number`; it is reviewed like any other."""
        if not _VERSION.fullmatch(number):
            raise VersionError(f"{number!r} is no version such as 2026.47.1")
        if self.get(to).released is None:
            raise VersionError(f"{to} was never released")
        self.open(to)
        with tempfile.TemporaryDirectory() as name:
            copy = Path(name) / _FILES
            shutil.copytree(self._path / to / _FILES, copy)
            head = copy / HEAD_FILE
            text = _HEAD_VERSION.sub(f'version = "{number}"', head.read_text(encoding="utf-8"), count=1)
            head.write_text(_HEAD_PUBLISHED.sub(f"published = {on}", text, count=1), encoding="utf-8")
            return self._draft(copy, note=note, on=on, again=to)

    def review(self, number: str, region: str, *, accepts: bool, by: str, note: str, on: date) -> Version:
        """Record a province's word. Raises VersionError after release and for a region the catalog does not have."""
        version = self.get(number)
        if version.released is not None:
            raise VersionError(f"{number} was released on {version.released} and is not reviewed any more")
        if region not in _regions(self.open(number)):
            raise VersionError(f"{region} is no region of {number}")
        review = Review(region, accepts, _line("by", by), _line("note", note), on)
        return self._keep(replace(version, reviews=(*version.reviews, review)))

    def release(self, number: str, *, effective: date, on: date) -> Version:
        """Publish jointly, from `effective` on, which is today or later. Needs the yes of every province."""
        version = self.get(number)
        missing = version.missing(_regions(self.open(number)))
        if version.released is not None:
            raise VersionError(f"{number} was released on {version.released}")
        if missing:
            raise VersionError(f"{number} waits for the yes of {', '.join(missing)}")
        if effective < on:
            raise VersionError(f"{effective} is past; a version takes effect on the day of its release or later")
        latest = max((known.effective for known in self.versions() if known.effective), default=effective)
        if effective < latest:
            raise VersionError(f"a version from {latest} on is released already; nothing may take effect before it")
        return self._keep(replace(version, released=on, effective=effective))

    def versions(self) -> list[Version]:
        """Every version, oldest number first."""
        try:
            names = [entry.name for entry in self._path.iterdir() if _VERSION.fullmatch(entry.name)]
        except FileNotFoundError:
            return []
        return [self.get(name) for name in sorted(names, key=_order)]

    def in_force(self, on: date) -> Version | None:
        """The released version that counts on that day."""
        known = [version for version in self.versions() if version.effective is not None and version.effective <= on]
        return max(known, key=lambda version: (version.effective, _order(version.number)), default=None)

    def get(self, number: str) -> Version:
        """Raises VersionError for a number that is not here, CatalogError for a damaged record."""
        if not _VERSION.fullmatch(number) or not (self._path / number).is_dir():
            raise VersionError(f"there is no version {number!r}")
        try:
            manifest = json.loads((self._path / number / _MANIFEST).read_text(encoding="utf-8"))
            state = json.loads((self._path / number / _STATE).read_text(encoding="utf-8"))
            return _version(number, manifest, state)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise CatalogError([Problem(f"{number}/{_MANIFEST}", "", "", f"cannot be read: {exc}")]) from exc

    def open(self, number: str) -> Catalog:
        """The version's catalog, after every file was compared with the manifest. Raises CatalogError."""
        version = self.get(number)
        folder = self._path / number / _FILES
        found = _digests(folder)
        problems = [
            Problem(f"{number}/{name}", "", "", "is not the file that was drafted")
            for name in sorted({*found, *version.files})
            if not hmac.compare_digest(found.get(name, ""), version.files.get(name, ""))
        ]
        if problems:
            raise CatalogError(problems)
        return load(folder)

    def _draft(self, source: Path, *, note: str, on: date, again: str | None) -> Version:
        catalog = load(source)
        faults = [
            Problem(HEAD_FILE, ", ".join(finding.items), "", finding.text.en) for finding in findings(catalog, on)
        ]
        if faults:
            raise CatalogError(faults)
        self._path.mkdir(parents=True, exist_ok=True)
        known = self.versions()
        if known and _order(catalog.version) <= _order(known[-1].number):
            raise VersionError(f"{catalog.version} does not come after {known[-1].number}; raise it in {HEAD_FILE}")
        released = [version for version in known if version.released is not None]
        if released and again is None:
            _check_items(self.open(released[-1].number), catalog)
        version = Version(catalog.version, on, _line("note", note), _digests(source), again)
        self._lay_down(version, source)
        return version

    def _lay_down(self, version: Version, source: Path) -> None:
        making = Path(tempfile.mkdtemp(prefix=".draft-", dir=self._path))
        try:
            (making / _FILES).mkdir()
            for name in version.files:
                shutil.copyfile(source / name, making / _FILES / name)
            document = version.to_json()
            manifest = {key: document[key] for key in ("version", "drafted", "note", "files", "again")}
            _write(making / _MANIFEST, manifest)
            _write(making / _STATE, _state(version))
            if _digests(making / _FILES) != version.files:
                raise VersionError("the files changed while they were being copied")
            making.rename(self._path / version.number)
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def _keep(self, version: Version) -> Version:
        _write(self._path / version.number / _STATE, _state(version))
        return version


def _check_items(old: Catalog, new: Catalog) -> None:
    """An item that says something else has a higher version, so that everybody can tell which one they have."""
    before = {item.id: item for item in old.items}
    stale = [
        item.id
        for item in new.items
        if item.id in before and item != before[item.id] and item.version <= before[item.id].version
    ]
    if stale:
        raise VersionError(f"changed since {old.version}, but the item's version did not rise: {', '.join(stale)}")


def _regions(catalog: Catalog) -> tuple[str, ...]:
    return tuple(region.code for region in catalog.regions)


def _digests(folder: Path) -> dict[str, str]:
    """SM3 of each TOML file, in hex."""
    found = {}
    for file in sorted(folder.glob("*.toml"))[: MAX_FILES + 1]:
        with file.open("rb") as stream:
            found[file.name] = default_engine().sm3(stream.read(MAX_FILE_BYTES + 1)).hex()
    return found


def _state(version: Version) -> dict[str, Any]:
    document = version.to_json()
    return {key: document[key] for key in ("reviews", "released", "effective")}


def _version(number: str, manifest: dict[str, Any], state: dict[str, Any]) -> Version:
    if manifest["version"] != number:
        raise ValueError(f"it speaks of {manifest['version']!r}")
    reviews = tuple(
        Review(
            str(review["region"]),
            review["accepts"] is True,
            str(review["by"]),
            str(review["note"]),
            date.fromisoformat(review["on"]),
        )
        for review in state["reviews"]
    )
    released, effective = state["released"], state["effective"]
    return Version(
        number,
        date.fromisoformat(manifest["drafted"]),
        str(manifest["note"]),
        {str(name): str(digest) for name, digest in manifest["files"].items()},
        manifest["again"],
        reviews,
        date.fromisoformat(released) if released else None,
        date.fromisoformat(effective) if effective else None,
    )


def _order(number: str) -> tuple[int, ...]:
    return tuple(map(int, number.split(".")))


def _line(field: str, text: str) -> str:
    if len(text) > MAX_TEXT or not text.isprintable():
        raise VersionError(f"{field} must be one line of at most {MAX_TEXT} characters")
    return text


def _write(path: Path, document: dict[str, Any]) -> None:
    """Whole or not at all, and on the disk when this returns."""
    making = path.with_suffix(".new")
    with making.open("w", encoding="utf-8") as stream:
        json.dump(document, stream, ensure_ascii=False, indent=2)
        stream.flush()
        os.fsync(stream.fileno())
    making.replace(path)
