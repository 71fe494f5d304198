"""The system's OpenSSL 3 through ctypes: SM2, which no wheel we keep offers, and the quick form of the retail MAC.

Rules kept here: one thread per EVP_*_CTX (each call makes its own), EVP_PKEYs are shared, the user id is always set
(OpenSSL's default id is empty), and the thread's error queue is cleared after a failure, because `ssl` uses the same
library and would report our error as its own.
"""

from __future__ import annotations

import ctypes
import importlib
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hsm.primitives.engine import EngineUnavailableError

_MINIMUM_VERSION = 0x30000000
_NID_SM2 = 1172
_UNCOMPRESSED = 4
_PUBLIC = 0x86
_KEY_PAIR = 0x87
_UTF8, _OCTETS, _UNSIGNED = 4, 5, 2
_UNMODIFIED = ctypes.c_size_t(-1).value
_SIGNATURE_ROOM = 80
_CIPHERTEXT_ROOM = 160
_POINT = 65
_CONSTANT_TIME = 0x04
_NIBBLE_TABLES_FROM = 0x30200000
_NIBBLE_TABLES = ("aarch64", "arm64", "riscv64")

_PTR, _INT, _SIZE, _BYTES = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_char_p
_SIZE_REF = ctypes.POINTER(ctypes.c_size_t)
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "BN_CTX_free": (None, _PTR),
    "BN_CTX_new": (_PTR,),
    "BN_bin2bn": (_PTR, _BYTES, _INT, _PTR),
    "BN_clear_free": (None, _PTR),
    "BN_mod_add": (_INT, _PTR, _PTR, _PTR, _PTR, _PTR),
    "BN_mod_mul": (_INT, _PTR, _PTR, _PTR, _PTR, _PTR),
    "BN_set_flags": (None, _PTR, _INT),
    "EC_GROUP_get0_order": (_PTR, _PTR),
    "EC_GROUP_new_by_curve_name": (_PTR, _INT),
    "EC_POINT_add": (_INT, _PTR, _PTR, _PTR, _PTR, _PTR),
    "EC_POINT_clear_free": (None, _PTR),
    "EC_POINT_free": (None, _PTR),
    "EC_POINT_is_at_infinity": (_INT, _PTR, _PTR),
    "EC_POINT_mul": (_INT, _PTR, _PTR, _PTR, _PTR, _PTR, _PTR),
    "EC_POINT_new": (_PTR, _PTR),
    "EC_POINT_oct2point": (_INT, _PTR, _PTR, _BYTES, _SIZE, _PTR),
    "EC_POINT_point2oct": (_SIZE, _PTR, _PTR, _INT, _PTR, _SIZE, _PTR),
    "ERR_clear_error": (None,),
    "EVP_DigestSign": (_INT, _PTR, _PTR, _SIZE_REF, _BYTES, _SIZE),
    "EVP_DigestSignInit": (_INT, _PTR, _PTR, _PTR, _PTR, _PTR),
    "EVP_DigestVerify": (_INT, _PTR, _BYTES, _SIZE, _BYTES, _SIZE),
    "EVP_DigestVerifyInit": (_INT, _PTR, _PTR, _PTR, _PTR, _PTR),
    "EVP_MD_CTX_free": (None, _PTR),
    "EVP_MD_CTX_new": (_PTR,),
    "EVP_MD_CTX_set_pkey_ctx": (None, _PTR, _PTR),
    "EVP_MD_fetch": (_PTR, _PTR, _BYTES, _BYTES),
    "EVP_PKEY_CTX_free": (None, _PTR),
    "EVP_PKEY_CTX_new": (_PTR, _PTR, _PTR),
    "EVP_PKEY_CTX_new_from_name": (_PTR, _PTR, _BYTES, _BYTES),
    "EVP_PKEY_CTX_set1_id": (_INT, _PTR, _BYTES, _INT),
    "EVP_PKEY_decrypt": (_INT, _PTR, _PTR, _SIZE_REF, _BYTES, _SIZE),
    "EVP_PKEY_decrypt_init": (_INT, _PTR),
    "EVP_PKEY_encrypt": (_INT, _PTR, _PTR, _SIZE_REF, _BYTES, _SIZE),
    "EVP_PKEY_encrypt_init": (_INT, _PTR),
    "EVP_PKEY_free": (None, _PTR),
    "EVP_PKEY_fromdata": (_INT, _PTR, ctypes.POINTER(_PTR), _INT, _PTR),
    "EVP_PKEY_fromdata_init": (_INT, _PTR),
}
_DES_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "DES_ecb3_encrypt": (None, _PTR, _PTR, _PTR, _PTR, _PTR, _INT),
    "DES_ncbc_encrypt": (None, _BYTES, _PTR, ctypes.c_long, _PTR, _PTR, _INT),
    "DES_set_key_unchecked": (None, _BYTES, _PTR),
}
_Schedule = ctypes.c_char * 128
_DesBlock = ctypes.c_char * 8


class _Param(ctypes.Structure):
    """OSSL_PARAM."""

    _fields_ = (
        ("key", _BYTES),
        ("data_type", ctypes.c_uint),
        ("data", _PTR),
        ("data_size", _SIZE),
        ("return_size", _SIZE),
    )


class PKey:
    """One EVP_PKEY; freed with the last reference, so a cache may drop it while another thread still uses it."""

    __slots__ = ("_free", "handle")

    def __init__(self, handle: ctypes.c_void_p, free: Callable[[ctypes.c_void_p], None]) -> None:
        self.handle = handle
        self._free = free

    def __del__(self) -> None:
        self._free(self.handle)


class Libcrypto:
    """One loaded library with typed functions. Raises EngineUnavailableError when it is not what is needed."""

    def __init__(self, library: ctypes.CDLL) -> None:
        version = getattr(library, "OpenSSL_version_num", None)
        if version is None:
            raise EngineUnavailableError("no OpenSSL in this library")
        version.restype = ctypes.c_ulong
        self.version: int = version()
        if self.version < _MINIMUM_VERSION:
            raise EngineUnavailableError("OpenSSL older than 3.0")
        self._c: Any = SimpleNamespace()
        for name, (result, *arguments) in (_FUNCTIONS | _DES_FUNCTIONS).items():
            function = getattr(library, name, None)
            if function is not None:
                function.restype, function.argtypes = result, arguments
            elif name in _FUNCTIONS:
                raise EngineUnavailableError(f"OpenSSL lacks {name}")
            setattr(self._c, name, function)
        self.has_des = all(getattr(self._c, name) is not None for name in _DES_FUNCTIONS)
        self._sm3 = self._c.EVP_MD_fetch(None, b"SM3", None)
        self._group = self._c.EC_GROUP_new_by_curve_name(_NID_SM2)
        if not self._sm3 or not self._group:
            self._c.ERR_clear_error()
            raise EngineUnavailableError("this OpenSSL was built without SM2 or SM3")

    def public_point(self, private: bytes) -> bytes:
        """04 || X || Y of the private number; one scalar, which OpenSSL multiplies in constant time."""
        c = self._c
        scalar, point = c.BN_bin2bn(private, len(private), None), c.EC_POINT_new(self._group)
        try:
            out = ctypes.create_string_buffer(_POINT)
            if (
                c.EC_POINT_mul(self._group, point, scalar, None, None, None) != 1
                or c.EC_POINT_point2oct(self._group, point, _UNCOMPRESSED, out, _POINT, None) != _POINT
            ):
                raise self._failed("EC_POINT_mul")
            return out.raw
        finally:
            c.EC_POINT_free(point)
            c.BN_clear_free(scalar)

    def decompress(self, compressed: bytes) -> bytes | None:
        """04 || X || Y of a compressed point, None when there is none with that X; public values only."""
        c, point = self._c, self._c.EC_POINT_new(self._group)
        try:
            out = ctypes.create_string_buffer(_POINT)
            if c.EC_POINT_oct2point(self._group, point, compressed, len(compressed), None) != 1:
                c.ERR_clear_error()
                return None
            if c.EC_POINT_point2oct(self._group, point, _UNCOMPRESSED, out, _POINT, None) != _POINT:
                raise self._failed("EC_POINT_point2oct")
            return out.raw
        finally:
            c.EC_POINT_free(point)

    @property
    def is_constant_time(self) -> bool:
        """Whether a private number is multiplied with the same steps whatever it is.

        The Montgomery ladder of the generic curve code does; the code for SM2 that OpenSSL 3.2 brought to 64-bit ARM
        (and to RISC-V after it) skips the additions of zero nibbles.
        """
        return self.version < _NIBBLE_TABLES_FROM or platform.machine().lower() not in _NIBBLE_TABLES

    def exchange_point(
        self, private: bytes, ephemeral: bytes, factor: bytes, public: bytes, peer_factor: bytes, peer_ephemeral: bytes
    ) -> bytes | None:
        """04 || X || Y of [private + factor · ephemeral](public + [peer_factor] peer_ephemeral), None at infinity.

        GB/T 32918.3, 6.1 A5-A7; cofactor 1. Points have been checked. The sum of the secrets is OpenSSL's arithmetic
        on numbers marked constant time, as its own signatures are.
        """
        c = self._c
        context, order = c.BN_CTX_new(), c.EC_GROUP_get0_order(self._group)
        numbers = [c.BN_bin2bn(value, len(value), None) for value in (private, ephemeral, factor, peer_factor)]
        points = [c.EC_POINT_new(self._group) for _ in range(2)]
        own, once, own_factor, their_factor = numbers
        for secret in (own, once):
            c.BN_set_flags(secret, _CONSTANT_TIME)
        theirs, total = points
        try:
            if (
                c.BN_mod_mul(once, own_factor, once, order, context) != 1
                or c.BN_mod_add(own, own, once, order, context) != 1
                or c.EC_POINT_oct2point(self._group, theirs, peer_ephemeral, _POINT, context) != 1
                or c.EC_POINT_mul(self._group, theirs, None, theirs, their_factor, context) != 1
                or c.EC_POINT_oct2point(self._group, total, public, _POINT, context) != 1
                or c.EC_POINT_add(self._group, total, total, theirs, context) != 1
                or c.EC_POINT_mul(self._group, total, None, total, own, context) != 1
            ):
                raise self._failed("SM2 key exchange")
            if c.EC_POINT_is_at_infinity(self._group, total):
                return None
            out = ctypes.create_string_buffer(_POINT)
            c.EC_POINT_point2oct(self._group, total, _UNCOMPRESSED, out, _POINT, context)
            return out.raw
        finally:
            for number in numbers:
                c.BN_clear_free(number)
            for point in points:
                c.EC_POINT_clear_free(point)
            c.BN_CTX_free(context)

    def key(self, public: bytes, private: bytes | None = None) -> PKey:
        """An SM2 EVP_PKEY of both halves or the public one. The caller has checked range and curve."""
        c = self._c
        group, point = ctypes.create_string_buffer(b"SM2"), ctypes.create_string_buffer(public, _POINT)
        number = ctypes.create_string_buffer(32)
        parameters = (_Param * 4)()
        parameters[0] = _Param(b"group", _UTF8, ctypes.addressof(group), 3, _UNMODIFIED)
        parameters[1] = _Param(b"pub", _OCTETS, ctypes.addressof(point), _POINT, _UNMODIFIED)
        if private is not None:
            number.raw = private if sys.byteorder == "big" else private[::-1]
            parameters[2] = _Param(b"priv", _UNSIGNED, ctypes.addressof(number), 32, _UNMODIFIED)
        context, handle = c.EVP_PKEY_CTX_new_from_name(None, b"SM2", None), ctypes.c_void_p()
        try:
            if (
                c.EVP_PKEY_fromdata_init(context) != 1
                or c.EVP_PKEY_fromdata(
                    context, ctypes.byref(handle), _PUBLIC if private is None else _KEY_PAIR, parameters
                )
                != 1
            ):
                raise self._failed("EVP_PKEY_fromdata")
            return PKey(handle, c.EVP_PKEY_free)
        finally:
            ctypes.memset(number, 0, 32)
            c.EVP_PKEY_CTX_free(context)

    def sign(self, key: PKey, message: bytes, user_id: bytes) -> bytes:
        """DER signature over SM3(Z || message)."""
        c = self._c
        with self._digest(key, user_id) as context:
            out, length = ctypes.create_string_buffer(_SIGNATURE_ROOM), ctypes.c_size_t(_SIGNATURE_ROOM)
            if (
                c.EVP_DigestSignInit(context, None, self._sm3, None, key.handle) != 1
                or c.EVP_DigestSign(context, out, ctypes.byref(length), message, len(message)) != 1
            ):
                raise self._failed("EVP_DigestSign")
            return out.raw[: length.value]

    def verify(self, key: PKey, message: bytes, der: bytes, user_id: bytes) -> bool:
        """Whether the DER signature fits."""
        c = self._c
        with self._digest(key, user_id) as context:
            if c.EVP_DigestVerifyInit(context, None, self._sm3, None, key.handle) != 1:
                raise self._failed("EVP_DigestVerifyInit")
            if c.EVP_DigestVerify(context, der, len(der), message, len(message)) == 1:
                return True
            c.ERR_clear_error()
            return False

    def encrypt(self, key: PKey, plaintext: bytes) -> bytes:
        """DER ciphertext; raises EngineUnavailableError, as nothing the caller can send makes it fail."""
        der = self._crypt("EVP_PKEY_encrypt", key, plaintext, len(plaintext) + _CIPHERTEXT_ROOM)
        if der is None:
            raise self._failed("EVP_PKEY_encrypt")
        return der

    def decrypt(self, key: PKey, der: bytes) -> bytes | None:
        """Plaintext, None for every bad ciphertext."""
        return self._crypt("EVP_PKEY_decrypt", key, der, len(der))

    def retail_mac(self, key: bytes, data: bytes) -> bytes:
        """Retail MAC by the bare DES functions (only with `has_des`): a third of the work of two cipher contexts."""
        c = self._c
        left, right, chain = _Schedule(), _Schedule(), _DesBlock()
        c.DES_set_key_unchecked(key[:8], left)
        c.DES_set_key_unchecked(key[8:], right)
        head = len(data) - 8
        if head:
            c.DES_ncbc_encrypt(data, ctypes.create_string_buffer(head), head, left, chain, 1)
        last = int.from_bytes(chain.raw) ^ int.from_bytes(data[head:])
        c.DES_ecb3_encrypt(last.to_bytes(8), chain, left, right, left, 1)
        ctypes.memset(left, 0, 128)
        ctypes.memset(right, 0, 128)
        return chain.raw

    def _crypt(self, operation: str, key: PKey, data: bytes, room: int) -> bytes | None:
        c = self._c
        context = c.EVP_PKEY_CTX_new(key.handle, None)
        try:
            out, length = ctypes.create_string_buffer(room), ctypes.c_size_t(room)
            if (
                getattr(c, f"{operation}_init")(context) != 1
                or getattr(c, operation)(context, out, ctypes.byref(length), data, len(data)) != 1
            ):
                c.ERR_clear_error()
                return None
            return out.raw[: length.value]
        finally:
            c.EVP_PKEY_CTX_free(context)

    @contextmanager
    def _digest(self, key: PKey, user_id: bytes) -> Iterator[ctypes.c_void_p]:
        c = self._c
        context, digest = c.EVP_PKEY_CTX_new(key.handle, None), c.EVP_MD_CTX_new()
        try:
            if c.EVP_PKEY_CTX_set1_id(context, user_id, len(user_id)) != 1:
                raise self._failed("EVP_PKEY_CTX_set1_id")
            c.EVP_MD_CTX_set_pkey_ctx(digest, context)
            yield digest
        finally:
            c.EVP_MD_CTX_free(digest)
            c.EVP_PKEY_CTX_free(context)

    def _failed(self, name: str) -> EngineUnavailableError:
        self._c.ERR_clear_error()
        return EngineUnavailableError(f"OpenSSL {name} failed")


def load() -> Libcrypto:
    """The first suitable library: the one `_ssl` is linked with, so that no second copy is loaded, else by name."""
    reasons = []
    for candidate in _candidates():
        try:
            return Libcrypto(ctypes.CDLL(candidate))
        except (OSError, EngineUnavailableError) as error:
            reasons.append(f"{Path(candidate).name}: {error}")
    raise EngineUnavailableError("no system OpenSSL 3 with SM2: " + "; ".join(reasons))


def _candidates() -> Iterator[str]:
    # On Linux a handle of the extension module also finds the symbols of what the module is linked with.
    module = sys.modules.get("_ssl") or importlib.import_module("_ssl")
    if getattr(module, "__file__", None) and sys.platform != "win32":
        yield str(module.__file__)
    if sys.platform == "win32":
        for folder in (Path(sys.base_prefix) / "DLLs", Path(sys.base_prefix)):
            yield from map(str, sorted(folder.glob("libcrypto-3*.dll")))
    # Never the unversioned name: macOS ends a process that loads its own libcrypto.dylib.
    yield "libcrypto.3.dylib" if sys.platform == "darwin" else "libcrypto.so.3"
