"""What is known of each key, in the sealed store: names, purposes, states and the device's handles.

Safe for several threads and several processes: changes of another process are seen at the next look.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hsm.api import (
    Algorithm,
    KeyExistsError,
    KeyNotFoundError,
    KeyRef,
    KeyState,
    KeyStoreCorruptError,
    KeyStoreLockedError,
    Purpose,
)
from hsm.sealed_store import SealedStore


@dataclass(slots=True)
class KeyRow:
    """`handle` is the device's; with `in_store` it is the value, of a key that goes into cards as it is."""

    purpose: Purpose
    level: int
    length: int
    kcv: bytes
    handle: bytearray = field(repr=False)
    created: int
    in_store: bool = False
    expires: int | None = None
    state: KeyState = KeyState.ACTIVE
    public: bytes = b""


Rows = dict[KeyRef, KeyRow]


class KeyTable:
    """The rows of one store; `dropped` is called with the handle of each row that goes, before it is wiped."""

    def __init__(self, store: SealedStore, payload: bytes, dropped: Callable[[KeyRow], None]) -> None:
        self.store = store
        self._rows = decode(payload)
        self._dropped = dropped
        self._lock = threading.RLock()
        # Of no file yet: another process may have written since the rows were read.
        self._stamp = (0, 0, 0)
        self._is_open = True

    def find(self, key: KeyRef) -> KeyRow:
        """A copy that outlives the row. Raises KeyNotFoundError, KeyStoreLockedError, KeyStoreCorruptError."""
        with self._lock:
            self._refresh()
            try:
                row = self._rows[key]
            except KeyError:
                raise KeyNotFoundError(str(key)) from None
            return copy_of(row)

    def rows(self) -> Rows:
        with self._lock:
            self._refresh()
            return {key: copy_of(row) for key, row in self._rows.items()}

    def refs(self) -> list[KeyRef]:
        with self._lock:
            self._refresh()
            return list(self._rows)

    def add(self, key: KeyRef, row: KeyRow) -> None:
        """Raises KeyExistsError."""
        with self.changing() as rows:
            if key in rows:
                raise KeyExistsError(f"{key} exists")
            rows[key] = row

    @contextmanager
    def changing(self) -> Iterator[Rows]:
        """A copy of the rows as they stand in the file; kept, in the file first, when the block succeeds."""
        with self._lock, self.store.exclusive():
            self._refresh()
            rows = dict(self._rows)
            yield rows
            self.store.write(encode(rows))
            self._replace(rows, self.store.stamp())

    def close(self) -> None:
        """Overwrite the handles; every later call raises KeyStoreLockedError."""
        with self._lock:
            self._is_open = False
            self._replace({}, (0, 0, 0))
            self.store.close()

    def _refresh(self) -> None:
        if not self._is_open:
            raise KeyStoreLockedError("the key service is closed")
        stamp = self.store.stamp()
        if stamp != self._stamp:
            self._replace(decode(self.store.read()), stamp)

    def _replace(self, rows: Rows, stamp: tuple[int, int, int]) -> None:
        kept = {id(row) for row in rows.values()}
        for row in self._rows.values():
            if id(row) not in kept:
                self._dropped(row)
                row.handle[:] = bytes(len(row.handle))
        self._rows, self._stamp = rows, stamp


def encode(rows: Rows) -> bytes:
    return json.dumps([_to_json(key, row) for key, row in rows.items()]).encode("utf-8")


def decode(payload: bytes) -> Rows:
    """Raises KeyStoreCorruptError."""
    try:
        return dict(_from_json(item) for item in json.loads(payload))
    except (ValueError, KeyError, TypeError) as error:
        raise KeyStoreCorruptError("key store holds something else than keys") from error


def copy_of(row: KeyRow) -> KeyRow:
    return KeyRow(
        row.purpose,
        row.level,
        row.length,
        row.kcv,
        bytearray(row.handle),
        row.created,
        row.in_store,
        row.expires,
        row.state,
        row.public,
    )


def _to_json(key: KeyRef, row: KeyRow) -> dict[str, Any]:
    return {
        "name": key.name,
        "algorithm": key.algorithm.value,
        "version": key.version,
        "region": key.region,
        "purpose": row.purpose.value,
        "level": row.level,
        "length": row.length,
        "kcv": row.kcv.hex(),
        "handle": row.handle.hex(),
        "in_store": row.in_store,
        "created": row.created,
        "expires": row.expires,
        "state": row.state.value,
        "public": row.public.hex(),
    }


def _from_json(item: dict[str, Any]) -> tuple[KeyRef, KeyRow]:
    key = KeyRef(str(item["name"]), Algorithm(item["algorithm"]), int(item["version"]), str(item["region"]))
    row = KeyRow(
        Purpose(item["purpose"]),
        int(item["level"]),
        int(item["length"]),
        bytes.fromhex(item["kcv"]),
        bytearray.fromhex(item["handle"]),
        int(item["created"]),
        bool(item["in_store"]),
        None if item["expires"] is None else int(item["expires"]),
        KeyState(item["state"]),
        bytes.fromhex(item["public"]),
    )
    return key, row
