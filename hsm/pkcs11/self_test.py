"""What a token must answer before an algorithm of it is used.

Its mechanism list proves nothing: the same number is another algorithm on another product, and a pair on the SM2 curve
often signs plain ECDSA. So every answer is compared with that of our own engine, which gave the published answers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from hsm.api import Algorithm, HsmError
from hsm.card_rules import block_size
from hsm.device import AlgorithmUnavailableError, DeviceKey, DeviceLostError
from hsm.pkcs11 import pairs
from hsm.pkcs11.session import Pkcs11Session
from hsm.primitives import DEFAULT_USER_ID, Engine
from hsm.soft_device import SoftKey

_log = logging.getLogger(__name__)
_KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
_DATA = bytes(range(48))
_MESSAGE = b"message digest"


def proven(session: Pkcs11Session, engine: Engine, wanted: frozenset[Algorithm], device: str) -> frozenset[Algorithm]:
    """Those of `wanted` that gave the right answers; the reason for each other one is logged.

    Raises DeviceLostError when the device goes away meanwhile.
    """
    found = set()
    for algorithm in sorted(wanted):
        try:
            is_right = _TESTS[algorithm](session, engine)
            session.end_operation()
        except DeviceLostError:
            raise
        except HsmError as error:
            level = logging.INFO if isinstance(error, AlgorithmUnavailableError) else logging.WARNING
            _log.log(level, "%s has no %s: %s", device, algorithm, error)
            continue
        if is_right:
            found.add(algorithm)
        else:
            _log.error("%s gives wrong answers for %s, which is not used", device, algorithm)
    return frozenset(found)


def _cipher(algorithm: Algorithm, lengths: tuple[int, ...]) -> Callable[[Pkcs11Session, Engine], bool]:
    def test(session: Pkcs11Session, engine: Engine) -> bool:
        return all(_computes(session, SoftKey(engine, algorithm, _KEY[:length])) for length in lengths)

    return test


def _computes(session: Pkcs11Session, expected: SoftKey) -> bool:
    handle = session.adopt(expected.algorithm, expected.value)
    key = session.key(expected.algorithm, expected.length, handle)
    made = session.key(expected.algorithm, expected.length, session.generate(expected.algorithm, expected.length))
    factor = _DATA[: expected.length]
    return (
        _agree(key, expected)
        and _agree(key.derive(factor), expected.derive(factor))
        and made.ecb(made.ecb(_DATA), decrypt=True) == _DATA != made.ecb(_DATA)
    )


def _agree(key: DeviceKey, expected: DeviceKey) -> bool:
    iv = _DATA[: block_size(expected.algorithm)]
    encrypted = key.ecb(_DATA)
    return (
        encrypted == expected.ecb(_DATA)
        and key.ecb(encrypted, decrypt=True) == _DATA
        and key.cbc(iv, _DATA) == expected.cbc(iv, _DATA)
    )


def _pair(algorithm: Algorithm) -> Callable[[Pkcs11Session, Engine], bool]:
    def test(session: Pkcs11Session, engine: Engine) -> bool:
        handle, public = session.generate_pair(algorithm)
        try:
            signature = session.sign(algorithm, handle, public, _MESSAGE, DEFAULT_USER_ID)
            if algorithm is Algorithm.SM2:
                return engine.sm2_verify(public, _MESSAGE, signature) and _decrypts(session, engine, handle, public)
            return _verifies(algorithm, public, signature)
        finally:
            session.forget(handle)

    return test


def _verifies(algorithm: Algorithm, public: bytes, signature: bytes) -> bool:
    try:
        if algorithm is Algorithm.P256:
            numbers = (int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
            curve_key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
            curve_key.verify(encode_dss_signature(*numbers), _MESSAGE, ec.ECDSA(hashes.SHA256()))
            return True
        key = load_der_public_key(public)
        if not isinstance(key, rsa.RSAPublicKey):
            return False
        key.verify(signature, _MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def _decrypts(session: Pkcs11Session, engine: Engine, handle: bytes, public: bytes) -> bool:
    if pairs.sm2_mechanisms(session.profile).decrypt is None:
        return True
    return session.decrypt(Algorithm.SM2, handle, public, engine.sm2_encrypt(public, _DATA)) == _DATA


_TESTS: dict[Algorithm, Callable[[Pkcs11Session, Engine], bool]] = {
    Algorithm.TDES: _cipher(Algorithm.TDES, (16, 8)),
    Algorithm.SM4: _cipher(Algorithm.SM4, (16,)),
    **{algorithm: _pair(algorithm) for algorithm in (Algorithm.SM2, Algorithm.P256, Algorithm.RSA)},
}
