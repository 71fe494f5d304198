"""Handles and the token objects they stand for, in one session.

A handle is what the key table keeps: a key wrapped by the token's wrapping key, or the CKA_ID of a private key that
stays on the token. Objects are unwrapped when first used; the least recently used one makes room for the next.
"""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict, deque

from hsm.api import BadInputError
from hsm.device import DeviceError
from hsm.pkcs11.binding import Attributes
from hsm.pkcs11.constants import CKA, CKO
from hsm.pkcs11.cryptoki import RawSession

_log = logging.getLogger(__name__)
_WRAPPED, _ON_TOKEN = b"\x01", b"\x02"
_ID_LENGTH = 16
_MAX_HANDLE = 4096


class ObjectStore:
    """Objects of one session; one thread at a time, except `forget_later`."""

    def __init__(self, raw: RawSession, wrapping: int, capacity: int) -> None:
        self._raw = raw
        self._wrapping = wrapping
        self._capacity = capacity
        self._cached: OrderedDict[bytes, int] = OrderedDict()
        self._derived: list[int] = []
        self._forgotten: deque[bytes] = deque()

    def wrapped(self, number: int, mechanism: int) -> bytes:
        """Handle of an extractable object, which is destroyed."""
        try:
            return _WRAPPED + self._raw.wrap(mechanism, self._wrapping, number)
        finally:
            self._raw.destroy(number)

    def new_id(self) -> tuple[bytes, bytes]:
        """A fresh CKA_ID and the handle that names it."""
        name = secrets.token_bytes(_ID_LENGTH)
        return name, _ON_TOKEN + name

    def number(self, handle: bytes, mechanism: int, attributes: Attributes) -> int:
        """The object of a handle, unwrapped with these attributes where it is not there yet. Valid until the next call.

        Raises BadInputError for what is no handle, DeviceError when the blob does not unwrap or the token does not
        hold the key.
        """
        self._drop_forgotten()
        if handle in self._cached:
            self._cached.move_to_end(handle)
            return self._cached[handle]
        if len(self._cached) >= self._capacity:
            self._drop(next(iter(self._cached)))
        self._cached[handle] = number = self._fetch(handle, mechanism, attributes)
        return number

    def until_end(self, number: int) -> int:
        """The object, to be destroyed by `end_operation`."""
        self._derived.append(number)
        return number

    def end_operation(self) -> None:
        """Never raises: the answer is there already, and the next call finds out what is wrong."""
        try:
            self._drop_forgotten()
            while self._derived:
                self._raw.destroy(self._derived.pop())
        except DeviceError as error:
            _log.warning("derived keys not dropped: %s", error)

    def forget(self, handle: bytes) -> None:
        """Destroy the object of a handle, the private key on the token included."""
        self._drop(handle)
        if handle[:1] == _ON_TOKEN:
            for number in self._raw.find(_on_token(handle)):
                self._raw.destroy(number)

    def forget_later(self, handle: bytes) -> None:
        """Another session was told to forget this key: drop it at the next use. Safe for any thread."""
        self._forgotten.append(handle)

    def _fetch(self, handle: bytes, mechanism: int, attributes: Attributes) -> int:
        kind, content = handle[:1], handle[1:]
        if len(handle) > _MAX_HANDLE or kind not in (_WRAPPED, _ON_TOKEN) or not content:
            raise BadInputError("not a key handle of a PKCS#11 token")
        if kind == _WRAPPED:
            return self._raw.unwrap(mechanism, self._wrapping, content, attributes)
        found = self._raw.find(_on_token(handle))
        if len(found) != 1:
            raise DeviceError(f"the token holds {len(found)} private keys of this name")
        return found[0]

    def _drop_forgotten(self) -> None:
        while self._forgotten:
            self._drop(self._forgotten.popleft())

    def _drop(self, handle: bytes) -> None:
        number = self._cached.pop(handle, None)
        if number is not None and handle[:1] == _WRAPPED:
            self._raw.destroy(number)


def _on_token(handle: bytes) -> Attributes:
    return {CKA.CLASS: CKO.PRIVATE_KEY, CKA.TOKEN: True, CKA.ID: handle[1:]}


def find_wrapping_key(raw: RawSession, label: str) -> int | None:
    """The one secret key of that label that may wrap and unwrap; DeviceError when there are two."""
    found = raw.find(
        {
            CKA.CLASS: CKO.SECRET_KEY,
            CKA.TOKEN: True,
            CKA.LABEL: label.encode("utf-8"),
            CKA.WRAP: True,
            CKA.UNWRAP: True,
        }
    )
    if len(found) > 1:
        raise DeviceError(f"the token holds {len(found)} wrapping keys {label!r}")
    return found[0] if found else None
