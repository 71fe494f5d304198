"""The encrypted envelope of the field's service bus (CSB), as an adapter's format: no standard says it (§1.4).

A request is signed over its bus headers and the encrypted body with a secret key, and encrypted with another. Two
ciphers: `sm4-cbc` (IV in front, HMAC-SM3) for partners that can, and `aes-ecb` (HMAC-SHA1) as the field's programs do
it. The latter is weak: equal blocks of text are equal blocks of cipher, so whoever listens sees repetitions. The
signature covers the ciphertext and is checked first, so neither padding nor blocks can be tried out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hsm.primitives import default_engine

BusCipher = Literal["sm4-cbc", "aes-ecb"]
SIGNED_HEADERS: Final = ("_api_access_key", "_api_name", "_api_timestamp", "_api_version")
SIGNATURE_HEADER: Final = "_api_signature"
VERSION: Final = "1.0.0"
MAX_SECURITY: Final = 8192
_BLOCK: Final = 16


class EnvelopeError(Exception):
    """The body cannot be opened with the caller's key, or is no JSON object."""

    failure: ClassVar[str] = "INPUT_INVALID"


@dataclass(frozen=True, slots=True)
class BusKeys:
    """What a partner and the centre share: 16 bytes to encrypt with, and the secret of the signature."""

    cipher: BusCipher
    key: bytes = field(repr=False)
    secret: str = field(repr=False)

    @classmethod
    def new(cls, cipher: BusCipher) -> BusKeys:
        return cls(cipher, secrets.token_bytes(16), secrets.token_urlsafe(24))

    def signature(self, fields: Mapping[str, str]) -> str:
        """Base64 of the MAC over `name=value` pairs in the order of their names, joined by &."""
        text = "&".join(f"{name}={fields[name]}" for name in sorted(fields)).encode()
        if self.cipher == "aes-ecb":
            mac = hmac.new(self.secret.encode(), text, hashlib.sha1).digest()
        else:
            mac = default_engine().hmac_sm3(self.secret.encode(), text)
        return base64.b64encode(mac).decode()

    def is_signed(self, fields: Mapping[str, str], signature: str) -> bool:
        return hmac.compare_digest(self.signature(fields).encode(), signature.encode())

    def encrypted(self, value: Mapping[str, Any]) -> str:
        plain = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        length = _BLOCK - len(plain) % _BLOCK
        padded = plain + bytes((length,)) * length
        if self.cipher == "aes-ecb":
            return base64.b64encode(_aes_ecb(self.key, padded, is_decrypting=False)).decode()
        iv = secrets.token_bytes(_BLOCK)
        return base64.b64encode(iv + default_engine().sm4_cbc(self.key, iv, padded)).decode()

    def decrypted(self, security: str) -> dict[str, Any]:
        """Of a signed envelope. Raises EnvelopeError."""
        try:
            raw = base64.b64decode(security, validate=True)
        except (binascii.Error, ValueError):
            raise EnvelopeError("not base64") from None
        iv, data = (b"", raw) if self.cipher == "aes-ecb" else (raw[:_BLOCK], raw[_BLOCK:])
        if not data or len(data) % _BLOCK or (self.cipher == "sm4-cbc" and len(iv) != _BLOCK):
            raise EnvelopeError("not whole blocks")
        if self.cipher == "aes-ecb":
            padded = _aes_ecb(self.key, data, is_decrypting=True)
        else:
            padded = default_engine().sm4_cbc(self.key, iv, data, decrypt=True)
        return _object(_unpadded(padded))


def _aes_ecb(key: bytes, data: bytes, *, is_decrypting: bool) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305  # what the field's programs speak
    worker = cipher.decryptor() if is_decrypting else cipher.encryptor()
    return worker.update(data) + worker.finalize()


def _unpadded(padded: bytes) -> bytes:
    length = padded[-1]
    if not 1 <= length <= _BLOCK or not hmac.compare_digest(padded[-length:], bytes((length,)) * length):
        raise EnvelopeError("does not open with this key")
    return padded[:-length]


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise EnvelopeError("does not open with this key") from None
    if not isinstance(value, dict):
        raise EnvelopeError("not a JSON object")
    return value
