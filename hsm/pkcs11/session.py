"""A session of a PKCS#11 token: keys as handles, computed with inside the token.

Triple DES: an 8-byte key lives in the token as K K K and a 16-byte one as K1 K2 K1, because tokens refuse single DES
or fail at it; deriving with the factor repeated the same way gives the derived key in the same form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hsm.api import Algorithm, BadInputError
from hsm.card_rules import block_size, check_key_length
from hsm.device import AlgorithmUnavailableError, DeviceKey, DeviceLostError, OpenSession
from hsm.pkcs11 import pairs
from hsm.pkcs11.binding import Attributes
from hsm.pkcs11.constants import CKA, CKO
from hsm.pkcs11.cryptoki import RawSession
from hsm.pkcs11.objects import ObjectStore
from hsm.pkcs11.profile import TDES_MECHANISMS, CipherMechanisms, Profile
from hsm.primitives import Engine
from hsm.sealing import composed_cmacs
from hsm.soft_device import SoftKey

_MAX_RANDOM = 1 << 16


@dataclass(frozen=True, slots=True)
class Pkcs11Key:
    """A key inside the token; `number` finds its object, unwrapping it again where it had to make room."""

    session: Pkcs11Session = field(repr=False)
    algorithm: Algorithm
    length: int
    mechanisms: CipherMechanisms = field(repr=False)
    number: Callable[[], int] = field(repr=False)

    def ecb(self, data: bytes, *, decrypt: bool = False) -> bytes:
        raw = self.session.raw
        compute = raw.decrypt if decrypt else raw.encrypt
        return compute(self.mechanisms.ecb, self.number(), data) if self._is_whole(data) else b""

    def cbc(self, iv: bytes, data: bytes) -> bytes:
        if len(iv) != block_size(self.algorithm):
            raise BadInputError(f"IV must be {block_size(self.algorithm)} bytes")
        return self.session.raw.encrypt(self.mechanisms.cbc, self.number(), data, iv) if self._is_whole(data) else b""

    def cmacs(self, messages: Sequence[bytes]) -> list[bytes]:
        return composed_cmacs(self, messages)

    def derive(self, data: bytes) -> DeviceKey:
        check_key_length(self.algorithm, len(data))
        if self.mechanisms.derive is None:
            return SoftKey(self.session.engine, self.algorithm, self.ecb(data))
        number = self.session.derive(self.mechanisms, self.number(), in_token_form(self.algorithm, data))
        return replace(self, length=len(data), number=lambda: number)

    def _is_whole(self, data: bytes) -> bool:
        """False for no data at all, which tokens refuse; raises BadInputError for broken blocks."""
        if len(data) % block_size(self.algorithm):
            raise BadInputError(f"data must be a multiple of {block_size(self.algorithm)} bytes")
        return bool(data)


class Pkcs11Session(OpenSession):
    """`hsm.device.OpenSession` over one logged-in session. One thread at a time; `forget_later` from any."""

    def __init__(
        self,
        raw: RawSession,
        profile: Profile,
        engine: Engine,
        wrapping: int,
        on_forget: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self.raw = raw
        self.engine = engine
        self.profile = profile
        self._objects = ObjectStore(raw, wrapping, profile.cached_keys)
        self._on_forget = on_forget
        self.forget_later = self._objects.forget_later

    def random(self, length: int) -> bytes:
        if not 1 <= length <= _MAX_RANDOM:
            raise BadInputError(f"random length must be 1 to {_MAX_RANDOM}")
        return self.raw.random(length)

    def generate(self, algorithm: Algorithm, length: int) -> bytes:
        mechanisms = self._mechanisms(algorithm)
        check_key_length(algorithm, length)
        if algorithm is Algorithm.SM4:
            attributes = _with_length(mechanisms, length, _secret(mechanisms, is_new=True))
            number = self.raw.generate(mechanisms.key_gen, _without_type(attributes))
            return self._objects.wrapped(number, self.profile.secret_wrap)
        # No mechanism makes K1 K2 K1 of the type the derivation needs; a random key's encryption of random blocks does.
        base = self.raw.generate(mechanisms.key_gen, _without_type(_secret(mechanisms)))
        try:
            return self._new_from(mechanisms, base, in_token_form(algorithm, self.raw.random(length)))
        finally:
            self.raw.destroy(base)

    def adopt(self, algorithm: Algorithm, value: bytes) -> bytes:
        mechanisms = self._mechanisms(algorithm)
        check_key_length(algorithm, len(value))
        attributes = _secret(mechanisms, is_new=True)
        number = self.raw.create({**attributes, CKA.VALUE: in_token_form(algorithm, value)})
        return self._objects.wrapped(number, self.profile.secret_wrap)

    def key(self, algorithm: Algorithm, length: int, handle: bytes) -> DeviceKey:
        mechanisms = self._mechanisms(algorithm)
        check_key_length(algorithm, length)
        attributes = _secret(mechanisms)

        def number() -> int:
            return self._objects.number(handle, self.profile.secret_wrap, attributes)

        return Pkcs11Key(self, algorithm, length, mechanisms, number)

    def derive(self, mechanisms: CipherMechanisms, base: int, data: bytes) -> int:
        """Number of an object that lasts until the operation ends."""
        if mechanisms.derive is None:
            raise AlgorithmUnavailableError("the profile names no derivation")
        attributes = _with_length(mechanisms, len(data), _secret(mechanisms))
        return self._objects.until_end(self.raw.derive(mechanisms.derive, base, data, attributes))

    def generate_pair(self, algorithm: Algorithm) -> tuple[bytes, bytes]:
        return pairs.generate(self.raw, self._objects, self.profile, algorithm)

    def sign(self, algorithm: Algorithm, handle: bytes, public: bytes, message: bytes, user_id: bytes) -> bytes:
        number = pairs.private_number(self._objects, self.profile, algorithm, handle)
        if algorithm is Algorithm.SM2:
            digest = pairs.sm2_digest(self.engine, public, message, user_id)
            return pairs.sm2_sign(self.raw, pairs.sm2_mechanisms(self.profile), number, digest)
        return pairs.sign(self.raw, algorithm, number, message)

    def decrypt(self, algorithm: Algorithm, handle: bytes, public: bytes, ciphertext: bytes) -> bytes:
        if algorithm is not Algorithm.SM2:
            raise AlgorithmUnavailableError(f"{algorithm} does not decrypt here")
        number = pairs.private_number(self._objects, self.profile, algorithm, handle)
        return pairs.sm2_decrypt(self.raw, pairs.sm2_mechanisms(self.profile), number, ciphertext)

    def forget(self, handle: bytes) -> None:
        self._objects.forget(handle)
        self._on_forget(handle)

    def end_operation(self) -> None:
        self._objects.end_operation()

    def check(self) -> None:
        if not self.raw.is_logged_in():
            raise DeviceLostError("the token logged the user out")
        self.raw.random(8)

    def close(self) -> None:
        self.raw.close()

    def _new_from(self, mechanisms: CipherMechanisms, base: int, data: bytes) -> bytes:
        if mechanisms.derive is None:
            raise AlgorithmUnavailableError("the profile names no derivation")
        attributes = _secret(mechanisms, is_new=True)
        return self._objects.wrapped(
            self.raw.derive(mechanisms.derive, base, data, attributes), self.profile.secret_wrap
        )

    def _mechanisms(self, algorithm: Algorithm) -> CipherMechanisms:
        found = {Algorithm.TDES: TDES_MECHANISMS, Algorithm.SM4: self.profile.sm4}.get(algorithm)
        if found is None:
            raise AlgorithmUnavailableError(f"the profile names no mechanisms for {algorithm}")
        return found


def in_token_form(algorithm: Algorithm, value: bytes) -> bytes:
    """Three parts of triple DES: K K K of 8 bytes, K1 K2 K1 of 16; SM4 as it is."""
    if algorithm is Algorithm.SM4:
        return value
    return value * 3 if len(value) == 8 else value + value[:8]


def _secret(mechanisms: CipherMechanisms, *, is_new: bool = False) -> Attributes:
    """A session object; a new one may leave the token once, wrapped, and is destroyed then."""
    return {
        CKA.CLASS: CKO.SECRET_KEY,
        CKA.KEY_TYPE: mechanisms.key_type,
        CKA.TOKEN: False,
        CKA.PRIVATE: True,
        CKA.SENSITIVE: True,
        CKA.EXTRACTABLE: is_new,
        CKA.ENCRYPT: True,
        CKA.DECRYPT: True,
        CKA.DERIVE: mechanisms.derive is not None,
    }


def _with_length(mechanisms: CipherMechanisms, length: int, attributes: Attributes) -> Attributes:
    """Only where a key is generated or derived (PKCS#11 2.40, 10.2): elsewhere tokens refuse CKA_VALUE_LEN."""
    return {**attributes, CKA.VALUE_LEN: length} if mechanisms.needs_length else attributes


def _without_type(attributes: Attributes) -> Attributes:
    """The mechanism of C_GenerateKey already says class and type; some tokens refuse to be told again."""
    return {kind: value for kind, value in attributes.items() if kind not in (CKA.CLASS, CKA.KEY_TYPE)}
