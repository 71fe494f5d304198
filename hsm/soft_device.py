"""The software device: a handle is the key itself, computed with in this process by a cipher engine."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from hsm.api import Algorithm
from hsm.device import AlgorithmUnavailableError, DeviceKey, DeviceSession, KeyDevice
from hsm.primitives import Engine
from hsm.sealing import composed_cmacs

T = TypeVar("T")
RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class SoftKey:
    """A key in this process."""

    engine: Engine = field(repr=False)
    algorithm: Algorithm
    value: bytes = field(repr=False)

    @property
    def length(self) -> int:
        return len(self.value)

    def ecb(self, data: bytes, *, decrypt: bool = False) -> bytes:
        if self.algorithm is Algorithm.SM4:
            return self.engine.sm4_ecb(self.value, data, decrypt=decrypt)
        return self.engine.des_ecb(self.value, data, decrypt=decrypt)

    def cbc(self, iv: bytes, data: bytes) -> bytes:
        if self.algorithm is Algorithm.SM4:
            return self.engine.sm4_cbc(self.value, iv, data)
        return self.engine.des_cbc(self.value, iv, data)

    def cmacs(self, messages: Sequence[bytes]) -> list[bytes]:
        if self.algorithm is not Algorithm.SM4:
            return composed_cmacs(self, messages)
        return [self.engine.sm4_cmac(self.value, message) for message in messages]

    def derive(self, data: bytes) -> SoftKey:
        return SoftKey(self.engine, self.algorithm, self.ecb(data))


class SoftDevice(KeyDevice, DeviceSession):
    """Its own session: nothing in it belongs to one thread."""

    name = "soft"
    algorithms = frozenset(Algorithm)

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, operation: Callable[[DeviceSession], T]) -> T:
        return operation(self)

    def close(self) -> None:
        pass

    def random(self, length: int) -> bytes:
        return secrets.token_bytes(length)

    def generate(self, algorithm: Algorithm, length: int) -> bytes:
        return secrets.token_bytes(length)

    def adopt(self, algorithm: Algorithm, value: bytes) -> bytes:
        return value

    def key(self, algorithm: Algorithm, length: int, handle: bytes) -> DeviceKey:
        return SoftKey(self.engine, algorithm, handle)

    def generate_pair(self, algorithm: Algorithm) -> tuple[bytes, bytes]:
        if algorithm is Algorithm.SM2:
            return self.engine.sm2_generate()
        if algorithm is Algorithm.P256:
            curve_key = ec.generate_private_key(ec.SECP256R1())
            public = curve_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            return _private_bytes(curve_key), public
        if algorithm is Algorithm.RSA:
            rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
            public = rsa_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return _private_bytes(rsa_key), public
        raise AlgorithmUnavailableError(f"{algorithm} has no key pairs")

    def sign(self, algorithm: Algorithm, handle: bytes, public: bytes, message: bytes, user_id: bytes) -> bytes:
        if algorithm is Algorithm.SM2:
            return self.engine.sm2_sign(handle, message, user_id=user_id)
        key = load_der_private_key(handle, None)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        raise AlgorithmUnavailableError(f"{algorithm} does not sign")

    def decrypt(self, algorithm: Algorithm, handle: bytes, public: bytes, ciphertext: bytes) -> bytes:
        if algorithm is not Algorithm.SM2:
            raise AlgorithmUnavailableError(f"{algorithm} does not decrypt here")
        return self.engine.sm2_decrypt(handle, ciphertext)

    def forget(self, handle: bytes) -> None:
        self.engine.sm2_forget(handle)


def _private_bytes(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
