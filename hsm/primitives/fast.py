"""Engine on hashlib, cryptography and the system's OpenSSL.

Symmetric ciphers come from `cryptography`, which carries its own OpenSSL; triple DES always gets explicit 24-byte keys
(K1 K2 K1; K1 K1 K1 is single DES). SM2 comes from the system library through ctypes.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SM3, Hash
from cryptography.hazmat.primitives.hmac import HMAC

from hsm.api import BadInputError
from hsm.primitives import engine, sm2_forms
from hsm.primitives import modes as composed
from hsm.primitives.engine import DEFAULT_USER_ID, GCM_TAG, AuthenticationFailed
from hsm.primitives.libcrypto import Libcrypto, PKey
from hsm.primitives.sm2_forms import SIZE, N

_ECB = modes.ECB()  # noqa: S305 - the card's own rules are built from single blocks
_GCM_NONCES = range(8, 129)
"""The nonce lengths `cryptography` takes; for others GCM is composed over its SM4."""

_KEPT_KEYS = 64
_HASHLIB_HAS_SM3 = "sm3" in hashlib.algorithms_available


_PlainMode = modes.ECB | modes.CBC | modes.CTR


class FastSymmetric:
    """SM3 over hashlib (or cryptography where Python's OpenSSL lacks it), SM4 and DES over cryptography."""

    def __init__(self, *, use_hashlib: bool = _HASHLIB_HAS_SM3) -> None:
        # Copying a prepared state is quicker than looking the algorithm up; the state itself is never fed.
        self._sm3 = hashlib.new("sm3") if use_hashlib else None

    def sm3(self, data: bytes) -> bytes:
        if self._sm3 is None:
            portable = Hash(SM3())
            portable.update(data)
            return portable.finalize()
        state = self._sm3.copy()
        state.update(data)
        return state.digest()

    def sm3_after(self, prefix: bytes) -> Callable[[bytes], bytes]:
        if self._sm3 is None:
            return lambda data: self.sm3(prefix + data)
        begun = self._sm3.copy()
        begun.update(prefix)

        def digest(data: bytes) -> bytes:
            state = begun.copy()
            state.update(data)
            return state.digest()

        return digest

    def hmac_sm3(self, key: bytes, data: bytes) -> bytes:
        if self._sm3 is not None:
            return hmac.digest(key, data, "sm3")
        mac = HMAC(key, SM3())
        mac.update(data)
        return mac.finalize()

    def sm4_ecb(self, key: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
        engine.check_sm4(key, data)
        return _run(SM4(key), _ECB, data, decrypt=decrypt)

    def sm4_cbc(self, key: bytes, iv: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
        engine.check_sm4(key, data, iv)
        return _run(SM4(key), modes.CBC(iv), data, decrypt=decrypt)

    def sm4_ctr(self, key: bytes, counter: bytes, data: bytes) -> bytes:
        engine.check_sm4(key, data, counter, whole_blocks=False)
        return _run(SM4(key), modes.CTR(counter), data, decrypt=False)

    def sm4_gcm_seal(self, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        engine.check_gcm(key, nonce)
        if len(nonce) not in _GCM_NONCES:
            return composed.gcm_seal(partial(self.sm4_ecb, key), nonce, plaintext, aad)
        context = Cipher(SM4(key), modes.GCM(nonce)).encryptor()
        context.authenticate_additional_data(aad)
        return context.update(plaintext) + context.finalize() + context.tag

    def sm4_gcm_open(self, key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
        engine.check_gcm(key, nonce)
        if len(sealed) < GCM_TAG:
            raise AuthenticationFailed("sealed data is shorter than its tag")
        if len(nonce) not in _GCM_NONCES:
            return composed.gcm_open(partial(self.sm4_ecb, key), nonce, sealed, aad)
        context = Cipher(SM4(key), modes.GCM(nonce, sealed[-GCM_TAG:])).decryptor()
        context.authenticate_additional_data(aad)
        try:
            return context.update(sealed[:-GCM_TAG]) + context.finalize()
        except InvalidTag:
            raise AuthenticationFailed("sealed data does not verify") from None

    def sm4_cmac(self, key: bytes, data: bytes) -> bytes:
        engine.check_sm4(key, b"")
        mac = CMAC(SM4(key))
        mac.update(data)
        return mac.finalize()

    def des_ecb(self, key: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
        engine.check_des(key, data)
        return _run(_triple(key), _ECB, data, decrypt=decrypt)

    def des_cbc(self, key: bytes, iv: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
        engine.check_des(key, data, iv)
        return _run(_triple(key), modes.CBC(iv), data, decrypt=decrypt)

    def des_retail_mac(self, key: bytes, data: bytes) -> bytes:
        engine.check_retail_mac(key, data)
        # All but the last block are single DES; the last one, encrypted, decrypted and encrypted, is triple DES.
        chain = self.des_cbc(key[:8], bytes(8), data[:-8])[-8:] or bytes(8)
        return self.des_cbc(key, chain, data[-8:])


class _KeptKeys:
    """The last used EVP_PKEYs, because making one costs as much as a signature. Thread-safe.

    Entries are found by digest, so that no readable copy of a private key stays behind.
    """

    def __init__(self) -> None:
        self._keys: OrderedDict[bytes, PKey] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, name: bytes) -> PKey | None:
        with self._lock:
            key = self._keys.get(name)
            if key is not None:
                self._keys.move_to_end(name)
            return key

    def keep(self, name: bytes, key: PKey) -> PKey:
        with self._lock:
            self._keys[name] = key
            if len(self._keys) > _KEPT_KEYS:
                self._keys.popitem(last=False)
        return key

    def drop(self, name: bytes) -> None:
        with self._lock:
            self._keys.pop(name, None)


class LibcryptoSm2:
    """SM2 over the system's OpenSSL."""

    def __init__(self, libcrypto: Libcrypto) -> None:
        self._libcrypto = libcrypto
        self._kept = _KeptKeys()

    def sm2_generate(self) -> tuple[bytes, bytes]:
        private = (1 + secrets.randbelow(N - 2)).to_bytes(SIZE)
        return private, self._libcrypto.public_point(private)

    def sm2_public_key(self, private: bytes) -> bytes:
        sm2_forms.check_private(private)
        return self._libcrypto.public_point(private)

    def sm2_decompress(self, compressed: bytes) -> bytes:
        point = self._libcrypto.decompress(compressed) if len(compressed) == 1 + SIZE else None
        if point is None:
            raise BadInputError("compressed SM2 point must be 33 bytes, 02 or 03 || X, on the curve")
        return point

    def sm2_sign(self, private: bytes, message: bytes, *, user_id: bytes = DEFAULT_USER_ID) -> bytes:
        key = self._private_key(private)
        sm2_forms.check_user_id(user_id)
        return sm2_forms.signature_from_der(self._libcrypto.sign(key, message, user_id))

    def sm2_verify(self, public: bytes, message: bytes, signature: bytes, *, user_id: bytes = DEFAULT_USER_ID) -> bool:
        key = self._public_key(public)
        sm2_forms.check_user_id(user_id)
        if sm2_forms.split_signature(signature) is None:
            return False
        return self._libcrypto.verify(key, message, sm2_forms.signature_to_der(signature), user_id)

    def sm2_encrypt(self, public: bytes, plaintext: bytes) -> bytes:
        key = self._public_key(public)
        if not plaintext:
            raise BadInputError("SM2 encrypts at least one byte")
        while True:
            ciphertext = sm2_forms.ciphertext_from_der(self._libcrypto.encrypt(key, plaintext))
            # OpenSSL 3.0 omits the check for an all-zero key stream (GB/T 32918.4 6.1 A5): one byte in 256 would
            # go out in the clear.
            if ciphertext[-len(plaintext) :] != plaintext:
                return ciphertext

    def sm2_decrypt(self, private: bytes, ciphertext: bytes) -> bytes:
        key = self._private_key(private)
        _, _, c2 = sm2_forms.split_ciphertext(ciphertext)
        plaintext = self._libcrypto.decrypt(key, sm2_forms.ciphertext_to_der(ciphertext))
        if plaintext is None or plaintext == c2:
            raise AuthenticationFailed("SM2 ciphertext does not verify")
        return plaintext

    def sm2_forget(self, private: bytes) -> None:
        self._kept.drop(_kept_name(private))

    def _private_key(self, private: bytes) -> PKey:
        name = _kept_name(private)
        key = self._kept.find(name)
        if key is None:
            key = self._kept.keep(name, self._libcrypto.key(self.sm2_public_key(private), private))
        return key

    def _public_key(self, public: bytes) -> PKey:
        key = self._kept.find(public)
        if key is None:
            key = self._kept.keep(public, self._libcrypto.key(sm2_forms.check_public(public)))
        return key


class FastEngine(FastSymmetric, LibcryptoSm2):
    """cryptography, hashlib and the system's OpenSSL."""

    name = "fast"

    def __init__(self, libcrypto: Libcrypto) -> None:
        FastSymmetric.__init__(self)
        LibcryptoSm2.__init__(self, libcrypto)

    @property
    def is_constant_time(self) -> bool:
        return self._libcrypto.is_constant_time

    def des_retail_mac(self, key: bytes, data: bytes) -> bytes:
        if not self._libcrypto.has_des:
            return super().des_retail_mac(key, data)
        engine.check_retail_mac(key, data)
        return self._libcrypto.retail_mac(key, data)


def _kept_name(private: bytes) -> bytes:
    return hashlib.sha256(b"private" + private).digest()


def _triple(key: bytes) -> TripleDES:
    return TripleDES(key * 3 if len(key) == 8 else key + key[:8] if len(key) == 16 else key)


def _run(algorithm: BlockCipherAlgorithm, mode: _PlainMode, data: bytes, *, decrypt: bool) -> bytes:
    cipher = Cipher(algorithm, mode)
    return (cipher.decryptor() if decrypt else cipher.encryptor()).update(data)
