#!/usr/bin/env python3
"""Checks an export of OneCard's audit log: this file and Python 3.11 are all it needs.

    python3 verifier.py log.jsonl --key FINGERPRINT [--heads audit-heads.jsonl]
    python3 verifier.py proof.json --key FINGERPRINT

FINGERPRINT is the SM3 of the public key that signs the heads, as the centre published it (`onecard audit key`): without
it an export proves nothing. `--heads` are heads that were anchored elsewhere: they show what was cut from the end.
Ends with 0 when all is well, with 1 when something was found (each finding names the entry), with 2 for a bad file.

Tree: RFC 6962 over SM3 (leaf 0x00, node 0x01). Signature: SM2 (GM/T 0003.2), r || s, default user id.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Hash = Callable[[bytes], bytes]
Verify = Callable[[bytes, bytes, bytes], bool]
"""Public key (04 || X || Y), message, signature (r || s)."""
MAX_LINE = 1 << 20
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
MAX_PAIRS = 64
"""Among more changed entries than these nobody looks for pairs that changed places."""

WORDS = {
    "entry_changed": ("内容被改动", "the entry was changed after it was written into the tree"),
    "entry_missing": ("记录被删除", "the entry was deleted"),
    "entry_moved": ("被换到别处：现在放着另一条的内容", "places were changed: it holds what belongs to another entry"),
    "entry_reported": (
        "入树之前已被改动（服务当时已报告）",
        "the service reported it as changed before it reached the tree",
    ),
    "leaf_changed": ("树中的杂凑被改动，记录本身无误", "its hash in the tree was changed; the entry itself is right"),
    "leaf_missing": ("树中的叶子被删除", "its leaf was deleted from the tree"),
    "leaf_moved": ("树中的次序被改动", "its leaf was moved to another place of the tree"),
    "block_unfit": (
        "与签名的树根不符：其中有记录连同杂凑被改动",
        "does not fit the signed root: entry and hash changed",
    ),
    "tail_missing": ("末尾被截断：签名的树头里有这些记录", "cut off the end: a signed head counts these entries"),
    "seal_wrong": ("与写入时的校验码不符", "does not fit the seal it got when it was made"),
    "outside": ("不在树里，也不在等候", "stands outside the tree and does not wait for a place"),
    "copied": ("与另一条的校验码相同：是复制的", "bears the seal of another entry: it was copied"),
    "queued_again": ("已在树里，又排队等候", "is in the tree and waits for a place again"),
    "node_changed": ("保存的子树杂凑被改动", "the kept hash of this subtree was changed"),
    "waiting": ("有记录等候入树过久", "entries wait too long for their place: the job does not run"),
    "unsigned": ("没有签名的树头覆盖", "no signed head covers it"),
    "head_signature": ("树头的签名不对", "the signature of the head is wrong"),
    "head_key": ("树头不是用已知的密钥签的", "the head is not signed by a known key"),
    "head_changed": ("树头的内容被改动", "the head was changed"),
    "head_order": ("树头的次序或时间倒退", "heads go back in size or time"),
    "head_missing": ("存档的树头不在日志里", "an anchored head is not in the log"),
    "head_fork": ("与存档的树头不同：日志被重写", "differs from the anchored head: the log was rewritten"),
    "file_cut": ("文件不完整", "the file is not whole"),
    "proof_wrong": ("证明不成立", "the proof does not hold"),
}


class FormatError(Exception):
    """The file is not what this program reads."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and where: leaves `first` to `last` of the tree, and the entry's id where there is one."""

    kind: str
    first: int
    last: int
    entry_id: int | None = None
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        zh, en = WORDS[self.kind]
        told = {"kind": self.kind, "entry_id": self.entry_id, "first_leaf": self.first, "last_leaf": self.last}
        return told | {"detail": self.detail, "text_zh": zh, "text_en": en}

    def __str__(self) -> str:
        zh, en = WORDS[self.kind]
        place = f"#{self.first}" if self.first == self.last else f"#{self.first}-{self.last}"
        entry = "" if self.entry_id is None else f"entry {self.entry_id} "
        return f"{entry}{place}: {zh} / {en}" + (f" ({self.detail})" if self.detail else "")


# -- tree (RFC 6962, 2.1) ---------------------------------------------------------------------------------------------


def leaf_hash(digest: Hash, data: bytes) -> bytes:
    return digest(b"\x00" + data)


def node_hash(digest: Hash, left: bytes, right: bytes) -> bytes:
    return digest(b"\x01" + left + right)


def fold(digest: Hash, hashes: Sequence[bytes]) -> bytes:
    """Root over complete subtrees, the largest first."""
    if not hashes:
        return digest(b"")
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(digest, left, root)
    return root


class Frontier:
    """A growing tree by the hashes of its complete subtrees, the largest first: as many as `size` has one bits."""

    def __init__(self, digest: Hash, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if len(hashes) != size.bit_count():
            raise FormatError(f"a tree of {size} leaves has {size.bit_count()} complete subtrees, not {len(hashes)}")
        self.digest, self.size, self.hashes = digest, size, list(hashes)

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf hash; returns level, position and hash of the complete subtrees above it that it finishes."""
        done = []
        level, position = 0, self.size
        self.hashes.append(leaf)
        while position & 1:
            right = self.hashes.pop()
            self.hashes[-1] = node_hash(self.digest, self.hashes[-1], right)
            level, position = level + 1, position >> 1
            done.append((level, position, self.hashes[-1]))
        self.size += 1
        return done

    def grown(self, leaves: Iterable[bytes]) -> bytes:
        """Root of this tree with more leaves; the tree itself stays."""
        copy = Frontier(self.digest, self.size, self.hashes)
        for leaf in leaves:
            copy.append(leaf)
        return fold(self.digest, copy.hashes)


def is_included(digest: Hash, leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `leaf` is number `index` of the tree of `size` leaves (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    number, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if number & 1 or number == last:
            found = node_hash(digest, sibling, found)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            found = node_hash(digest, found, sibling)
        number, last = number >> 1, last >> 1
    return last == 0 and hmac.compare_digest(found, root)


def is_consistent(digest: Hash, old: tuple[int, bytes], new: tuple[int, bytes], path: Sequence[bytes]) -> bool:
    """Whether the tree `new` (size, root) begins with all of `old` (RFC 9162, 2.1.4.2)."""
    (first, first_root), (second, second_root) = old, new
    if first == second:
        return not path and hmac.compare_digest(first_root, second_root)
    if first == 0 or first > second or not path:
        return first == 0 and not path
    hashes = [first_root, *path] if first & (first - 1) == 0 else list(path)
    number, last = first - 1, second - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    left = right = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            left, right = node_hash(digest, sibling, left), node_hash(digest, sibling, right)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            right = node_hash(digest, right, sibling)
        number, last = number >> 1, last >> 1
    return last == 0 and hmac.compare_digest(left, first_root) and hmac.compare_digest(right, second_root)


def entry_bytes(entry: dict[str, Any]) -> bytes:
    """What a leaf is the hash of: JSON in ASCII, keys sorted, without spaces."""
    return _CANONICAL.encode(entry).encode()


def head_bytes(head: dict[str, Any]) -> bytes:
    """What the signature of a head covers."""
    text = f"onecard-audit-head\n{head['centre']}\n{head['size']}\n{head['root']}\n{head['at']}\n"
    return text.encode(errors="backslashreplace")


# -- the log ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Leaf:
    """One place of the tree: the hash that is on record, and the one that the entry gives; None where it is gone."""

    number: int
    entry_id: int | None
    recorded: bytes | None
    entry: dict[str, Any] | None
    computed: bytes | None


@dataclass
class LogCheck:
    """Takes leaves and heads in the order of the log. `keys`: trusted public keys by version.

    Between two good heads the leaves stand for themselves, so that one fault does not hide another further on.
    """

    digest: Hash
    verify: Verify
    keys: dict[int, bytes]
    findings: list[Finding] = field(default_factory=list)
    leaves: int = 0
    heads: int = 0

    def __post_init__(self) -> None:
        self._base = Frontier(self.digest)
        self._block: list[Leaf] = []
        self._wrong: list[Leaf] = []
        self._last: dict[str, Any] | None = None
        self._anchors: set[tuple[Any, ...]] = set()
        self._waiting: list[dict[str, Any]] = []

    def anchor(self, heads: Iterable[dict[str, Any]]) -> None:
        """Heads that were kept elsewhere; to be told before the first leaf."""
        new = {(head["size"], head["root"], head["signature"]): head for head in heads}
        self._waiting += [head for key, head in new.items() if key not in self._anchors and self.is_signed(head)]
        self._anchors |= set(new)
        self._waiting.sort(key=lambda head: int(head["size"]))

    def leaf(self, number: int, entry_id: int, recorded: str, entry: dict[str, Any] | None) -> None:
        self._anchors_up_to(number)
        self._fill_to(number)
        if number < self.leaves:
            self._find("leaf_moved", number, entry_id=entry_id)
            return
        computed = None if entry is None else leaf_hash(self.digest, entry_bytes(entry))
        self._block.append(Leaf(number, entry_id, _hash_of(recorded), entry, computed))
        self.leaves = number + 1
        if entry is not None and entry.get("act") == "audit.broken":
            self._find("entry_reported", number, entry_id=entry_id, detail=str(entry.get("subject")))

    def head(self, head: dict[str, Any]) -> None:
        self._anchors_up_to(int(head["size"]) - 1)
        self.heads += 1
        if not self.is_signed(head):
            return
        size = int(head["size"])
        while self._waiting and int(self._waiting[0]["size"]) == size:
            if self._waiting.pop(0)["root"] != head["root"]:
                self._find("head_fork", size - 1)
        if self._last is not None and (size <= int(self._last["size"]) or head["at"] < self._last["at"]):
            self._find("head_order", size - 1)
        self._close(head)

    def end(self) -> list[Finding]:
        """All findings, in the order of the tree."""
        self._anchors_up_to(1 << 62)
        if self._block:
            self._find("unsigned", self._block[0].number, self._block[-1].number)
            self._wrong += [leaf for leaf in self._block if leaf.recorded != leaf.computed]
        self._name_wrong()
        self.findings.sort(key=lambda finding: (finding.first, finding.kind))
        return self.findings

    def _anchors_up_to(self, number: int) -> None:
        """Heads that only the anchor has are heads all the same."""
        while self._waiting and int(self._waiting[0]["size"]) <= number:
            head = self._waiting.pop(0)
            if self._last is not None and int(self._last["size"]) >= int(head["size"]):
                continue  # two anchored heads of one size: the first was used
            self._find("head_missing", int(head["size"]) - 1)
            self._close(head)

    def _fill_to(self, number: int, kind: str = "leaf_missing") -> None:
        if number > self.leaves:
            self._find(kind, self.leaves, number - 1)
            self._block += [
                Leaf(n, None, None, None, None) for n in range(self.leaves, min(number, self.leaves + 4096))
            ]
            self.leaves = number

    def _close(self, head: dict[str, Any]) -> None:
        """Compare the leaves since the last good head with this one."""
        self._fill_to(int(head["size"]), "tail_missing")
        block, self._block = self._block, []
        self._last = head
        root = _hash_of(head["root"]) or b""
        recorded = [leaf.recorded for leaf in block]
        computed = [leaf.computed for leaf in block]
        ordered = sorted(block, key=lambda leaf: leaf.entry_id or 0)
        wrong = [leaf for leaf in block if leaf.recorded != leaf.computed]
        if self._gives(recorded, root):
            self._wrong += wrong
        elif self._gives(computed, root):
            for leaf in wrong:
                self._find("leaf_changed", leaf.number, entry_id=leaf.entry_id)
        elif self._gives([leaf.recorded for leaf in ordered], root):
            for leaf, right in zip(block, ordered, strict=True):
                if leaf is not right:
                    self._find("leaf_moved", leaf.number, entry_id=leaf.entry_id)
        else:
            self._wrong += wrong
            if block and None not in recorded:
                self._find("block_unfit", block[0].number, block[-1].number)
        self._base = Frontier(self.digest, int(head["size"]), [bytes.fromhex(text) for text in head["frontier"]])

    def _gives(self, hashes: Sequence[bytes | None], root: bytes) -> bool:
        known = [value for value in hashes if value is not None]
        return len(known) == len(hashes) and hmac.compare_digest(self._base.grown(known), root)

    def is_signed(self, head: dict[str, Any]) -> bool:
        """By a trusted key, and whole; what is not is a finding."""
        size = int(head["size"])
        key = self.keys.get(int(head["key_version"]))
        if key is None:
            self._find("head_key", size - 1)
            return False
        if not self.verify(key, head_bytes(head), _hash_of(head["signature"]) or b""):
            self._find("head_signature", size - 1)
            return False
        hashes = [_hash_of(text) or b"" for text in head["frontier"]]
        root = _hash_of(head["root"]) or b""
        if len(hashes) != size.bit_count() or not hmac.compare_digest(fold(self.digest, hashes), root):
            self._find("head_changed", size - 1)
            return False
        return True

    def _name_wrong(self) -> None:
        present = [leaf for leaf in self._wrong if leaf.entry is not None]
        homes = {leaf.recorded: leaf.entry_id for leaf in present} if len(present) <= MAX_PAIRS else {}
        for leaf in self._wrong:
            if leaf.entry is None:
                if leaf.entry_id is not None:
                    self._find("entry_missing", leaf.number, entry_id=leaf.entry_id)
                continue
            home = self._home(leaf, homes)
            kind, detail = ("entry_changed", "") if home is None else ("entry_moved", f"entry {home}")
            self._find(kind, leaf.number, entry_id=leaf.entry_id, detail=detail)

    def _home(self, leaf: Leaf, homes: dict[bytes | None, int | None]) -> int | None:
        """The entry whose content this one holds now."""
        for entry_id in homes.values():
            moved = leaf_hash(self.digest, entry_bytes((leaf.entry or {}) | {"id": entry_id}))
            if entry_id != leaf.entry_id and homes.get(moved) == entry_id:
                return entry_id
        return None

    def _find(
        self, kind: str, first: int, last: int | None = None, *, entry_id: int | None = None, detail: str = ""
    ) -> None:
        self.findings.append(Finding(kind, first, first if last is None else last, entry_id, detail))


def _hash_of(text: Any) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except (TypeError, ValueError):
        return None


# -- files ------------------------------------------------------------------------------------------------------------


def check_export(lines: Iterable[str], keys: set[str], anchored: list[dict[str, Any]], digest: Hash) -> LogCheck:
    """`keys`: fingerprints that are trusted. Raises FormatError."""
    records = _records(lines)
    top = next(records, {})
    if top.get("onecard_audit") != 1:
        raise FormatError("not an export of the audit log, or of another version")
    check = LogCheck(digest, sm2_verify, _trusted(top.get("keys"), keys, digest))
    check.anchor(anchored)
    read, is_whole = 0, False
    for record in records:
        if "anchor" in record:
            check.anchor([record["anchor"]])
        elif "leaf" in record:
            read += 1
            entry = record["entry"]
            if isinstance(entry, dict) and entry.get("id") != record["entry_id"]:
                # No hash covers the number beside the entry, only the one within it.
                raise FormatError(f"leaf {record['leaf']}: number and entry disagree")
            check.leaf(int(record["leaf"]), int(record["entry_id"]), str(record["hash"]), entry)
        elif "head" in record:
            check.head(record["head"])
        elif "end" in record:
            is_whole = record["end"] == {"leaves": read, "heads": check.heads}
        else:
            raise FormatError("a record of no known kind")
    check.end()
    if not is_whole:
        check.findings.append(Finding("file_cut", check.leaves, check.leaves))
    return check


def check_proof(proof: dict[str, Any], keys: set[str], digest: Hash) -> list[Finding]:
    """Of one entry: its place under a signed head, or of two heads: one begins with the other. Raises FormatError."""
    check = LogCheck(digest, sm2_verify, _trusted(proof.get("keys"), keys, digest))
    heads = [proof[name] for name in ("old", "head") if name in proof]
    path = [bytes.fromhex(text) for text in proof["path"]]
    if sum(check.is_signed(head) for head in heads) < len(heads):
        return check.findings
    trees = [(int(head["size"]), bytes.fromhex(head["root"])) for head in heads]
    if "entry" in proof:
        leaf, index = leaf_hash(digest, entry_bytes(proof["entry"])), int(proof["leaf"])
        holds = is_included(digest, leaf, index, trees[0][0], path, trees[0][1])
    else:
        index, holds = trees[0][0] - 1, is_consistent(digest, trees[0], trees[1], path)
    return [] if holds else [Finding("proof_wrong", index, index)]


def _trusted(given: Any, keys: set[str], digest: Hash) -> dict[int, bytes]:
    found = {int(version): bytes.fromhex(text) for version, text in (given or {}).items()}
    return {version: key for version, key in found.items() if digest(key).hex() in keys}


def _records(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line) if len(line) <= MAX_LINE else None
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise FormatError(f"line {number} is not a record")
        yield record


# -- SM3 (GB/T 32905) and SM2 (GB/T 32918.2) --------------------------------------------------------------------------

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
USER_ID = b"1234567812345678"
Point = tuple[int, int, int]


def sm3(data: bytes) -> bytes:
    """By OpenSSL where Python has it."""
    try:
        return hashlib.new("sm3", data).digest()
    except ValueError:
        return sm3_in_python(data)


def sm3_in_python(data: bytes) -> bytes:
    padded = data + b"\x80" + bytes(-(len(data) + 9) % 64) + (8 * len(data)).to_bytes(8, "big")
    state = [0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600, 0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E]
    for start in range(0, len(padded), 64):
        w = [int.from_bytes(padded[start + i : start + i + 4], "big") for i in range(0, 64, 4)]
        for j in range(16, 68):
            x = w[j - 16] ^ w[j - 9] ^ _left(w[j - 3], 15)
            w.append(x ^ _left(x, 15) ^ _left(x, 23) ^ _left(w[j - 13], 7) ^ w[j - 6])
        a, b, c, d, e, f, g, h = state
        for j in range(64):
            ss1 = _left((_left(a, 12) + e + _left(0x79CC4519 if j < 16 else 0x7A879D8A, j % 32)) & 0xFFFFFFFF, 7)
            ff, gg = (a ^ b ^ c, e ^ f ^ g) if j < 16 else (a & b | a & c | b & c, e & f | ~e & g)
            tt1 = (ff + d + (ss1 ^ _left(a, 12)) + (w[j] ^ w[j + 4])) & 0xFFFFFFFF
            tt2 = (gg + h + ss1 + w[j]) & 0xFFFFFFFF
            a, b, c, d, e, f, g, h = tt1, a, _left(b, 9), c, tt2 ^ _left(tt2, 9) ^ _left(tt2, 17), e, _left(f, 19), g
        state = [old ^ new for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True)]
    return b"".join(word.to_bytes(4, "big") for word in state)


def _left(word: int, count: int) -> int:
    return ((word << count) | (word >> (32 - count))) & 0xFFFFFFFF if count else word


def sm2_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    if len(public) != 65 or public[0] != 4 or len(signature) != 64:
        return False
    x, y = int.from_bytes(public[1:33], "big"), int.from_bytes(public[33:], "big")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    t = (r + s) % N
    if max(x, y) >= P or (y * y - (x * x * x - 3 * x + B)) % P or not (0 < r < N and 0 < s < N) or not t:
        return False
    fixed = b"".join(value.to_bytes(32, "big") for value in (P - 3, B, *G, x, y))
    z = sm3((8 * len(USER_ID)).to_bytes(2, "big") + USER_ID + fixed)
    digest = int.from_bytes(sm3(z + message), "big")
    point = _two_multiples(s, (*G, 1), t, (x, y, 1))
    return bool(point[2]) and (digest + point[0] * pow(point[2], -2, P) % P) % N == r


def _two_multiples(s: int, g: Point, t: int, q: Point) -> Point:
    """s * g + t * q in Jacobian coordinates; z is 0 at infinity."""
    both, total = _add(g, q), (1, 1, 0)
    for bit in range(max(s, t).bit_length() - 1, -1, -1):
        total = _double(total)
        chosen = (None, g, q, both)[(s >> bit & 1) | (t >> bit & 1) << 1]
        total = total if chosen is None else _add(total, chosen)
    return total


def _double(point: Point) -> Point:
    x, y, z = point
    s, m = 4 * x * y * y, 3 * (x - z * z) * (x + z * z)
    new = (m * m - 2 * s) % P
    return new, (m * (s - new) - 8 * y**4) % P, 2 * y * z % P


def _add(one: Point, two: Point) -> Point:
    if not one[2] or not two[2]:
        return one if one[2] else two
    (x1, y1, z1), (x2, y2, z2) = one, two
    u1, u2 = x1 * z2 * z2 % P, x2 * z1 * z1 % P
    s1, s2 = y1 * z2**3 % P, y2 * z1**3 % P
    if u1 == u2:
        return _double(one) if s1 == s2 else (1, 1, 0)
    h, r = u2 - u1, s2 - s1
    x3 = (r * r - h**3 - 2 * u1 * h * h) % P
    return x3, (r * (u1 * h * h - x3) - s1 * h**3) % P, h * z1 * z2 % P


# -- command line -----------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description="Check an export or a proof of OneCard's audit log.")
    options.add_argument("file", type=Path, help="what `onecard audit export` or `onecard audit prove` wrote")
    options.add_argument("--key", action="append", required=True, help="fingerprint (SM3, hex) of a trusted key")
    options.add_argument("--heads", type=Path, help="heads that were anchored elsewhere")
    options.add_argument("--json", action="store_true", help="findings for programs")
    given = options.parse_args(arguments)
    keys = {text.lower() for text in given.key}
    try:
        anchored = list(_heads_of(given.heads)) if given.heads else []
        with given.file.open(encoding="utf-8") as lines:
            if given.file.suffix == ".json":
                findings, told = check_proof(json.load(lines), keys, sm3), "1 proof"
            else:
                check = check_export(lines, keys, anchored, sm3)
                findings, told = check.findings, f"{check.leaves} entries, {check.heads} heads"
    except (FormatError, OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        print(f"✗ 无法读取 / cannot be read: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    if given.json:
        print(json.dumps({"ok": not findings, "findings": [finding.to_json() for finding in findings]}))
        return 1 if findings else 0
    for finding in findings:
        print(f"✗ {finding}")
    print(f"{'✗' if findings else '✓'} {told}: {len(findings)} 处问题 / findings")
    return 1 if findings else 0


def _heads_of(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from _records(lines)


if __name__ == "__main__":
    sys.exit(main())
