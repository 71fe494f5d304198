"""An SDF library through ctypes: prototypes, structures as bytes, error numbers as exceptions.

Structures are packed here by the profile's field length and layout, not by ctypes: the two layouts of ECCCipher differ
in more than lengths. All numbers are 32 bits in the machine's own order, big numbers right-aligned in their fields.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping
from ctypes import POINTER, c_char_p, c_uint32, c_void_p
from dataclasses import dataclass
from pathlib import Path
from sys import byteorder
from typing import Any, Final

from hsm.device import DeviceError, DeviceLostError
from hsm.primitives.sm2_forms import SIZE, split_ciphertext
from hsm.profile_table import ProfileError
from hsm.sdf.profile import CipherLayout, DecryptForm, ErrorKind, ErrorMeaning, Profile

TAIL: Final = 64
"""Room behind every output buffer: libraries write more than they say."""
DEVICE_INFO: Final = struct.Struct("=40s16s16sII2IIII")
_OLD_ROOM: Final = 136
_BITS: Final = 256

_HANDLE, _NUMBER, _BUFFER = c_void_p, c_uint32, c_char_p
_HANDLE_OUT, _NUMBER_OUT = POINTER(c_void_p), POINTER(c_uint32)
_PROTOTYPES: Final[dict[str, tuple[Any, ...]]] = {
    "SDF_OpenDevice": (_HANDLE_OUT,),
    "SDF_CloseDevice": (_HANDLE,),
    "SDF_OpenSession": (_HANDLE, _HANDLE_OUT),
    "SDF_CloseSession": (_HANDLE,),
    "SDF_GetDeviceInfo": (_HANDLE, _BUFFER),
    "SDF_GenerateRandom": (_HANDLE, _NUMBER, _BUFFER),
    "SDF_GetPrivateKeyAccessRight": (_HANDLE, _NUMBER, _BUFFER, _NUMBER),
    "SDF_ReleasePrivateKeyAccessRight": (_HANDLE, _NUMBER),
    "SDF_ExportSignPublicKey_ECC": (_HANDLE, _NUMBER, _BUFFER),
    "SDF_ExportEncPublicKey_ECC": (_HANDLE, _NUMBER, _BUFFER),
    "SDF_ImportKeyWithISK_ECC": (_HANDLE, _NUMBER, _BUFFER, _HANDLE_OUT),
    "SDF_GenerateKeyWithKEK": (_HANDLE, _NUMBER, _NUMBER, _NUMBER, _BUFFER, _NUMBER_OUT, _HANDLE_OUT),
    "SDF_ImportKeyWithKEK": (_HANDLE, _NUMBER, _NUMBER, _BUFFER, _NUMBER, _HANDLE_OUT),
    "SDF_DestroyKey": (_HANDLE, _HANDLE),
    "SDF_InternalSign_ECC": (_HANDLE, _NUMBER, _BUFFER, _NUMBER, _BUFFER),
    "SDF_Encrypt": (_HANDLE, _HANDLE, _NUMBER, _BUFFER, _BUFFER, _NUMBER, _BUFFER, _NUMBER_OUT),
    "SDF_Decrypt": (_HANDLE, _HANDLE, _NUMBER, _BUFFER, _BUFFER, _NUMBER, _BUFFER, _NUMBER_OUT),
}
_DECRYPT: Final[dict[DecryptForm, tuple[Any, ...]]] = {
    DecryptForm.STANDARD: (_HANDLE, _NUMBER, _BUFFER, _BUFFER, _NUMBER_OUT),
    DecryptForm.ALGORITHM: (_HANDLE, _NUMBER, _NUMBER, _BUFFER, _BUFFER, _NUMBER_OUT),
}


class BadDataError(DeviceError):
    """The device says that a ciphertext does not decrypt."""


class SdfLibrary:
    """One loaded library. `call` is safe for several threads as far as the library is; the GIL is released in it."""

    def __init__(self, path: Path, profile: Profile) -> None:
        """Raises ProfileError when the file is no SDF library."""
        try:
            library = ctypes.CDLL(str(path))
        except OSError as problem:
            raise ProfileError(f"SDF library cannot be loaded: {problem}") from None
        prototypes = dict(_PROTOTYPES)
        if profile.sm2 is not None and profile.sm2.decrypt is not DecryptForm.NONE:
            prototypes["SDF_InternalDecrypt_ECC"] = _DECRYPT[profile.sm2.decrypt]
        self._functions: dict[str, Any] = {}
        for name, arguments in prototypes.items():
            function = getattr(library, name, None)
            if function is None:
                raise ProfileError(f"SDF library lacks {name}")
            function.argtypes, function.restype = arguments, c_uint32
            self._functions[name] = function
        self._errors = profile.errors

    def call(self, name: str, *arguments: Any) -> None:
        """Raises DeviceError, BadDataError or DeviceLostError with the number the function gave."""
        code = self._functions[name](*arguments)
        if code:
            raise error_of(name, code, self._errors)


def error_of(function: str, code: int, errors: Mapping[int, ErrorMeaning]) -> DeviceError:
    """The exception for a number; one nobody knows is a refusal."""
    meaning = errors.get(code, ErrorMeaning("?", "设备的其他错误", "an error of the device's own"))
    text = f"{function}: {meaning.name} {meaning.zh} / {meaning.en} (0x{code:08X})"
    kinds = {ErrorKind.LOST: DeviceLostError, ErrorKind.DATA: BadDataError, ErrorKind.REFUSED: DeviceError}
    return kinds[meaning.kind](text, code)


@dataclass(frozen=True, slots=True)
class Layout:
    """Structures of one profile, to and from the raw forms of `hsm.primitives`."""

    field_bytes: int
    cipher: CipherLayout

    @property
    def public_size(self) -> int:
        return 4 + 2 * self.field_bytes

    @property
    def signature_size(self) -> int:
        return 2 * self.field_bytes

    def public(self, raw: bytes) -> bytes:
        """04 || X || Y of an ECCrefPublicKey; raises DeviceError when it is none of 256 bits."""
        if int.from_bytes(raw[:4], byteorder) != _BITS:
            raise DeviceError("the device gave a public key that has not 256 bits")
        return b"\x04" + self._numbers(raw[4 : self.public_size])

    def signature(self, raw: bytes) -> bytes:
        """r || s of an ECCSignature; raises DeviceError."""
        return self._numbers(raw[: self.signature_size])

    def ciphertext(self, raw: bytes) -> bytes:
        """ECCCipher of 04 || C1 || C3 || C2. Raises AuthenticationFailed, DeviceError when it is too long for it."""
        c1, c3, c2 = split_ciphertext(raw)
        point = self._field(c1[1 : 1 + SIZE]) + self._field(c1[1 + SIZE :])
        length = len(c2).to_bytes(4, byteorder)
        if self.cipher is CipherLayout.STANDARD:
            return point + c3 + length + c2
        if len(c2) > _OLD_ROOM:
            raise DeviceError(f"this device decrypts at most {_OLD_ROOM} bytes")
        return length + point + c2.ljust(_OLD_ROOM, b"\0") + c3

    def _field(self, number: bytes) -> bytes:
        return number.rjust(self.field_bytes, b"\0")

    def _numbers(self, raw: bytes) -> bytes:
        pad = self.field_bytes - SIZE
        first, second = raw[: self.field_bytes], raw[self.field_bytes :]
        if any(first[:pad]) or any(second[:pad]):
            raise DeviceError("the device gave a number of more than 256 bits; is field_bytes right?")
        return first[pad:] + second[pad:]
