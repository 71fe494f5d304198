"""Engine on gmssl and pycryptodome: no compiled SM code needed, slow, and the cross-check of the fast engine.

gmssl 3.2.2 has faults that are cured here, each with a test that fails without the cure: nonces from a predictable
generator, public keys damaged by `lstrip`, ciphertexts accepted unchecked, signatures without range checks, `None`
where a retry is due, wrong results when sG and tP of a verification meet, fixed user id and layout. Only its curve
arithmetic, SM3 and the SM4 block are used. Python integers are not constant time: in production this engine is for
public-key operations and simulators.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import Any

from Crypto.Cipher import DES, DES3
from gmssl import sm2, sm3, sm4

from hsm.api import BadInputError
from hsm.primitives import engine, modes, sm2_forms
from hsm.primitives.engine import DEFAULT_USER_ID, AuthenticationFailed
from hsm.primitives.sm2_forms import SIZE, N

# gmssl has no types; everything taken from it passes through these names.
_CryptSM2: Any = sm2.CryptSM2
_CryptSM4: Any = sm4.CryptSM4
_sm3_hash: Any = sm3.sm3_hash
_sm3_kdf: Any = sm3.sm3_kdf

_SM3_BLOCK = 64
_RAW = 0xFF
"""A padding mode gmssl does not know, so that it pads nothing and strips nothing."""

_GENERATOR = sm2_forms.GX.to_bytes(SIZE).hex() + sm2_forms.GY.to_bytes(SIZE).hex()


class PortableSymmetric:
    """SM3 and SM4 over gmssl, DES over pycryptodome."""

    def sm3(self, data: bytes) -> bytes:
        return bytes.fromhex(_sm3_hash(list(data)))

    def sm3_after(self, prefix: bytes) -> Callable[[bytes], bytes]:
        return lambda data: self.sm3(prefix + data)

    def hmac_sm3(self, key: bytes, data: bytes) -> bytes:
        key = (self.sm3(key) if len(key) > _SM3_BLOCK else key).ljust(_SM3_BLOCK, b"\0")
        inner = self.sm3(bytes(byte ^ 0x36 for byte in key) + data)
        return self.sm3(bytes(byte ^ 0x5C for byte in key) + inner)

    def sm4_ecb(self, key: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
        engine.check_sm4(key, data)
        return _sm4(key, decrypt=decrypt)(data)

    def sm4_cbc(self, key: bytes, iv: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
        engine.check_sm4(key, data, iv)
        if decrypt:
            return modes.cbc_decrypt(_sm4(key, decrypt=True), iv, data)
        return modes.cbc_encrypt(_sm4(key), iv, data)

    def sm4_ctr(self, key: bytes, counter: bytes, data: bytes) -> bytes:
        engine.check_sm4(key, data, counter, whole_blocks=False)
        return modes.ctr(_sm4(key), counter, data)

    def sm4_gcm_seal(self, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        engine.check_gcm(key, nonce)
        return modes.gcm_seal(_sm4(key), nonce, plaintext, aad)

    def sm4_gcm_open(self, key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
        engine.check_gcm(key, nonce)
        return modes.gcm_open(_sm4(key), nonce, sealed, aad)

    def sm4_cmac(self, key: bytes, data: bytes) -> bytes:
        engine.check_sm4(key, b"")
        return modes.cmac(_sm4(key), engine.SM4_BLOCK, data)

    def des_ecb(self, key: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
        engine.check_des(key, data)
        single = _single_des(key)
        des: Any = DES3.new(key, DES3.MODE_ECB) if single is None else DES.new(single, DES.MODE_ECB)  # noqa: S304
        return bytes(des.decrypt(data) if decrypt else des.encrypt(data))

    def des_cbc(self, key: bytes, iv: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
        engine.check_des(key, data, iv)
        single = _single_des(key)
        des: Any = DES3.new(key, DES3.MODE_CBC, iv) if single is None else DES.new(single, DES.MODE_CBC, iv)  # noqa: S304
        return bytes(des.decrypt(data) if decrypt else des.encrypt(data))

    def des_retail_mac(self, key: bytes, data: bytes) -> bytes:
        engine.check_retail_mac(key, data)
        chained = self.des_cbc(key[:8], bytes(8), data)[-8:]
        return self.des_ecb(key[:8], self.des_ecb(key[8:], chained, decrypt=True))


class PortableSm2:
    """SM2 over gmssl's point arithmetic."""

    is_constant_time = False

    def sm2_generate(self) -> tuple[bytes, bytes]:
        private = (1 + secrets.randbelow(N - 2)).to_bytes(SIZE)
        return private, self.sm2_public_key(private)

    def sm2_public_key(self, private: bytes) -> bytes:
        number = sm2_forms.check_private(private)
        return b"\x04" + _times(number, _GENERATOR)

    def sm2_decompress(self, compressed: bytes) -> bytes:
        return sm2_forms.decompress(compressed)

    def sm2_sign(self, private: bytes, message: bytes, *, user_id: bytes = DEFAULT_USER_ID) -> bytes:
        digest = _message_digest(self.sm2_public_key(private), message, user_id)
        signer = _CryptSM2(private_key=private.hex(), public_key="")
        while True:
            nonce = 1 + secrets.randbelow(N - 1)
            signature = signer.sign(digest, f"{nonce:064x}")
            if signature is not None:
                return bytes.fromhex(signature)

    def sm2_verify(self, public: bytes, message: bytes, signature: bytes, *, user_id: bytes = DEFAULT_USER_ID) -> bool:
        sm2_forms.check_public(public)
        numbers = sm2_forms.split_signature(signature)
        digest = int.from_bytes(_message_digest(public, message, user_id))
        if numbers is None:
            return False
        r, s = numbers
        t = (r + s) % N
        if t == 0:
            return False
        point = _add(_times(s, _GENERATOR), _times(t, public[1:].hex()))
        return point is not None and (digest + int.from_bytes(point[:SIZE])) % N == r

    def sm2_encrypt(self, public: bytes, plaintext: bytes) -> bytes:
        sm2_forms.check_public(public)
        if not plaintext:
            raise BadInputError("SM2 encrypts at least one byte")
        while True:
            nonce = 1 + secrets.randbelow(N - 1)
            shared = _times(nonce, public[1:].hex())
            stream = _kdf(shared, len(plaintext))
            if any(stream):
                c1 = b"\x04" + _times(nonce, _GENERATOR)
                return c1 + _c3(shared, plaintext) + modes.xor(plaintext, stream)

    def sm2_decrypt(self, private: bytes, ciphertext: bytes) -> bytes:
        number = sm2_forms.check_private(private)
        c1, c3, c2 = sm2_forms.split_ciphertext(ciphertext)
        if not sm2_forms.is_on_curve(int.from_bytes(c1[1:33]), int.from_bytes(c1[33:])):
            raise AuthenticationFailed("SM2 ciphertext does not verify")
        shared = _times(number, c1[1:].hex())
        stream = _kdf(shared, len(c2))
        plaintext = modes.xor(c2, stream)
        if not any(stream) or not hmac.compare_digest(_c3(shared, plaintext), c3):
            raise AuthenticationFailed("SM2 ciphertext does not verify")
        return plaintext

    def sm2_forget(self, private: bytes) -> None:
        """Nothing to do: no key is kept."""


class PortableEngine(PortableSymmetric, PortableSm2):
    """gmssl and pycryptodome throughout."""

    name = "portable"


def _sm4(key: bytes, *, decrypt: bool = False) -> modes.Block:
    cipher = _CryptSM4(padding_mode=_RAW)
    cipher.set_key(key, sm4.SM4_DECRYPT if decrypt else sm4.SM4_ENCRYPT)

    def blocks(data: bytes) -> bytes:
        return bytes(cipher.crypt_ecb(data))

    return blocks


def _single_des(key: bytes) -> bytes | None:
    """The single-DES key a key amounts to (pycryptodome refuses it as triple DES), None for real triple DES."""
    if len(key) == 8:
        return key
    parts = [bytes(byte & 0xFE for byte in key[at : at + 8]) for at in (0, 8, 16 if len(key) == 24 else 0)]
    if parts[0] == parts[1]:
        return parts[2]
    return parts[0] if parts[1] == parts[2] else None


def _message_digest(public: bytes, message: bytes, user_id: bytes) -> bytes:
    z = bytes.fromhex(_sm3_hash(list(sm2_forms.z_input(public, user_id))))
    return bytes.fromhex(_sm3_hash(list(z + message)))


def _times(number: int, point: str) -> bytes:
    """X || Y of `number` times the point (hex); `number` is 1 to n-1, so the result is never at infinity."""
    return bytes.fromhex(_CryptSM2(private_key="", public_key="")._kg(number, point))


def _add(left: bytes, right: bytes) -> bytes | None:
    """X || Y of the sum, None at infinity. gmssl's addition is wrong for equal points and fails for opposite ones."""
    if left == right:
        return _times(2, left.hex())
    if left[:SIZE] == right[:SIZE]:
        return None
    arithmetic = _CryptSM2(private_key="", public_key="")
    total = arithmetic._add_point(left.hex() + f"{1:064x}", right.hex())
    return bytes.fromhex(arithmetic._convert_jacb_to_nor(total))


def _kdf(shared: bytes, length: int) -> bytes:
    return bytes.fromhex(_sm3_kdf(shared.hex().encode("ascii"), length))


def _c3(shared: bytes, plaintext: bytes) -> bytes:
    return bytes.fromhex(_sm3_hash(list(shared[:SIZE] + plaintext + shared[SIZE:])))
