"""A PKCS#11 library through ctypes: structures, the function list, one initialization per process.

Cryptoki is initialized with CKF_OS_LOCKING_OK, without which two threads in one library end the process. ctypes
releases the interpreter lock during every call.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hsm.api import KeyStoreLockedError
from hsm.device import AlgorithmUnavailableError, DeviceError, DeviceLostError
from hsm.pkcs11.constants import (
    CKF_OS_LOCKING_OK,
    CKR_CRYPTOKI_ALREADY_INITIALIZED,
    CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_OK,
    RETURN_VALUES,
    Verdict,
)

CkUlong = ctypes.c_ulong
"""Four bytes on Windows, the machine word elsewhere, as the C type is."""

_PACKED = 1 if os.name == "nt" else 0
_PTR, _BYTES, _FLAG = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_ubyte
_ULONG_REF = ctypes.POINTER(CkUlong)


class _Structure(ctypes.Structure):
    _pack_ = _PACKED


class CkAttribute(_Structure):
    """CK_ATTRIBUTE."""

    _fields_ = (("type", CkUlong), ("value", _PTR), ("length", CkUlong))


class CkMechanism(_Structure):
    """CK_MECHANISM."""

    _fields_ = (("mechanism", CkUlong), ("parameter", _PTR), ("length", CkUlong))


class CkDerivationData(_Structure):
    """CK_KEY_DERIVATION_STRING_DATA: pointer and length; a library that gets the bytes instead ends the process."""

    _fields_ = (("data", _PTR), ("length", CkUlong))


class CkSessionInfo(_Structure):
    """CK_SESSION_INFO."""

    _fields_ = (("slot", CkUlong), ("state", CkUlong), ("flags", CkUlong), ("device_error", CkUlong))


class CkTokenInfo(_Structure):
    """CK_TOKEN_INFO; texts are filled with blanks."""

    _fields_ = (
        ("label", _FLAG * 32),
        ("manufacturer", _FLAG * 32),
        ("model", _FLAG * 16),
        ("serial", _FLAG * 16),
        ("flags", CkUlong),
        ("counts", CkUlong * 10),
        ("versions", _FLAG * 4),
        ("time", _FLAG * 16),
    )


class _InitializeArgs(_Structure):
    _fields_ = (("mutex_functions", _PTR * 4), ("flags", CkUlong), ("reserved", _PTR))


_FUNCTION_NAMES = (
    "Initialize Finalize GetInfo GetFunctionList GetSlotList GetSlotInfo GetTokenInfo GetMechanismList"
    " GetMechanismInfo InitToken InitPIN SetPIN OpenSession CloseSession CloseAllSessions GetSessionInfo"
    " GetOperationState SetOperationState Login Logout CreateObject CopyObject DestroyObject GetObjectSize"
    " GetAttributeValue SetAttributeValue FindObjectsInit FindObjects FindObjectsFinal EncryptInit Encrypt"
    " EncryptUpdate EncryptFinal DecryptInit Decrypt DecryptUpdate DecryptFinal DigestInit Digest DigestUpdate"
    " DigestKey DigestFinal SignInit Sign SignUpdate SignFinal SignRecoverInit SignRecover VerifyInit Verify"
    " VerifyUpdate VerifyFinal VerifyRecoverInit VerifyRecover DigestEncryptUpdate DecryptDigestUpdate"
    " SignEncryptUpdate DecryptVerifyUpdate GenerateKey GenerateKeyPair WrapKey UnwrapKey DeriveKey SeedRandom"
    " GenerateRandom GetFunctionStatus CancelFunction WaitForSlotEvent"
)
"""CK_FUNCTION_LIST of version 2 (PKCS#11 2.40, 5.2), in its order."""

_MECHANISM_REF, _ATTRIBUTES = ctypes.POINTER(CkMechanism), ctypes.POINTER(CkAttribute)
_CRYPT = (CkUlong, _BYTES, CkUlong, _PTR, _ULONG_REF)
_CRYPT_INIT = (CkUlong, _MECHANISM_REF, CkUlong)
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "Initialize": (_PTR,),
    "Finalize": (_PTR,),
    "GetSlotList": (_FLAG, _PTR, _ULONG_REF),
    "GetTokenInfo": (CkUlong, ctypes.POINTER(CkTokenInfo)),
    "OpenSession": (CkUlong, CkUlong, _PTR, _PTR, _ULONG_REF),
    "CloseSession": (CkUlong,),
    "GetSessionInfo": (CkUlong, ctypes.POINTER(CkSessionInfo)),
    "Login": (CkUlong, CkUlong, _PTR, CkUlong),
    "CreateObject": (CkUlong, _ATTRIBUTES, CkUlong, _ULONG_REF),
    "DestroyObject": (CkUlong, CkUlong),
    "GetAttributeValue": (CkUlong, CkUlong, _ATTRIBUTES, CkUlong),
    "FindObjectsInit": (CkUlong, _ATTRIBUTES, CkUlong),
    "FindObjects": (CkUlong, _PTR, CkUlong, _ULONG_REF),
    "FindObjectsFinal": (CkUlong,),
    "EncryptInit": _CRYPT_INIT,
    "Encrypt": _CRYPT,
    "DecryptInit": _CRYPT_INIT,
    "Decrypt": _CRYPT,
    "SignInit": _CRYPT_INIT,
    "Sign": _CRYPT,
    "GenerateKey": (CkUlong, _MECHANISM_REF, _ATTRIBUTES, CkUlong, _ULONG_REF),
    "GenerateKeyPair": (
        *(CkUlong, _MECHANISM_REF),
        *(_ATTRIBUTES, CkUlong, _ATTRIBUTES, CkUlong),
        *(_ULONG_REF, _ULONG_REF),
    ),
    "WrapKey": (CkUlong, _MECHANISM_REF, CkUlong, CkUlong, _PTR, _ULONG_REF),
    "UnwrapKey": (CkUlong, _MECHANISM_REF, CkUlong, _BYTES, CkUlong, _ATTRIBUTES, CkUlong, _ULONG_REF),
    "DeriveKey": (CkUlong, _MECHANISM_REF, CkUlong, _ATTRIBUTES, CkUlong, _ULONG_REF),
    "GenerateRandom": (CkUlong, _PTR, CkUlong),
}


class _FunctionList(_Structure):
    _fields_ = (("version", _FLAG * 2), *((name, _PTR) for name in _FUNCTION_NAMES.split()))


Attributes = Mapping[int, bool | int | bytes]


@contextmanager
def template(attributes: Attributes) -> Iterator[Any]:
    """An array of CK_ATTRIBUTE; every value in it is overwritten at the end."""
    buffers = [ctypes.create_string_buffer(value, len(value)) for value in map(_encoded, attributes.values())]
    array = (CkAttribute * len(buffers))(
        *(
            CkAttribute(kind, ctypes.addressof(buffer), len(buffer))
            for kind, buffer in zip(attributes, buffers, strict=True)
        )
    )
    try:
        yield array
    finally:
        for buffer in buffers:
            ctypes.memset(buffer, 0, len(buffer))


def _encoded(value: bool | int | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    return bytes((value,)) if isinstance(value, bool) else bytes(CkUlong(value))


class Library:
    """One PKCS#11 library of this process, shared by all who use it and finalized with the last of them.

    Finalizing under another thread's call ends the process with many libraries, so whoever calls is counted: sources
    by `acquire`, sessions and attempts to open one by `enter`.

    `refused` holds digests of PINs a token refused, so that none of them is sent twice by this process.
    `generation` counts the initializations.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refused: set[bytes] = set()
        self.digest_key = secrets.token_bytes(16)
        self._login_locks: dict[int, threading.RLock] = {}
        self._functions = _load(path)
        self._lock = threading.RLock()
        self.generation = 0
        self._users = 0
        self._busy = 0
        self._process = 0
        self._is_initialized = False
        self._is_ours = False

    def acquire(self) -> None:
        """One more user. `release` undoes it."""
        self._check_process()
        with self._lock:
            self._users += 1

    def release(self) -> None:
        """Finalize with the last user and session, unless somebody else here initialized the library first."""
        self._count(users=-1)

    def enter(self) -> None:
        """One more session, or attempt to open one. `leave` undoes it."""
        self._check_process()
        with self._lock:
            self._busy += 1

    def leave(self) -> None:
        self._count(busy=-1)

    def ensure_initialized(self) -> None:
        """Initialize for the first time, or again after somebody finalized the library behind us."""
        self._check_process()
        with self._lock:
            if self._is_initialized:
                return
            arguments = _InitializeArgs(flags=CKF_OS_LOCKING_OK)
            result = self._functions["Initialize"](ctypes.byref(arguments))
            if result == CKR_OK:
                self._is_ours = True
            elif result != CKR_CRYPTOKI_ALREADY_INITIALIZED:
                raise error("Initialize", result, is_lost=is_doubtful(result))
            self._is_initialized, self._process = True, os.getpid()
            self.generation += 1

    def restart_if_idle(self) -> bool:
        """Finalize when nobody is in the library, so that the next use looks for tokens afresh; whether it did."""
        self._check_process()
        with self._lock:
            is_idle = not self._busy and self._is_initialized and self._is_ours
            if is_idle:
                self._finalize()
            return is_idle

    def call(self, function: str, *arguments: Any) -> None:
        """A call outside any session; raises what `error` makes of a return value, a doubtful one being a loss."""
        result = self.result(function, *arguments)
        if result != CKR_OK:
            raise error(function, result, is_lost=is_doubtful(result))

    def result(self, function: str, *arguments: Any) -> int:
        """The return value as it is."""
        self._check_process()
        result: int = self._functions[function](*arguments)
        if result == CKR_CRYPTOKI_NOT_INITIALIZED:
            self._is_initialized = False
        return result

    def login_lock(self, slot: int) -> threading.RLock:
        """Held while a PIN is sent to the token there, so that a wrong one is sent once, not by every thread."""
        with self._lock:
            return self._login_locks.setdefault(slot, threading.RLock())

    def _count(self, *, users: int = 0, busy: int = 0) -> None:
        if self._is_foreign():
            return
        with self._lock:
            self._users += users
            self._busy += busy
            if not self._users and not self._busy:
                self._finalize()

    def _finalize(self) -> None:
        if self._is_initialized and self._is_ours:
            self._functions["Finalize"](None)
        self._is_initialized = self._is_ours = False

    def _is_foreign(self) -> bool:
        return self._is_initialized and self._process != os.getpid()

    def _check_process(self) -> None:
        """Cryptoki's state does not survive a fork (PKCS#11 2.40 usage guide 2.5): locks and sessions are copies."""
        if self._is_foreign():
            raise DeviceError(f"{self.path.name} was initialized before a fork: start this process afresh (spawn)")


_libraries: dict[Path, Library] = {}
_libraries_lock = threading.Lock()


def shared_library(path: Path) -> Library:
    """The one `Library` of this process for a file. Raises DeviceLostError when it does not load."""
    path = path.resolve()
    with _libraries_lock:
        if path not in _libraries:
            _libraries[path] = Library(path)
        return _libraries[path]


def error(function: str, code: int, *, is_lost: bool = False) -> Exception:
    """The typed error of a return value, named with its function and number."""
    name, verdict = RETURN_VALUES.get(code, ("vendor error", Verdict.REFUSED))
    text = f"C_{function}: {name} ({code:#x})"
    if is_lost or verdict is Verdict.LOST:
        return DeviceLostError(text, code)
    if verdict is Verdict.PIN:
        return KeyStoreLockedError(text)
    if verdict is Verdict.ABSENT:
        return AlgorithmUnavailableError(text)
    return DeviceError(text, code)


def is_doubtful(code: int) -> bool:
    """Whether the value leaves open if the device is lost."""
    return code in RETURN_VALUES and RETURN_VALUES[code][1] is Verdict.DOUBTFUL


def _load(path: Path) -> dict[str, Any]:
    try:
        get_list = ctypes.CDLL(str(path)).C_GetFunctionList
    except (OSError, AttributeError) as problem:
        raise DeviceLostError(f"no PKCS#11 library at {path}: {problem}") from None
    get_list.restype, get_list.argtypes = CkUlong, (ctypes.POINTER(ctypes.POINTER(_FunctionList)),)
    functions = ctypes.POINTER(_FunctionList)()
    if (result := get_list(ctypes.byref(functions))) != CKR_OK or not functions:
        raise error("GetFunctionList", result)
    return {
        name: ctypes.CFUNCTYPE(CkUlong, *arguments)(getattr(functions.contents, name))
        for name, arguments in _ARGUMENTS.items()
    }
