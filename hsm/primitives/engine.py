"""What a cipher engine can do: raw algorithms, bytes in, bytes out, no knowledge of cards.

Two engines implement the protocol (`fast`, `portable`) and the same tests run on both. Lengths outside the contract
raise `hsm.api.BadInputError`; a tag, MAC or ciphertext that does not verify raises `AuthenticationFailed`, whatever
the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol, runtime_checkable

from hsm.api import BadInputError, HsmError

DEFAULT_USER_ID = b"1234567812345678"
"""The signer id GM/T 0009 prescribes where none was agreed; the default of the SM2 signature methods only."""

SM4_BLOCK = 16
DES_BLOCK = 8
GCM_TAG = 16
USER_ID_MAX = 8191
"""ENTL counts the bits of the user id in two bytes (GB/T 32918.2, 5.5)."""


class AuthenticationFailed(HsmError):
    """Sealed data, a ciphertext or a tag did not verify; one exception for every reason, so none can be told apart."""

    failure: ClassVar[str] = "INPUT_INVALID"


class EngineUnavailableError(HsmError):
    """The libraries an engine stands on are missing here, or gave a wrong known answer."""

    failure: ClassVar[str] = "INTERNAL"


@runtime_checkable
class Engine(Protocol):
    """Raw algorithms. Every method is safe to call from several threads at once."""

    @property
    def name(self) -> str: ...

    @property
    def is_constant_time(self) -> bool:
        """Whether SM2 takes the same steps for every private number, as far as its library says."""
        ...

    def sm3(self, data: bytes) -> bytes:
        """32-byte SM3 digest (GB/T 32905)."""
        ...

    def sm3_after(self, prefix: bytes) -> Callable[[bytes], bytes]:
        """SM3 of `prefix` || data, for many short data: the prefix is taken in once."""
        ...

    def hmac_sm3(self, key: bytes, data: bytes) -> bytes:
        """32-byte HMAC-SM3; the key may have any length."""
        ...

    def sm4_ecb(self, key: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
        """SM4 block by block (GB/T 32907); `data` is a multiple of 16 bytes and may be empty."""
        ...

    def sm4_cbc(self, key: bytes, iv: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
        """SM4-CBC without padding; `data` is a multiple of 16 bytes."""
        ...

    def sm4_ctr(self, key: bytes, counter: bytes, data: bytes) -> bytes:
        """SM4-CTR, `counter` the 16-byte first block, counted up as one 128-bit number; data of any length."""
        ...

    def sm4_gcm_seal(self, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """SM4-GCM (RFC 8998): ciphertext || 16-byte tag. A nonce (12 bytes is best) must never repeat under a key."""
        ...

    def sm4_gcm_open(self, key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
        """Plaintext of `sm4_gcm_seal`; raises AuthenticationFailed."""
        ...

    def sm4_cmac(self, key: bytes, data: bytes) -> bytes:
        """16-byte CMAC over SM4 (GB/T 15852.1, algorithm 5)."""
        ...

    def des_ecb(self, key: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
        """DES (8-byte key), two-key (16) or three-key (24) triple DES, block by block; parity bits are ignored."""
        ...

    def des_cbc(self, key: bytes, iv: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
        """CBC over the ciphers of `des_ecb`, without padding."""
        ...

    def des_retail_mac(self, key: bytes, data: bytes) -> bytes:
        """8-byte retail MAC (ISO/IEC 9797-1 algorithm 3) with a 16-byte key over already padded `data`, IV zero."""
        ...

    def sm2_generate(self) -> tuple[bytes, bytes]:
        """A new key pair: private number (32 bytes), public point 04 || X || Y (65 bytes)."""
        ...

    def sm2_public_key(self, private: bytes) -> bytes:
        """The public point that belongs to `private`."""
        ...

    def sm2_decompress(self, compressed: bytes) -> bytes:
        """04 || X || Y of a compressed point, 33 bytes; raises BadInputError for anything else."""
        ...

    def sm2_sign(self, private: bytes, message: bytes, *, user_id: bytes = DEFAULT_USER_ID) -> bytes:
        """r || s, 64 bytes, over SM3(Z || message) (GB/T 32918.2)."""
        ...

    def sm2_verify(self, public: bytes, message: bytes, signature: bytes, *, user_id: bytes = DEFAULT_USER_ID) -> bool:
        """Whether raw `signature` fits; any malformed signature is False, a malformed key raises BadInputError."""
        ...

    def sm2_encrypt(self, public: bytes, plaintext: bytes) -> bytes:
        """04 || C1 || C3 || C2 (GB/T 32918.4); the plaintext has at least one byte."""
        ...

    def sm2_decrypt(self, private: bytes, ciphertext: bytes) -> bytes:
        """Plaintext of 04 || C1 || C3 || C2; raises AuthenticationFailed for every bad ciphertext."""
        ...

    def sm2_forget(self, private: bytes) -> None:
        """Drop whatever earlier calls kept of `private` to be quicker."""
        ...


def check_sm4(key: bytes, data: bytes, iv: bytes | None = None, *, whole_blocks: bool = True) -> None:
    """Refuse lengths SM4 cannot take; the libraries below differ in how they fail, or do not fail at all."""
    if len(key) != SM4_BLOCK:
        raise BadInputError(f"SM4 key must be {SM4_BLOCK} bytes, not {len(key)}")
    if iv is not None and len(iv) != SM4_BLOCK:
        raise BadInputError(f"SM4 IV must be {SM4_BLOCK} bytes, not {len(iv)}")
    if whole_blocks and len(data) % SM4_BLOCK:
        raise BadInputError(f"SM4 data must be a multiple of {SM4_BLOCK} bytes, not {len(data)}")


def check_gcm(key: bytes, nonce: bytes) -> None:
    """Refuse key and nonce lengths outside the contract of both engines."""
    check_sm4(key, b"")
    if not nonce:
        raise BadInputError("GCM nonce must not be empty")


def check_des(key: bytes, data: bytes, iv: bytes | None = None) -> None:
    """Refuse lengths DES and triple DES cannot take."""
    if len(key) not in (8, 16, 24):
        raise BadInputError(f"DES key must be 8, 16 or 24 bytes, not {len(key)}")
    if iv is not None and len(iv) != DES_BLOCK:
        raise BadInputError(f"DES IV must be {DES_BLOCK} bytes, not {len(iv)}")
    if len(data) % DES_BLOCK:
        raise BadInputError(f"DES data must be a multiple of {DES_BLOCK} bytes, not {len(data)}")


def check_retail_mac(key: bytes, data: bytes) -> None:
    """Refuse what a retail MAC is not defined for; an unpadded or empty message is a caller's mistake."""
    if len(key) != 2 * DES_BLOCK:
        raise BadInputError(f"retail MAC key must be 16 bytes, not {len(key)}")
    if not data or len(data) % DES_BLOCK:
        raise BadInputError("retail MAC data must be padded to a positive multiple of 8 bytes")
