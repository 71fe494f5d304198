"""What a host computes for the certificate application: SM2 message digests and digital envelopes (数字信封)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Self

from cardlib.errors import CardDataError
from hsm.primitives import DEFAULT_USER_ID, Engine

_CURVE = bytes.fromhex(
    "FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFC"
    "28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93"
    "32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7"
    "BC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0"
)
"""a, b, x and y of the generator: the part of Z that is the same for everyone (GB/T 32918.5)."""
_MAGIC = b"OCE1"
_KEY_LENGTH, _NONCE_LENGTH, _TAG_LENGTH = 16, 12, 16
_WRAPPED_LENGTH = 1 + 64 + 32 + _KEY_LENGTH


def message_digest(engine: Engine, public: bytes, message: bytes, user_id: bytes = DEFAULT_USER_ID) -> bytes:
    """e = SM3(Z || M), what a card signs (GB/T 32918.2, 5.5 and 6.1)."""
    z = engine.sm3((8 * len(user_id)).to_bytes(2, "big") + user_id + _CURVE + public[1:])
    return engine.sm3(z + message)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A fresh SM4 key encrypted to one holder's SM2 key, and data under that key (SM4-GCM).

    Bytes: `OCE1`, wrapped key 113 (04 || C1 || C3 || C2), nonce 12, ciphertext and tag. The wrapped key is bound to
    the data, so that neither can be exchanged.
    """

    wrapped_key: bytes
    nonce: bytes
    sealed: bytes

    @classmethod
    def seal(cls, engine: Engine, public: bytes, plaintext: bytes) -> Self:
        """For the holder of `public` (04 || X || Y); no card is needed. Raises BadInputError for a bad key."""
        key, nonce = secrets.token_bytes(_KEY_LENGTH), secrets.token_bytes(_NONCE_LENGTH)
        wrapped = engine.sm2_encrypt(public, key)
        return cls(wrapped, nonce, engine.sm4_gcm_seal(key, nonce, plaintext, _MAGIC + wrapped))

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Raises CardDataError for anything that is no envelope."""
        start = len(_MAGIC) + _WRAPPED_LENGTH
        if raw[: len(_MAGIC)] != _MAGIC or len(raw) < start + _NONCE_LENGTH + _TAG_LENGTH:
            raise CardDataError("not a digital envelope")
        return cls(raw[len(_MAGIC) : start], raw[start : start + _NONCE_LENGTH], raw[start + _NONCE_LENGTH :])

    def to_bytes(self) -> bytes:
        return _MAGIC + self.wrapped_key + self.nonce + self.sealed

    def open(self, engine: Engine, key: bytes) -> bytes:
        """Raises AuthenticationFailed when key and data do not belong together."""
        return engine.sm4_gcm_open(key, self.nonce, self.sealed, _MAGIC + self.wrapped_key)
