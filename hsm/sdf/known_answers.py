"""What a device must answer before it is used.

Numbers of algorithms differ between vendors and collide (0x401 is SM4 in the standard and AES on older machines), so a
profile proves nothing. Keys go in and out the way real ones do; the expected values come from an engine that gave its
own known answers.
"""

from __future__ import annotations

import logging

from hsm.api import Algorithm, HsmError
from hsm.card_rules import block_size
from hsm.device import AlgorithmUnavailableError, DeviceLostError
from hsm.primitives import DEFAULT_USER_ID, AuthenticationFailed
from hsm.sdf.session import KEY_BYTES, SdfSession, pair_handle
from hsm.soft_device import SoftKey

_KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
_DATA = bytes(range(48))
_IV = bytes.fromhex("000102030405060708090A0B0C0D0E0F")
_MESSAGE = b"OneCard known answer test"
_LOG = logging.getLogger(__name__)


def answering(session: SdfSession, candidates: frozenset[Algorithm], name: str) -> frozenset[Algorithm]:
    """Those algorithms that are what they are called. Raises DeviceLostError."""
    return frozenset(algorithm for algorithm in sorted(candidates) if _answers(session, algorithm, name))


def _answers(session: SdfSession, algorithm: Algorithm, name: str) -> bool:
    try:
        if algorithm is Algorithm.SM2:
            problem = next((_pair_problem(session, *pair) for pair in session.pairs()), "there is no pair")
        else:
            problem = _cipher_problem(session, algorithm)
    except DeviceLostError:
        raise
    except HsmError as error:
        problem = str(error)
    finally:
        session.drop_imported()
    if problem:
        _LOG.warning("%s: %s is not used: %s", name, algorithm, problem)
    return not problem


def _cipher_problem(session: SdfSession, algorithm: Algorithm) -> str:
    """What is wrong with a block cipher, nothing when all is right."""
    right = SoftKey(session.engine, algorithm, _KEY)
    key = session.key(algorithm, KEY_BYTES, session.adopt(algorithm, _KEY))
    iv = _IV[: block_size(algorithm)]
    if key.ecb(_DATA) != right.ecb(_DATA):
        return "wrong known answer in ECB"
    if key.ecb(right.ecb(_DATA), decrypt=True) != _DATA:
        return "wrong known answer in ECB decryption"
    if key.cbc(iv, _DATA) != right.cbc(iv, _DATA):
        return "wrong known answer in CBC"
    handle = session.generate(algorithm, KEY_BYTES)
    fresh = session.key(algorithm, KEY_BYTES, handle).ecb(_DATA)
    session.drop_imported()
    if session.key(algorithm, KEY_BYTES, handle).ecb(_DATA) != fresh:
        return "a generated key does not come back from its wrapped form"
    return ""


def _pair_problem(session: SdfSession, index: int, public: bytes) -> str:
    """Signs a fixed text: a device on another curve, or one that hashes again, fails."""
    signature = session.sign(Algorithm.SM2, pair_handle(index), public, _MESSAGE, DEFAULT_USER_ID)
    if not session.engine.sm2_verify(public, _MESSAGE, signature, user_id=DEFAULT_USER_ID):
        return "its signature does not verify"
    sealed = session.engine.sm2_encrypt(public, _MESSAGE)
    try:
        if session.decrypt(Algorithm.SM2, pair_handle(index), public, sealed) != _MESSAGE:
            return "its decryption is wrong"
    except AlgorithmUnavailableError as error:
        _LOG.info("%s", error)
    except AuthenticationFailed:
        return "its decryption is wrong"
    return ""
