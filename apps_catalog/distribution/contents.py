"""Which files of a catalog belong to whom, and which of them make one catalog.

The joint role publishes `manifest.json`, the SM3 of every owner's files: what it lists was agreed on, anything else is
a mixture of versions.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from apps_catalog.catalog import HEAD_FILE, load
from apps_catalog.errors import CatalogError, Problem
from hsm.primitives import default_engine

JOINT: Final = "joint"
MANIFEST: Final = "manifest.json"


def owner_of(file: Path) -> str:
    """The owner a file of a catalog that loads names; `catalog.toml` is everybody's."""
    if file.name == HEAD_FILE:
        return JOINT
    return str(tomllib.loads(file.read_text(encoding="utf-8"))["owner"])


def by_owner(folder: Path) -> dict[str, dict[str, bytes]]:
    """The files of the catalog in `folder` by who publishes them, with the manifest. Raises CatalogError."""
    load(folder)
    found: dict[str, dict[str, bytes]] = {}
    for file in sorted(folder.glob("*.toml")):
        found.setdefault(owner_of(file), {})[file.name] = file.read_bytes()
    digests = {name: sm3_of(data) for files in found.values() for name, data in files.items()}
    found[JOINT][MANIFEST] = json.dumps({"sm3": digests}, indent=1, sort_keys=True).encode() + b"\n"
    return found


def sm3_of(data: bytes) -> str:
    return default_engine().sm3(data).hex()


def differences(manifest: bytes, digests: Mapping[str, str]) -> list[str]:
    """Names of files that are missing, not agreed on, or not those of the manifest. Raises CatalogError."""
    try:
        agreed = json.loads(manifest)["sm3"]
    except (KeyError, TypeError, ValueError):
        agreed = None
    if not isinstance(agreed, dict):
        raise CatalogError([Problem(MANIFEST, "", "", "is no manifest")])
    return sorted(name for name in agreed.keys() | digests.keys() if agreed.get(name) != digests.get(name))
