"""One SDF session: keys in and out, block operations, SM2 with internal pairs.

A handle kept in the key table is one byte of kind, then
- `01`: the blob GenerateKeyWithKEK gave (a generated key),
- `02`: an SM2 ciphertext 04 || C1 || C3 || C2 under the device's public encryption key (an adopted key); it is in the
  standard's raw form, so that it outlives a change of the library's structures,
- `03`: the index of an internal pair, four bytes.
Whatever machine holds the same KEK, encryption pair and signing pairs can use it.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from ctypes import byref, c_uint32, c_void_p, create_string_buffer
from dataclasses import dataclass
from typing import Any, Final

from hsm.api import CARD_ALGORITHMS, Algorithm, BadInputError
from hsm.card_rules import block_size
from hsm.device import AlgorithmUnavailableError, DeviceError, DeviceKey, DeviceLostError, OpenSession
from hsm.primitives import AuthenticationFailed, Engine
from hsm.primitives.sm2_forms import check_public, split_ciphertext, split_signature, z_input
from hsm.profile_table import SecretReference
from hsm.sdf.binding import DEVICE_INFO, TAIL, BadDataError, Layout, SdfLibrary
from hsm.sdf.claims import PairClaims
from hsm.sdf.profile import CipherIds, DecryptForm, Profile, Sm2Pairs
from hsm.sealing import composed_cmacs
from hsm.soft_device import SoftKey

KIND_KEK, KIND_ENVELOPE, KIND_PAIR = b"\x01", b"\x02", b"\x03"
KEY_BYTES: Final = 16
_SINGLE_DES: Final = 8
_STRUCTURE_ROOM: Final = 512
_BLOB_ROOM: Final = 1024 + TAIL
_DIGEST: Final = 32


@dataclass(slots=True)
class Shared:
    """What the sessions of one source have in common."""

    library: SdfLibrary
    profile: Profile
    layout: Layout
    engine: Engine
    claims: PairClaims
    forgotten: int = 0
    """Counts destroyed keys; a session that sees it move drops every key it imported."""


class SdfKey(DeviceKey):
    """A key the session imported. Single DES keys lie in the device as K1 K1, which triple DES makes single DES."""

    def __init__(self, session: SdfSession, algorithm: Algorithm, length: int, key: c_void_p, ids: CipherIds) -> None:
        self._session, self._algorithm, self._length = session, algorithm, length
        self._key, self._ids = key, ids

    @property
    def algorithm(self) -> Algorithm:
        return self._algorithm

    @property
    def length(self) -> int:
        return self._length

    def ecb(self, data: bytes, *, decrypt: bool = False) -> bytes:
        function = "SDF_Decrypt" if decrypt else "SDF_Encrypt"
        return b"".join(
            self._session.crypt(function, self._key, self._ids.ecb, None, part) for part in self._parts(data)
        )

    def cbc(self, iv: bytes, data: bytes) -> bytes:
        size = block_size(self._algorithm)
        if len(iv) != size:
            raise BadInputError(f"{self._algorithm} IV must be {size} bytes, not {len(iv)}")
        done = b""
        for part in self._parts(data):
            done += self._session.crypt("SDF_Encrypt", self._key, self._ids.cbc, done[-size:] or iv, part)
        return done

    def cmacs(self, messages: Sequence[bytes]) -> list[bytes]:
        return composed_cmacs(self, messages)

    def derive(self, data: bytes) -> DeviceKey:
        """SDF derives nothing inside: the value is computed by the device and used in this process.

        The buffer it arrived in is overwritten; the copy the cipher library needs is gone when Python frees it.
        """
        return SoftKey(self._session.engine, self._algorithm, self.ecb(data))

    def _parts(self, data: bytes) -> list[bytes]:
        if len(data) % block_size(self._algorithm):
            raise BadInputError(f"{self._algorithm} data must be whole blocks, not {len(data)} bytes")
        size = self._session.max_data
        return [data[at : at + size] for at in range(0, len(data), size)]


class SdfSession(OpenSession):
    """For one thread at a time."""

    def __init__(
        self,
        shared: Shared,
        handle: c_void_p,
        algorithms: frozenset[Algorithm],
        closed: Callable[[], None],
    ) -> None:
        """`handle` is an open session; `closed` is called once, after it was closed."""
        self._shared, self._profile, self._layout = shared, shared.profile, shared.layout
        self._handle, self._closed = handle, closed
        self._algorithms = algorithms
        self._keys: OrderedDict[bytes, c_void_p] = OrderedDict()
        self._rights: set[int] = set()
        self._publics: dict[int, bytes] = {}
        self._forgotten = shared.forgotten
        self._is_open = True
        self._is_lost = False

    @property
    def engine(self) -> Engine:
        return self._shared.engine

    @property
    def max_data(self) -> int:
        return self._profile.max_data

    # -- DeviceSession --------------------------------------------------------------------------------------------

    def random(self, length: int) -> bytes:
        done = b""
        while len(done) < length:
            size = min(length - len(done), self.max_data)
            out = create_string_buffer(size + TAIL)
            self._call("SDF_GenerateRandom", size, out)
            done += _taken(out, size)
        return done

    def generate(self, algorithm: Algorithm, length: int) -> bytes:
        """Wrapped by the KEK. A single DES key cannot be: its bytes are drawn from the device and adopted."""
        self._check_cipher(algorithm, length)
        if length == _SINGLE_DES:
            return self.adopt(algorithm, self.random(length))
        kek, blob, used, key = self._profile.kek, create_string_buffer(_BLOB_ROOM), c_uint32(_BLOB_ROOM), c_void_p()
        arguments = (8 * KEY_BYTES, kek.algorithm, kek.index, blob, byref(used), byref(key))
        self._call("SDF_GenerateKeyWithKEK", *arguments)
        size = int(used.value)
        if not 0 < size <= _BLOB_ROOM - TAIL or (kek.blob_bytes and size != kek.blob_bytes):
            self._destroy(key)
            raise DeviceError(f"the device gave a wrapped key of {size} bytes")
        handle = KIND_KEK + blob.raw[:size]
        self._keys[handle] = key
        return handle

    def adopt(self, algorithm: Algorithm, value: bytes) -> bytes:
        self._check_cipher(algorithm, len(value))
        raw = create_string_buffer(_STRUCTURE_ROOM)
        self._call("SDF_ExportEncPublicKey_ECC", self._profile.envelope.index, raw)
        public = check_public(self._layout.public(raw.raw))
        return KIND_ENVELOPE + self.engine.sm2_encrypt(public, value * (KEY_BYTES // len(value)))

    def key(self, algorithm: Algorithm, length: int, handle: bytes) -> DeviceKey:
        self._check_cipher(algorithm, length)
        return SdfKey(self, algorithm, length, self._imported(handle), self._profile.ciphers[algorithm])

    def generate_pair(self, algorithm: Algorithm) -> tuple[bytes, bytes]:
        """The next internal pair of the profile that was not given out; DeviceError when none is left."""
        self._check_sm2(algorithm)
        for index, public in self.pairs():
            if self._shared.claims.claim(public):
                return pair_handle(index), public
        raise DeviceError("every internal SM2 pair of the profile is given out or missing")

    def sign(self, algorithm: Algorithm, handle: bytes, public: bytes, message: bytes, user_id: bytes) -> bytes:
        """The device gets e = SM3(Z || M) only."""
        sm2, index = self._check_sm2(algorithm), self._index(handle)
        if self._public(index) != public:
            raise DeviceError(f"this device has another signing pair at index {index}")
        self._obtain_right(index, sm2.password)
        digest = self.engine.sm3(self.engine.sm3(z_input(public, user_id)) + message)
        raw = create_string_buffer(_STRUCTURE_ROOM)
        self._call("SDF_InternalSign_ECC", index, digest, _DIGEST, raw)
        signature = self._layout.signature(raw.raw)
        if split_signature(signature) is None:
            raise DeviceError("the device gave no SM2 signature")
        return signature

    def decrypt(self, algorithm: Algorithm, handle: bytes, public: bytes, ciphertext: bytes) -> bytes:
        sm2, index = self._check_sm2(algorithm), self._index(handle)
        if sm2.decrypt is DecryptForm.NONE:
            raise AlgorithmUnavailableError("this device does not decrypt with internal pairs")
        if sm2.decrypt is DecryptForm.STANDARD and self._public(index, "SDF_ExportEncPublicKey_ECC") != public:
            raise AlgorithmUnavailableError(f"the pair at index {index} signs only")
        self._obtain_right(index, sm2.password)
        structure = self._layout.ciphertext(ciphertext)
        size = len(split_ciphertext(ciphertext)[2])
        out, used = create_string_buffer(size + TAIL), c_uint32(size + TAIL)
        first = (sm2.decrypt_algorithm,) if sm2.decrypt is DecryptForm.ALGORITHM else ()
        try:
            self._call("SDF_InternalDecrypt_ECC", index, *first, structure, out, byref(used))
        except BadDataError:
            raise AuthenticationFailed("SM2 ciphertext does not verify") from None
        if used.value != size:
            raise DeviceError(f"the device decrypted to {used.value} bytes instead of {size}")
        return _taken(out, size)

    def forget(self, handle: bytes) -> None:
        """Also in the other sessions, at the end of their operation. Claims of pairs are kept."""
        self._shared.forgotten += 1
        self.drop_imported()

    # -- OpenSession ----------------------------------------------------------------------------------------------

    def end_operation(self) -> None:
        """Imported keys beyond the limit leave, the least recently used first."""
        if self._forgotten != self._shared.forgotten:
            self.drop_imported()
        while len(self._keys) > self._profile.cached_keys:
            self._destroy(self._keys.popitem(last=False)[1])

    def check(self) -> None:
        info = create_string_buffer(DEVICE_INFO.size + TAIL)
        try:
            self._call("SDF_GetDeviceInfo", info)
        except DeviceError as error:
            self._is_lost = True
            raise DeviceLostError(str(error), error.code) from None

    def close(self) -> None:
        if not self._is_open:
            return
        self.drop_imported()
        for index in self._rights:
            self._quietly("SDF_ReleasePrivateKeyAccessRight", index)
        self._is_open = False
        with contextlib.suppress(DeviceError):
            self._shared.library.call("SDF_CloseSession", self._handle)
        self._closed()

    # -- inside ---------------------------------------------------------------------------------------------------

    def crypt(self, function: str, key: c_void_p, algorithm: int, iv: bytes | None, data: bytes) -> bytes:
        """One call of SDF_Encrypt or SDF_Decrypt; devices write the next IV over the one they are given."""
        out, used = create_string_buffer(len(data) + TAIL), c_uint32(len(data) + TAIL)
        vector = None if iv is None else create_string_buffer(iv, len(iv) + TAIL)
        self._call(function, key, algorithm, vector, data, len(data), out, byref(used))
        if used.value != len(data):
            raise DeviceError(f"the device answered {used.value} bytes to {len(data)}")
        return _taken(out, len(data))

    def pairs(self) -> Iterator[tuple[int, bytes]]:
        """Index and public signing key of the pairs of the profile that the device has."""
        for index in self._profile.sm2.pairs if self._profile.sm2 else ():
            try:
                yield index, self._public(index)
            except DeviceLostError:
                raise
            except DeviceError:
                continue

    def drop_imported(self) -> None:
        """Destroy every imported key now, so that the next use imports it again."""
        self._forgotten = self._shared.forgotten
        while self._keys:
            self._destroy(self._keys.popitem()[1])

    def _call(self, name: str, *arguments: Any) -> None:
        if not self._is_open:
            raise DeviceLostError("the session is closed")
        try:
            self._shared.library.call(name, self._handle, *arguments)
        except DeviceLostError:
            self._is_lost = True
            raise

    def _quietly(self, name: str, *arguments: Any) -> None:
        if not self._is_lost:
            with contextlib.suppress(DeviceError):
                self._call(name, *arguments)

    def _check_cipher(self, algorithm: Algorithm, length: int) -> None:
        if algorithm not in CARD_ALGORITHMS or algorithm not in self._algorithms:
            raise AlgorithmUnavailableError(f"this device has no {algorithm}")
        if length != KEY_BYTES and not (algorithm is Algorithm.TDES and length == _SINGLE_DES):
            raise BadInputError(f"{algorithm} keys here do not have {length} bytes")

    def _check_sm2(self, algorithm: Algorithm) -> Sm2Pairs:
        sm2 = self._profile.sm2
        if algorithm is not Algorithm.SM2 or algorithm not in self._algorithms or sm2 is None:
            raise AlgorithmUnavailableError(f"this device has no {algorithm} pairs")
        return sm2

    def _imported(self, handle: bytes) -> c_void_p:
        key = self._keys.get(handle)
        if key is not None:
            self._keys.move_to_end(handle)
            return key
        kind, body, key = handle[:1], handle[1:], c_void_p()
        if kind == KIND_KEK and body:
            kek = self._profile.kek
            self._call("SDF_ImportKeyWithKEK", kek.algorithm, kek.index, body, len(body), byref(key))
        elif kind == KIND_ENVELOPE:
            envelope = self._profile.envelope
            self._obtain_right(envelope.index, envelope.password)
            structure = create_string_buffer(self._layout.ciphertext(body), _STRUCTURE_ROOM)
            self._call("SDF_ImportKeyWithISK_ECC", envelope.index, structure, byref(key))
        else:
            raise BadInputError("not the handle of a key of this device")
        self._keys[handle] = key
        return key

    def _index(self, handle: bytes) -> int:
        if handle[:1] != KIND_PAIR or len(handle) != 5:
            raise BadInputError("not the handle of a pair of this device")
        return int.from_bytes(handle[1:], "big")

    def _public(self, index: int, function: str = "SDF_ExportSignPublicKey_ECC") -> bytes:
        """Signing keys are kept: a pair does not change while a session is open."""
        is_signing = function == "SDF_ExportSignPublicKey_ECC"
        if is_signing and index in self._publics:
            return self._publics[index]
        raw = create_string_buffer(_STRUCTURE_ROOM)
        self._call(function, index, raw)
        public = check_public(self._layout.public(raw.raw))
        if is_signing:
            self._publics[index] = public
        return public

    def _obtain_right(self, index: int, password: SecretReference) -> None:
        if index in self._rights:
            return
        value = password.read()
        self._call("SDF_GetPrivateKeyAccessRight", index, value, len(value))
        self._rights.add(index)

    def _destroy(self, key: c_void_p) -> None:
        self._quietly("SDF_DestroyKey", key)


def pair_handle(index: int) -> bytes:
    return KIND_PAIR + index.to_bytes(4, "big")


def _taken(out: ctypes.Array[ctypes.c_char], size: int) -> bytes:
    """The first bytes of an output buffer, which is overwritten: it may have held a key."""
    taken = out.raw[:size]
    ctypes.memset(out, 0, len(out))
    return taken
