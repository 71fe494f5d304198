"""Versions of the catalog in a directory, by the steps of `version_rules`.

`STORE/VERSION/files/` holds the TOML files as they were drafted, `manifest.json` the SM3 of each and `state.json` what
happened to it since. Reviews are recorded here by name; the provinces' signatures belong to the distribution.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from datetime import date
from pathlib import Path
from typing import Any, Final

from apps_catalog import version_rules as rules
from apps_catalog.catalog import HEAD_FILE, Catalog, read_catalog, read_files
from apps_catalog.errors import CatalogError, Problem
from apps_catalog.version_rules import VERSION, NoVersionError, Review, Stage, Version, VersionError

__all__ = ["Review", "Stage", "Version", "VersionError", "VersionStore"]
_FILES: Final = "files"
_MANIFEST: Final = "manifest.json"
_STATE: Final = "state.json"


class VersionStore:
    """One writer at a time. Every step is one rename, so a power cut leaves the state before it or after it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def draft(self, source: Path, *, note: str, on: date) -> Version:
        """Take the files of `source` as a new version, numbered as its `catalog.toml` says.

        Raises CatalogError for files that are no catalog or that lint objects to, VersionError for a number that
        does not come after all others, or an item that changed while its version did not rise.
        """
        return self._draft(read_files(source), note=note, on=on, again=None)

    def rollback(self, number: str, to: str, *, note: str, on: date) -> Version:
        """Draft the content of released version `to` again as version `number`; it is reviewed like any other."""
        if not VERSION.fullmatch(number):
            raise VersionError(f"{number!r} is no version such as 2026.47.1", "版本号要写成2026.47.1这样")
        if self.get(to).released is None:
            raise VersionError(f"{to} was never released", f"{to}没有发布过")
        files = self._files(to)
        rules.demand_manifest(self.get(to), files)
        head = rules.renumbered(files[HEAD_FILE].decode("utf-8"), number, on).encode()
        return self._draft(files | {HEAD_FILE: head}, note=note, on=on, again=to)

    def review(self, number: str, region: str, *, accepts: bool, by: str, note: str, on: date) -> Version:
        """Record a province's word. Raises VersionError after release and for a region the catalog does not have."""
        version = self.get(number)
        review = Review(region, accepts, by, note, on)
        return self._keep(rules.reviewed(version, _regions(self.open(number)), review))

    def release(self, number: str, *, effective: date, on: date) -> Version:
        """Publish jointly, from `effective` on, which is today or later. Needs the yes of every province."""
        version, regions = self.get(number), _regions(self.open(number))
        return self._keep(rules.released(version, regions, self.versions(), effective=effective, on=on))

    def versions(self) -> list[Version]:
        """Every version, oldest number first."""
        try:
            names = [entry.name for entry in self._path.iterdir() if VERSION.fullmatch(entry.name)]
        except FileNotFoundError:
            return []
        return [self.get(name) for name in sorted(names, key=rules.order)]

    def in_force(self, on: date) -> Version | None:
        """The released version that counts on that day."""
        return rules.in_force(self.versions(), on)

    def get(self, number: str) -> Version:
        """Raises VersionError for a number that is not here, CatalogError for a damaged record."""
        if not VERSION.fullmatch(number) or not (self._path / number).is_dir():
            raise NoVersionError(f"there is no version {number!r}", "没有这个版本")
        try:
            manifest = json.loads((self._path / number / _MANIFEST).read_text(encoding="utf-8"))
            state = json.loads((self._path / number / _STATE).read_text(encoding="utf-8"))
            return _version(number, manifest, state)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise CatalogError([Problem(f"{number}/{_MANIFEST}", "", "", f"cannot be read: {exc}")]) from exc

    def open(self, number: str) -> Catalog:
        """The version's catalog, after every file was compared with the manifest. Raises CatalogError."""
        files = self._files(number)
        rules.demand_manifest(self.get(number), files)
        return read_catalog(files)

    def _files(self, number: str) -> dict[str, bytes]:
        return read_files(self._path / number / _FILES)

    def _draft(self, files: dict[str, bytes], *, note: str, on: date, again: str | None) -> Version:
        catalog = read_catalog(files)
        rules.demand_sound(catalog, on)
        self._path.mkdir(parents=True, exist_ok=True)
        known = self.versions()
        rules.demand_last(catalog.version, known)
        before = [version for version in known if version.released is not None]
        if before and again is None:
            rules.demand_items_rose(self.open(before[-1].number), catalog)
        version = Version(catalog.version, on, rules.one_line("note", note), rules.digests(files), again)
        self._lay_down(version, files)
        return version

    def _lay_down(self, version: Version, files: dict[str, bytes]) -> None:
        making = Path(tempfile.mkdtemp(prefix=".draft-", dir=self._path))
        try:
            (making / _FILES).mkdir()
            for name, raw in files.items():
                (making / _FILES / name).write_bytes(raw)
            document = version.to_json()
            manifest = {key: document[key] for key in ("version", "drafted", "note", "files", "again")}
            _write(making / _MANIFEST, manifest)
            _write(making / _STATE, _state(version))
            making.rename(self._path / version.number)
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def _keep(self, version: Version) -> Version:
        _write(self._path / version.number / _STATE, _state(version))
        return version


def _regions(catalog: Catalog) -> tuple[str, ...]:
    return tuple(region.code for region in catalog.regions)


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


def _write(path: Path, document: dict[str, Any]) -> None:
    """Whole or not at all, and on the disk when this returns."""
    making = path.with_suffix(".new")
    with making.open("w", encoding="utf-8") as stream:
        json.dump(document, stream, ensure_ascii=False, indent=2)
        stream.flush()
        os.fsync(stream.fileno())
    making.replace(path)
