"""One Cryptoki session with Python values in and out. One thread at a time; numbers of objects are of this session."""

from __future__ import annotations

import ctypes
from typing import Any

from hsm.device import DeviceError, DeviceLostError
from hsm.pkcs11.binding import (
    Attributes,
    CkAttribute,
    CkDerivationData,
    CkMechanism,
    CkSessionInfo,
    CkTokenInfo,
    CkUlong,
    Library,
    error,
    is_doubtful,
    template,
)
from hsm.pkcs11.constants import (
    CKF_RW_SESSION,
    CKF_SERIAL_SESSION,
    CKR_OK,
    CKR_USER_ALREADY_LOGGED_IN,
    CKS_USER_STATES,
    CKU_USER,
)

_MAX_SLOTS = 256
_MAX_FOUND = 16
_ROOM = 512
"""Bytes an answer may be longer than what went in: RSA signatures, wrapped RSA keys beyond their own length."""
_WRAP_ROOM = 4096


def find_slot(library: Library, label: str, serial: str) -> int:
    """The one present token with this label and serial number (either may be empty: any).

    Raises DeviceLostError when it is not there, DeviceError when two fit.
    """
    slots, count = (CkUlong * _MAX_SLOTS)(), CkUlong(_MAX_SLOTS)
    library.call("GetSlotList", 1, slots, ctypes.byref(count))
    found = []
    for slot in slots[: count.value]:
        info = CkTokenInfo()
        if library.result("GetTokenInfo", slot, ctypes.byref(info)) != CKR_OK:
            continue
        if label in ("", _text(info.label)) and serial in ("", _text(info.serial)):
            found.append(int(slot))
    if not found:
        raise DeviceLostError(f"no token {label or serial!r} in any slot")
    if len(found) > 1:
        raise DeviceError(f"{len(found)} tokens are {label or serial!r}: give the serial number too")
    return found[0]


def token_info(library: Library, slot: int) -> tuple[bytes, int]:
    """Serial number as it stands and the flags of this moment."""
    info = CkTokenInfo()
    library.call("GetTokenInfo", slot, ctypes.byref(info))
    return bytes(info.serial), info.flags


def _text(field: Any) -> str:
    return bytes(field).decode("utf-8", "replace").rstrip(" \0")


class RawSession:
    """A read-write session, to be opened between `enter` and `leave` of the library.

    Errors as in `binding.error`; a doubtful one is settled by asking the session itself.
    """

    def __init__(self, library: Library, slot: int) -> None:
        self._library = library
        handle = CkUlong()
        library.call("OpenSession", slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, None, None, ctypes.byref(handle))
        library.enter()
        self._handle = handle.value
        self._is_open = True

    def close(self) -> None:
        """Never raises."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            self._library.result("CloseSession", self._handle)
        except DeviceError:
            # After a fork: the session is the parent's.
            return
        self._library.leave()

    def is_logged_in(self) -> bool:
        """Whether the user is; raises DeviceLostError when the session is gone."""
        info = CkSessionInfo()
        result = self._library.result("GetSessionInfo", self._handle, ctypes.byref(info))
        if result != CKR_OK:
            raise error("GetSessionInfo", result, is_lost=True)
        return info.state in CKS_USER_STATES

    def login(self, pin: bytes) -> None:
        """Raises KeyStoreLockedError. The copy of the PIN made here is overwritten."""
        buffer = ctypes.create_string_buffer(pin, len(pin))
        try:
            result = self._library.result("Login", self._handle, CKU_USER, buffer, len(pin))
        finally:
            ctypes.memset(buffer, 0, len(pin))
        if result not in (CKR_OK, CKR_USER_ALREADY_LOGGED_IN):
            raise error("Login", result)

    def random(self, length: int) -> bytes:
        out = ctypes.create_string_buffer(length)
        self._call("GenerateRandom", out, length)
        return out.raw

    def create(self, attributes: Attributes) -> int:
        number = CkUlong()
        with template(attributes) as array:
            self._call("CreateObject", array, len(array), ctypes.byref(number))
        return number.value

    def destroy(self, number: int) -> None:
        self._call("DestroyObject", number)

    def find(self, attributes: Attributes) -> list[int]:
        """Up to 16 objects that have all these values."""
        found, count = (CkUlong * _MAX_FOUND)(), CkUlong()
        with template(attributes) as array:
            self._call("FindObjectsInit", array, len(array))
        try:
            self._call("FindObjects", found, _MAX_FOUND, ctypes.byref(count))
        finally:
            self._library.result("FindObjectsFinal", self._handle)
        return list(found[: count.value])

    def read(self, number: int, kind: int) -> bytes:
        """One public attribute."""
        out = ctypes.create_string_buffer(_ROOM + _WRAP_ROOM)
        attribute = CkAttribute(kind, ctypes.addressof(out), len(out))
        self._call("GetAttributeValue", number, attribute, 1)
        return out.raw[: attribute.length]

    def generate(self, mechanism: int, attributes: Attributes) -> int:
        number = CkUlong()
        with template(attributes) as array:
            self._call("GenerateKey", CkMechanism(mechanism), array, len(array), ctypes.byref(number))
        return number.value

    def generate_pair(self, mechanism: int, public: Attributes, private: Attributes) -> tuple[int, int]:
        """Numbers of the public and the private object."""
        numbers = CkUlong(), CkUlong()
        with template(public) as first, template(private) as second:
            self._call(
                "GenerateKeyPair",
                CkMechanism(mechanism),
                *(first, len(first), second, len(second)),
                *map(ctypes.byref, numbers),
            )
        return numbers[0].value, numbers[1].value

    def wrap(self, mechanism: int, wrapping: int, number: int) -> bytes:
        out, length = ctypes.create_string_buffer(_WRAP_ROOM), CkUlong(_WRAP_ROOM)
        self._call("WrapKey", CkMechanism(mechanism), wrapping, number, out, ctypes.byref(length))
        return out.raw[: length.value]

    def unwrap(self, mechanism: int, wrapping: int, blob: bytes, attributes: Attributes) -> int:
        number = CkUlong()
        with template(attributes) as array:
            self._call(
                "UnwrapKey",
                *(CkMechanism(mechanism), wrapping, blob, len(blob)),
                *(array, len(array), ctypes.byref(number)),
            )
        return number.value

    def derive(self, mechanism: int, base: int, data: bytes, attributes: Attributes) -> int:
        """A key whose value is `data` encrypted under `base` (CKM_*_ECB_ENCRYPT_DATA)."""
        number, buffer = CkUlong(), ctypes.create_string_buffer(data, len(data))
        parameter = CkDerivationData(ctypes.addressof(buffer), len(data))
        call = CkMechanism(mechanism, ctypes.addressof(parameter), ctypes.sizeof(parameter))
        with template(attributes) as array:
            self._call("DeriveKey", call, base, array, len(array), ctypes.byref(number))
        return number.value

    def encrypt(self, mechanism: int, number: int, data: bytes, iv: bytes = b"") -> bytes:
        return self._compute("Encrypt", mechanism, number, data, iv)

    def decrypt(self, mechanism: int, number: int, data: bytes, iv: bytes = b"") -> bytes:
        return self._compute("Decrypt", mechanism, number, data, iv)

    def sign(self, mechanism: int, number: int, data: bytes) -> bytes:
        return self._compute("Sign", mechanism, number, data, b"")

    def _compute(self, function: str, mechanism: int, number: int, data: bytes, iv: bytes) -> bytes:
        parameter = ctypes.create_string_buffer(iv, len(iv)) if iv else None
        call = CkMechanism(mechanism, ctypes.addressof(parameter) if parameter else None, len(iv))
        self._call(function + "Init", call, number)
        room = len(data) + _ROOM
        out, length = ctypes.create_string_buffer(room), CkUlong(room)
        self._call(function, data, len(data), out, ctypes.byref(length))
        return out.raw[: length.value]

    def _call(self, function: str, *arguments: Any) -> None:
        result = self._library.result(function, self._handle, *arguments)
        if result == CKR_OK:
            return
        raise error(function, result, is_lost=is_doubtful(result) and not self._answers())

    def _answers(self) -> bool:
        info, out = CkSessionInfo(), ctypes.create_string_buffer(8)
        return (
            self._library.result("GetSessionInfo", self._handle, ctypes.byref(info)) == CKR_OK
            and info.state in CKS_USER_STATES
            and self._library.result("GenerateRandom", self._handle, out, len(out)) == CKR_OK
        )
