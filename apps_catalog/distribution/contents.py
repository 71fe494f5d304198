"""Which files of a catalog belong to whom, and which of them make one catalog.

The joint role publishes `manifest.json`, the SM3 of every owner's files: what it lists was agreed on, anything else is
a mixture of versions.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from cryptography.hazmat.primitives.hashes import SM3, Hash

from apps_catalog.catalog import HEAD_FILE, load
from apps_catalog.errors import CatalogError, Problem
from hsm.primitives import default_engine

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile

JOINT: Final = "joint"
MANIFEST: Final = "manifest.json"
_PIECE: Final = 1 << 20
_SM3: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


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


def named_sm3(info: TargetFile) -> str:
    """The SM3 that metadata names for a file, 64 hex digits; empty where it names none."""
    found = info.custom.get("sm3") if isinstance(info.custom, dict) else None
    return found if isinstance(found, str) and _SM3.fullmatch(found) else ""


def sm3_of_file(file: BinaryIO) -> str:
    """From its beginning, piece by piece: a block list in one would be the largest thing in a terminal's memory."""
    digest = Hash(SM3())
    file.seek(0)
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.finalize().hex()


def differences(manifest: bytes, digests: Mapping[str, str]) -> list[str]:
    """Names of files that are missing, not agreed on, or not those of the manifest. Raises CatalogError."""
    try:
        agreed = json.loads(manifest)["sm3"]
    except (KeyError, TypeError, ValueError, RecursionError):
        agreed = None
    if not isinstance(agreed, dict):
        raise CatalogError([Problem(MANIFEST, "", "", "is no manifest")])
    return sorted(name for name in agreed.keys() | digests.keys() if agreed.get(name) != digests.get(name))
