"""What people did with keys, in a log that shows whether it was touched.

One line an act, `MAC JSON`: the MAC is keyed by a key of the store, and the JSON holds the digest of the line before.
The head (how many lines, the digest of the last) lies beside, under a MAC too, so that lines cut from the end are
noticed. Who puts back older copies of both files is found only by the number and digest of the last act that the
commands print for the paper record.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final

from hsm.api import Algorithm, HsmError, KeyNotFoundError, KeyRef, Purpose
from hsm.primitives import default_engine
from hsm.sealed_store import exclusive, write_atomically
from hsm.service import StoreKeyService

LOG_KEY: Final = "onecard-acts"
DESTROY: Final = "destroy"
_LINE, _HEAD = b"act\0", b"head\0"


class ActLogError(HsmError):
    """The log does not verify; `entry` counts from 1, 0 is the head."""

    failure: ClassVar[str] = "ACT_LOG_BROKEN"

    def __init__(self, entry: int, text: str) -> None:
        super().__init__(f"entry {entry}: {text}" if entry else f"head: {text}")
        self.entry = entry


class Result(StrEnum):
    """BEGUN without an end behind it was interrupted."""

    BEGUN = "begun"
    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Act:
    """`who` are officers, or the system's user where there are none; `key` and `kcv` are empty where none is meant."""

    number: int
    at: str
    who: tuple[str, ...]
    act: str
    key: str
    kcv: str
    result: Result
    detail: str
    previous: str


@dataclass(frozen=True, slots=True)
class Head:
    """Where the log ends: `count` lines, `digest` of the last."""

    count: int
    digest: str


def own_key(service: StoreKeyService, name: str) -> KeyRef | None:
    """A key the commands keep for themselves, None when it was never made."""
    for algorithm in (Algorithm.SM4, Algorithm.TDES):
        ref = KeyRef(name, algorithm)
        try:
            service.table.find(ref)
        except KeyNotFoundError:
            continue
        return ref
    return None


def make_own_key(service: StoreKeyService, name: str) -> KeyRef:
    algorithm = Algorithm.SM4 if Algorithm.SM4 in service.device.algorithms else Algorithm.TDES
    return service.generate(KeyRef(name, algorithm), Purpose.SEAL).ref


class ActLog:
    """The log of one store, in `store.acts` and `store.acts.head`; safe for several processes."""

    def __init__(
        self, service: StoreKeyService, store: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._service = service
        self._engine = default_engine()
        self._path = store.with_name(store.name + ".acts")
        self._head_path = store.with_name(store.name + ".acts.head")
        self._clock = clock

    @property
    def files(self) -> tuple[Path, Path]:
        return self._path, self._head_path

    def append(
        self, who: Sequence[str], act: str, result: Result, *, key: str = "", kcv: str = "", detail: str = ""
    ) -> Head:
        """On the disk when it returns. Raises ActLogError: to a log that was touched nothing is added."""
        with exclusive(self._path):
            if own_key(self._service, LOG_KEY) is None:
                make_own_key(self._service, LOG_KEY)
                self._write_head(Head(0, ""))
            acts, head, whole = self._read()
            at = self._clock().astimezone(UTC).isoformat(timespec="seconds")
            entry = Act(len(acts) + 1, at, tuple(who), act, key, kcv, result, detail, head.digest)
            text = json.dumps(asdict(entry), ensure_ascii=False, sort_keys=True).encode("utf-8")
            line = self._mac(_LINE, text).encode("ascii") + b" " + text
            self._write_line(line, whole)
            head = Head(entry.number, self._engine.sm3(line).hex())
            self._write_head(head)
            return head

    def entries(self) -> list[Act]:
        """All acts, verified; none for a store without a log. Raises ActLogError."""
        return self._read()[0] if self.exists else []

    def destroyed(self) -> set[str]:
        """Keys whose destruction was begun. Raises ActLogError."""
        return {act.key for act in self.entries() if act.act == DESTROY}

    def head(self) -> Head:
        """Raises ActLogError."""
        return self._read()[1] if self.exists else Head(0, "")

    @property
    def exists(self) -> bool:
        return own_key(self._service, LOG_KEY) is not None

    def _read(self) -> tuple[list[Act], Head, int]:
        """Acts, the head that fits them, and how many bytes of the file are whole lines.

        One line beyond the head is an act whose process ended before the head was written; a part of a line behind
        that was never told to anybody as done.
        """
        head = self._read_head()
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            content = b""
        *lines, _torn = content.split(b"\n")
        acts: list[Act] = []
        digest, digest_at_head = "", ""
        for number, line in enumerate(lines, 1):
            acts.append(self._verified(number, line, digest))
            digest = self._engine.sm3(line).hex()
            if number == head.count:
                digest_at_head = digest
        if len(acts) < head.count:
            raise ActLogError(len(acts) + 1, f"missing; the log had {head.count} entries")
        if not hmac.compare_digest(digest_at_head, head.digest):
            raise ActLogError(head.count, "not the one that was written")
        if len(acts) > head.count + 1:
            raise ActLogError(head.count + 1, "behind the end of the log; the head is an older one")
        return acts, Head(len(acts), digest), len(content) - len(_torn)

    def _verified(self, number: int, line: bytes, previous: str) -> Act:
        mac, _, text = line.partition(b" ")
        if not hmac.compare_digest(mac, self._mac(_LINE, text).encode("ascii")):
            raise ActLogError(number, "altered")
        act = _act(json.loads(text))
        if act.number != number or not hmac.compare_digest(act.previous, previous):
            raise ActLogError(number, f"out of its place; it was written as entry {act.number}")
        return act

    def _read_head(self) -> Head:
        try:
            content = self._head_path.read_bytes()
        except FileNotFoundError:
            raise ActLogError(0, "gone, with it the end of the log") from None
        mac, _, text = content.partition(b" ")
        if not hmac.compare_digest(mac, self._mac(_HEAD, text).encode("ascii")):
            raise ActLogError(0, "altered")
        return Head(**json.loads(text))

    def _write_head(self, head: Head) -> None:
        text = json.dumps(asdict(head)).encode("ascii")
        write_atomically(self._head_path, self._mac(_HEAD, text).encode("ascii") + b" " + text)

    def _write_line(self, line: bytes, at: int) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.truncate(at)
            file.seek(at)
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _mac(self, kind: bytes, text: bytes) -> str:
        key = own_key(self._service, LOG_KEY)
        if key is None:
            raise ActLogError(0, "the store has no log")
        return self._service.index(key, kind + text).hex()


def _act(fields: dict[str, Any]) -> Act:
    return Act(**{**fields, "who": tuple(fields["who"]), "result": Result(fields["result"])})
