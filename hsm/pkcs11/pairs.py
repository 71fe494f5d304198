"""Key pairs in a token: P-256 and RSA-2048 by standard mechanisms, SM2 by the numbers of the profile.

The private key leaves the token wrapped, or stays on it as an object found by CKA_ID; the profile says which. A pair
made on the SM2 curve by the standard mechanisms signs plain ECDSA, so SM2 needs the vendor's own number.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hsm.api import Algorithm
from hsm.device import AlgorithmUnavailableError, DeviceError, DeviceLostError
from hsm.pkcs11.constants import CKA, CKK, CKM, CKO
from hsm.pkcs11.cryptoki import RawSession
from hsm.pkcs11.objects import ObjectStore
from hsm.pkcs11.profile import CiphertextForm, PrivateKeys, Profile, SignatureForm, Sm2Mechanisms
from hsm.primitives import (
    AuthenticationFailed,
    Engine,
    c1c3c2_to_c1c2c3,
    ciphertext_to_der,
    signature_from_der,
)
from hsm.primitives.sm2_forms import check_public, split_ciphertext, z_input
from hsm.soft_device import RSA_BITS

_P256_CURVE = bytes.fromhex("06082A8648CE3D030107")
_RSA_EXPONENT = bytes.fromhex("010001")
_POINT = 65
_SIGNATURE = 64

_Values = dict[int, bool | int | bytes]


def sm2_mechanisms(profile: Profile) -> Sm2Mechanisms:
    """Raises AlgorithmUnavailableError where the profile has none."""
    if profile.sm2 is None:
        raise AlgorithmUnavailableError("the profile names no mechanisms for SM2")
    return profile.sm2


def generate(raw: RawSession, objects: ObjectStore, profile: Profile, algorithm: Algorithm) -> tuple[bytes, bytes]:
    """Handle and public key as in `hsm.device.DeviceSession.generate_pair`."""
    mechanism, public_values = _generation(profile, algorithm)
    private_values = {**_private(profile, algorithm), CKA.EXTRACTABLE: profile.private_keys is PrivateKeys.WRAPPED}
    handle = b""
    if profile.private_keys is PrivateKeys.TOKEN:
        private_values[CKA.ID], handle = objects.new_id()
        private_values[CKA.TOKEN] = True
    public, private = raw.generate_pair(
        mechanism, {**public_values, CKA.TOKEN: False, CKA.VERIFY: True}, private_values
    )
    try:
        public_key = _public_key(raw, public, algorithm)
    except Exception:
        raw.destroy(private)
        raise
    finally:
        raw.destroy(public)
    return handle or objects.wrapped(private, profile.private_wrap), public_key


def private_number(objects: ObjectStore, profile: Profile, algorithm: Algorithm, handle: bytes) -> int:
    """Object of the private key."""
    attributes = {CKA.CLASS: CKO.PRIVATE_KEY, **_private(profile, algorithm), CKA.EXTRACTABLE: False}
    return objects.number(handle, profile.private_wrap, attributes)


def sign(raw: RawSession, algorithm: Algorithm, number: int, message: bytes) -> bytes:
    """P-256: raw r || s; RSA: PKCS #1 v1.5 with SHA-256."""
    if algorithm is Algorithm.RSA:
        return raw.sign(CKM.SHA256_RSA_PKCS, number, message)
    # Hashed here: not every token has ECDSA with a digest of its own.
    return _checked(raw.sign(CKM.ECDSA, number, hashlib.sha256(message).digest()))


def sm2_digest(engine: Engine, public: bytes, message: bytes, user_id: bytes) -> bytes:
    """e = SM3(Z || M), which is what the token signs (GB/T 32918.2, 6.1)."""
    return engine.sm3(engine.sm3(z_input(check_public(public), user_id)) + message)


def sm2_sign(raw: RawSession, mechanisms: Sm2Mechanisms, number: int, digest: bytes) -> bytes:
    """Raw r || s over e."""
    signature = raw.sign(mechanisms.sign, number, digest)
    return signature_from_der(signature) if mechanisms.signature is SignatureForm.DER else _checked(signature)


def sm2_decrypt(raw: RawSession, mechanisms: Sm2Mechanisms, number: int, ciphertext: bytes) -> bytes:
    """Plaintext of 04 || C1 || C3 || C2; AuthenticationFailed for whatever the token does not like about it."""
    if mechanisms.decrypt is None:
        raise AlgorithmUnavailableError("the profile names no SM2 decryption")
    split_ciphertext(ciphertext)
    forms = {CiphertextForm.C1C2C3: c1c3c2_to_c1c2c3, CiphertextForm.DER: ciphertext_to_der}
    convert = forms.get(mechanisms.ciphertext, bytes)
    try:
        return raw.decrypt(mechanisms.decrypt, number, convert(ciphertext))
    except DeviceLostError:
        raise
    except DeviceError:
        raise AuthenticationFailed("SM2 ciphertext does not verify") from None


def _generation(profile: Profile, algorithm: Algorithm) -> tuple[int, _Values]:
    """Mechanism and what the public half is told."""
    if algorithm is Algorithm.P256:
        return CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: _P256_CURVE}
    if algorithm is Algorithm.RSA:
        return CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: RSA_BITS, CKA.PUBLIC_EXPONENT: _RSA_EXPONENT}
    mechanisms = sm2_mechanisms(profile)
    return mechanisms.key_pair_gen, {CKA.EC_PARAMS: mechanisms.curve}


def _private(profile: Profile, algorithm: Algorithm) -> _Values:
    if algorithm not in (Algorithm.P256, Algorithm.RSA, Algorithm.SM2):
        raise AlgorithmUnavailableError(f"{algorithm} has no key pairs")
    values: _Values = {
        CKA.KEY_TYPE: {Algorithm.P256: CKK.EC, Algorithm.RSA: CKK.RSA}.get(algorithm, CKK.EC),
        CKA.TOKEN: False,
        CKA.PRIVATE: True,
        CKA.SENSITIVE: True,
        CKA.SIGN: True,
    }
    if algorithm is Algorithm.SM2:
        mechanisms = sm2_mechanisms(profile)
        values[CKA.KEY_TYPE] = mechanisms.key_type
        values[CKA.DECRYPT] = mechanisms.decrypt is not None
    return values


def _public_key(raw: RawSession, number: int, algorithm: Algorithm) -> bytes:
    if algorithm is Algorithm.RSA:
        modulus, exponent = (int.from_bytes(raw.read(number, kind)) for kind in (CKA.MODULUS, CKA.PUBLIC_EXPONENT))
        key = RSAPublicNumbers(exponent, modulus).public_key()
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    point = raw.read(number, CKA.EC_POINT)
    # A DER OCTET STRING by the standard; older libraries give the point itself.
    point = point[2:] if point[:2] == bytes((4, _POINT)) and len(point) == _POINT + 2 else point
    if len(point) != _POINT or point[0] != 4:
        raise DeviceError("the token gave no uncompressed point")
    return check_public(point) if algorithm is Algorithm.SM2 else point


def _checked(signature: bytes) -> bytes:
    if len(signature) != _SIGNATURE:
        raise DeviceError(f"the token gave a signature of {len(signature)} bytes")
    return signature
