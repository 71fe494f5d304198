"""Messages about the audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from cardlib.wire import Message


class AuditEntry(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 42,
                    "at": "2026-01-05T01:00:00Z",
                    "actor": "counter-0001",
                    "clerk": "clerk-07",
                    "act": "card.enable",
                    "subject": "card:A00000011",
                    "application_id": "0d9f4f0e6b7f4a35a3b2b8a1b4a6c001",
                    "region": "110000",
                    "place": "/1/4/",
                    "outcome": "ok",
                    "reason": "",
                    "detail": {},
                }
            ]
        }
    )

    id: int
    at: datetime
    actor: str
    clerk: str
    act: str
    subject: str
    application_id: str | None
    region: str | None
    place: str = Field(description="Path of the clerk's office")
    outcome: str
    reason: str = Field(description="What a person gave as one")
    detail: dict[str, Any]


_HASH = "207cf410532f92a47dee245ce9b11ff71f578ebd763eb3bbea44ebd043d018fb"
_HEAD: JsonDict = {
    "centre": "onecard-issuance",
    "size": 2,
    "root": _HASH,
    "at": "2026-01-05T01:00:00.000000Z",
    "key_version": 1,
    "frontier": [_HASH],
    "signature": _HASH + _HASH,
}
_KEYS: JsonDict = {"1": "04" + _HASH + _HASH}
_ENTRY: JsonDict = {
    "id": 2,
    "at": "2026-01-05 01:00:00.000000",
    "actor": "counter-0001",
    "clerk": "clerk-07",
    "act": "card.enable",
    "subject": "card:A00000011",
    "application_id": None,
    "region": "110000",
    "place": "/1/4/",
    "outcome": "ok",
    "reason": "",
    "detail": "{}",
    "seal": "0001" + "00" * 48,
}
EXAMPLE_PROOF: JsonDict = {
    "onecard_audit": 1,
    "keys": _KEYS,
    "head": _HEAD,
    "leaf": 1,
    "entry": _ENTRY,
    "path": [_HASH],
}


class SignedHead(Message):
    """Root of the first `size` entries. The signature (SM2, r || s) is over five lines: `onecard-audit-head`, centre,
    size, root, time. `frontier` are the hashes of the complete subtrees, whose fold is the root."""

    model_config = ConfigDict(json_schema_extra={"examples": [_HEAD]})

    centre: str
    size: int
    root: str
    at: str
    key_version: int
    frontier: list[str]
    signature: str


class LogState(Message):
    """`fingerprints`: SM3 of the public keys by version, for comparison with what the centre published."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"head": _HEAD, "fingerprints": {"1": _HASH}}]})

    head: SignedHead | None = Field(description="Null before the first entry has its place")
    fingerprints: dict[int, str]


class EntryProof(Message):
    """`entry` as it is stored; its hash with `path`, from the leaf up, gives the root (RFC 6962, 2.1.1)."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_PROOF]})

    onecard_audit: int = Field(description="Version of this format")
    keys: dict[str, str] = Field(description="Public keys by version, 04 || X || Y")
    head: SignedHead
    leaf: int
    entry: dict[str, Any]
    path: list[str]


class GrowthProof(Message):
    """The tree of `head` begins with the tree of `old` (RFC 6962, 2.1.2)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"onecard_audit": 1, "keys": _KEYS, "old": _HEAD | {"size": 1}, "head": _HEAD, "path": [_HASH]}
            ]
        }
    )

    onecard_audit: int
    keys: dict[str, str]
    old: SignedHead
    head: SignedHead
    path: list[str]
