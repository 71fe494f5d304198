"""Signed heads: made by the key service, checked by its public keys, appended to a file that is anchored elsewhere."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Final

from hsm.api import Algorithm, KeyExistsError, KeyNotFoundError, KeyRef, KeyService, Purpose
from hsm.primitives import DEFAULT_USER_ID, default_engine
from issuance.audit.verifier import Frontier, Hash, fold, head_bytes

AUDIT_HEAD: Final = KeyRef("AUDIT_HEAD", Algorithm.SM2)
_TAIL: Final = 1 << 16
"""Longer than any line of the file."""


class AuditBrokenError(Exception):
    """The log is not as it was left; `findings` are what `verifier` names, where it was asked."""

    failure: ClassVar[str] = "AUDIT_BROKEN"


def sm3() -> Hash:
    return default_engine().sm3


def head_key(keys: KeyService) -> KeyRef:
    """The key that signs heads, made in a new key store."""
    try:
        return keys.current(AUDIT_HEAD.name, AUDIT_HEAD.algorithm)
    except KeyNotFoundError:
        with suppress(KeyExistsError):  # another process was faster
            keys.generate_pair(AUDIT_HEAD, Purpose.SIGN)
        return keys.current(AUDIT_HEAD.name, AUDIT_HEAD.algorithm)


def public_keys(keys: KeyService) -> dict[int, bytes]:
    """Of every version that signed heads."""
    versions = keys.versions(AUDIT_HEAD.name, AUDIT_HEAD.algorithm)
    return {version: keys.public_key(replace(AUDIT_HEAD, version=version)) for version in sorted(versions)}


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """By the fast engine; as `verifier.sm2_verify`, which needs nothing of ours."""
    return len(signature) == 64 and default_engine().sm2_verify(public, message, signature)


def sign_head(
    keys: KeyService, tree: Frontier, centre: str, now: datetime, last: dict[str, Any] | None
) -> dict[str, Any]:
    """Columns of the next head. Its time is never before the last one's, though a clock may have been set back."""
    at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    key = head_key(keys)
    root = fold(tree.digest, tree.hashes)
    at = at if last is None else max(at, last["at"])
    message = head_bytes({"centre": centre, "size": tree.size, "root": root.hex(), "at": at})
    return {
        "size": tree.size,
        "centre": centre,
        "root": root,
        "at": at,
        "key_version": key.version,
        "frontier": b"".join(tree.hashes),
        "signature": keys.sign(key, message, user_id=DEFAULT_USER_ID),
    }


def tree_of(head: dict[str, Any] | None, public: dict[int, bytes]) -> Frontier:
    """The tree under a head that is proved to be ours. Raises AuditBrokenError."""
    if head is None:
        return Frontier(sm3())
    try:
        size, hashes = int(head["size"]), [bytes.fromhex(text) for text in head["frontier"]]
        tree = Frontier(sm3(), size, hashes)
        is_good = verify(public[head["key_version"]], head_bytes(head), bytes.fromhex(head["signature"]))
    except Exception as error:  # whatever a changed row may hold
        raise AuditBrokenError("the last signed head cannot be read") from error
    if not is_good or fold(tree.digest, hashes).hex() != head["root"]:
        raise AuditBrokenError(f"the signed head of size {size} does not verify")
    return tree


class HeadFile:
    """One head a line. Several processes may share it; each keeps the lines behind what it has."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def last(self) -> dict[str, Any] | None:
        """The last whole line. Raises AuditBrokenError for one that is no head."""
        if not self._path.exists():
            return None
        with self._path.open("rb") as file:
            return _last(file)[0]

    def heads(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            return [_head(line) for line in file if line.endswith(b"\n")]

    def append(self, heads: list[dict[str, Any]]) -> None:
        """Those that are larger than the last one there; a line that a crash cut is written anew."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            last, end = _last(file)
            file.truncate(end)
            size = 0 if last is None else last["size"]
            lines = [json.dumps(head, sort_keys=True) + "\n" for head in heads if head["size"] > size]
            file.write("".join(lines).encode())
            file.flush()
            os.fsync(file.fileno())


def _last(file: BinaryIO) -> tuple[dict[str, Any] | None, int]:
    """The last whole line, and where it ends."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _TAIL))
    tail = file.read(_TAIL)
    whole, _, cut = tail.rpartition(b"\n")
    return (_head(whole.rpartition(b"\n")[2]) if whole else None), end - len(cut)


def _head(line: bytes) -> dict[str, Any]:
    try:
        head: dict[str, Any] = json.loads(line)
        return head | {"size": int(head["size"])}
    except (ValueError, TypeError, KeyError) as error:
        raise AuditBrokenError("a line of the heads file is no head") from error
