"""The SDF interface as GM/T 0018 prints it, written down a second time: not the binding that is tested with it."""

from __future__ import annotations

import ctypes
from ctypes import Structure, byref, c_ubyte, c_uint32, c_void_p
from pathlib import Path
from typing import Any

FIELD = 64
BASE = 0x01000000


class DeviceInfo(Structure):
    _fields_ = (
        ("issuer", c_ubyte * 40),
        ("name", c_ubyte * 16),
        ("serial", c_ubyte * 16),
        ("device_version", c_uint32),
        ("standard_version", c_uint32),
        ("asymmetric", c_uint32 * 2),
        ("symmetric", c_uint32),
        ("hash", c_uint32),
        ("buffer_size", c_uint32),
    )


class PublicKey(Structure):
    _fields_ = (("bits", c_uint32), ("x", c_ubyte * FIELD), ("y", c_ubyte * FIELD))

    @classmethod
    def of(cls, raw: bytes) -> PublicKey:
        return cls(256, field(raw[1:33]), field(raw[33:]))

    def raw(self) -> bytes:
        return b"\x04" + bytes(self.x)[32:] + bytes(self.y)[32:]


class PrivateKey(Structure):
    _fields_ = (("bits", c_uint32), ("k", c_ubyte * FIELD))


class Signature(Structure):
    _fields_ = (("r", c_ubyte * FIELD), ("s", c_ubyte * FIELD))

    @classmethod
    def of(cls, raw: bytes) -> Signature:
        return cls(field(raw[:32]), field(raw[32:]))

    def raw(self) -> bytes:
        return bytes(self.r)[32:] + bytes(self.s)[32:]


class Cipher(Structure):
    _fields_ = (
        ("x", c_ubyte * FIELD),
        ("y", c_ubyte * FIELD),
        ("m", c_ubyte * 32),
        ("length", c_uint32),
        ("c", c_ubyte * 4096),
    )

    @classmethod
    def of(cls, raw: bytes) -> Cipher:
        """From 04 || C1 || C3 || C2."""
        text = raw[97:]
        padded = (c_ubyte * 4096)(*text)
        return cls(field(raw[1:33]), field(raw[33:65]), (c_ubyte * 32)(*raw[65:97]), len(text), padded)

    def raw(self) -> bytes:
        point = bytes(self.x)[32:] + bytes(self.y)[32:]
        return b"\x04" + point + bytes(self.m) + bytes(self.c)[: self.length]


def field(number: bytes) -> ctypes.Array[c_ubyte]:
    return (c_ubyte * FIELD)(*number.rjust(FIELD, b"\0"))


class SdfCodeError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"0x{code:08X}")
        self.number = code - BASE


class Sdf:
    """One session of one device; `call` raises SdfCodeError. A context manager that closes both."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.device, self.session = c_void_p(), c_void_p()
        self.plain("SDF_OpenDevice", byref(self.device))
        try:
            self.plain("SDF_OpenSession", self.device, byref(self.session))
        except SdfCodeError:
            self.library.SDF_CloseDevice(self.device)
            raise

    def __enter__(self) -> Sdf:
        return self

    def __exit__(self, *exc: object) -> None:
        self.library.SDF_CloseSession(self.session)
        self.library.SDF_CloseDevice(self.device)

    def plain(self, name: str, *arguments: Any) -> None:
        code = getattr(self.library, name)(*arguments)
        if code:
            raise SdfCodeError(code & 0xFFFFFFFF)

    def call(self, name: str, *arguments: Any) -> None:
        self.plain(f"SDF_{name}", self.session, *arguments)

    def allow(self, index: int, password: str) -> None:
        self.call("GetPrivateKeyAccessRight", index, password.encode(), len(password))

    def public(self, index: int, kind: str = "Sign") -> bytes:
        key = PublicKey()
        self.call(f"Export{kind}PublicKey_ECC", index, byref(key))
        return key.raw()

    def envelope(self, index: int, sealed: bytes) -> c_void_p:
        key = c_void_p()
        self.call("ImportKeyWithISK_ECC", index, byref(Cipher.of(sealed)), byref(key))
        return key

    def crypt(self, key: c_void_p, algorithm: int, data: bytes, iv: bytes | None = None, name: str = "Encrypt") -> Any:
        """The answer; with an IV also the IV as it was left behind."""
        out, length = ctypes.create_string_buffer(len(data) + 64), c_uint32()
        vector = None if iv is None else ctypes.create_string_buffer(iv, len(iv))
        self.call(name, key, algorithm, vector, data, len(data), out, byref(length))
        answer = out.raw[: length.value]
        return answer if vector is None else (answer, vector.raw)
