"""SM2 with code that is not ours: signed here, verified there and back, encrypted here, decrypted there and back.

Each of the others is met in the forms it writes: DER or raw signatures, C1C3C2 and C1C2C3, with and without the 04.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, Protocol

import pytest
from gmssl import sm2 as gmssl_sm2

from hsm.primitives import (
    DEFAULT_USER_ID,
    AuthenticationFailed,
    Engine,
    c1c2c3_to_c1c3c2,
    c1c3c2_to_c1c2c3,
    ciphertext_from_der,
    ciphertext_to_der,
    signature_from_der,
    signature_to_der,
)

MESSAGE, PLAINTEXT = b"checked elsewhere", b"read elsewhere, one block and some more of it"


class Other(Protocol):
    """Raw forms at this edge; what the other writes is turned inside."""

    user_id: bytes

    def sign(self, message: bytes) -> bytes: ...

    def verify(self, message: bytes, signature: bytes) -> bool: ...

    def encrypt(self, plaintext: bytes) -> bytes: ...

    def decrypt(self, ciphertext: bytes) -> bytes: ...


class Gmssl:
    """Raw signatures under its one user id; C1C2C3 (mode 0) or C1C3C2 (mode 1), without the 04."""

    user_id = DEFAULT_USER_ID

    def __init__(self, private: bytes, public: bytes, folder: Path, *, mode: int) -> None:
        self.mode = mode
        self.sm2: Any = gmssl_sm2.CryptSM2(private_key=private.hex(), public_key=public[1:].hex(), mode=mode)

    def sign(self, message: bytes) -> bytes:
        return bytes.fromhex(self.sm2.sign_with_sm3(message))

    def verify(self, message: bytes, signature: bytes) -> bool:
        return bool(self.sm2.verify_with_sm3(signature.hex(), message))

    def encrypt(self, plaintext: bytes) -> bytes:
        ciphertext = b"\x04" + self.sm2.encrypt(plaintext)
        return ciphertext if self.mode else c1c2c3_to_c1c3c2(ciphertext)

    def decrypt(self, ciphertext: bytes) -> bytes:
        return bytes(self.sm2.decrypt((ciphertext if self.mode else c1c3c2_to_c1c2c3(ciphertext))[1:]))


class GmsslOldLayout(Gmssl):
    def __init__(self, private: bytes, public: bytes, folder: Path) -> None:
        super().__init__(private, public, folder, mode=0)


class GmsslNewLayout(Gmssl):
    def __init__(self, private: bytes, public: bytes, folder: Path) -> None:
        super().__init__(private, public, folder, mode=1)


class Gmalg:
    """Another author's pure Python."""

    user_id = b"gateway-7"

    def __init__(self, private: bytes, public: bytes, folder: Path) -> None:
        gmalg = pytest.importorskip("gmalg", reason="the second library, gmalg, is not installed")
        self.sm2 = gmalg.SM2(private, self.user_id, public)

    def sign(self, message: bytes) -> bytes:
        # It leaves out leading zeros, once in 128 signatures.
        return b"".join(part.rjust(32, b"\0") for part in self.sm2.sign(message))

    def verify(self, message: bytes, signature: bytes) -> bool:
        return bool(self.sm2.verify(message, signature[:32], signature[32:]))

    def encrypt(self, plaintext: bytes) -> bytes:
        return bytes(self.sm2.encrypt(plaintext))

    def decrypt(self, ciphertext: bytes) -> bytes:
        return bytes(self.sm2.decrypt(ciphertext))


class OpenSslProgram:
    """`openssl pkeyutl`: DER only."""

    user_id = b"gateway-7"

    def __init__(self, private: bytes, public: bytes, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("the openssl program is not installed")
        self.folder = folder
        head, middle = bytes.fromhex("30770201010420"), bytes.fromhex("A00A06082A811CCF5501822DA144034200")
        (folder / "key.der").write_bytes(head + private + middle + public)
        self.run("pkey", "-in", "key.der", "-inform", "DER", "-out", "key.pem")
        self.run("pkey", "-in", "key.pem", "-pubout", "-out", "public.pem")

    def run(self, *arguments: str) -> bool:
        return not subprocess.run(["openssl", *arguments], cwd=self.folder, check=False, capture_output=True).returncode

    def utl(self, operation: str, key: str, data: bytes, *more: str) -> bytes | None:
        (self.folder / "in").write_bytes(data)
        is_done = self.run("pkeyutl", f"-{operation}", "-inkey", key, "-in", "in", "-out", "out", *more)
        return (self.folder / "out").read_bytes() if is_done else None

    @property
    def digest(self) -> list[str]:
        return ["-rawin", "-digest", "sm3", "-pkeyopt", f"distid:{self.user_id.decode()}"]

    def sign(self, message: bytes) -> bytes:
        return signature_from_der(self.utl("sign", "key.pem", message, *self.digest) or b"")

    def verify(self, message: bytes, signature: bytes) -> bool:
        (self.folder / "signature").write_bytes(signature_to_der(signature))
        return self.utl("verify", "public.pem", message, "-pubin", "-sigfile", "signature", *self.digest) is not None

    def encrypt(self, plaintext: bytes) -> bytes:
        return ciphertext_from_der(self.utl("encrypt", "public.pem", plaintext, "-pubin") or b"")

    def decrypt(self, ciphertext: bytes) -> bytes:
        return self.utl("decrypt", "key.pem", ciphertext_to_der(ciphertext)) or b""


@pytest.mark.parametrize("other_type", [GmsslOldLayout, GmsslNewLayout, Gmalg, OpenSslProgram])
def test_sm2_with_others(engine: Engine, other_type: type[Any], tmp_path: Path) -> None:
    private, public = engine.sm2_generate()
    while public[1] in (0x04, 0x40, 0x44):  # gmssl damages such keys
        private, public = engine.sm2_generate()
    other: Other = other_type(private, public, tmp_path)
    ours, theirs = engine.sm2_sign(private, MESSAGE, user_id=other.user_id), other.sign(MESSAGE)
    assert other.verify(MESSAGE, ours)
    assert engine.sm2_verify(public, MESSAGE, theirs, user_id=other.user_id)
    assert not other.verify(MESSAGE + b".", ours)
    assert not engine.sm2_verify(public, MESSAGE, theirs, user_id=other.user_id + b".")
    assert other.decrypt(engine.sm2_encrypt(public, PLAINTEXT)) == PLAINTEXT
    sealed = other.encrypt(PLAINTEXT)
    assert engine.sm2_decrypt(private, sealed) == PLAINTEXT
    with pytest.raises(AuthenticationFailed):
        engine.sm2_decrypt(private, c1c3c2_to_c1c2c3(sealed))


def test_key_exchange_with_gmalg() -> None:
    gmalg = pytest.importorskip("gmalg", reason="the second library, gmalg, is not installed")
    from hsm.primitives import engines, libcrypto
    from hsm.primitives.fast import FastEngine
    from hsm.primitives.sm2_exchange import OwnSide, PeerSide, agree

    fast = engines()[-1]
    if not isinstance(fast, FastEngine):
        pytest.skip("no fast engine here")
    (private, public), (their_private, their_public) = fast.sm2_generate(), fast.sm2_generate()
    ephemeral, point = fast.sm2_generate()
    theirs = gmalg.SM2(their_private, b"their id", their_public)
    their_point, t = theirs.begin_key_exchange()
    own, peer = OwnSide(private, ephemeral, b"our id"), PeerSide(their_public, their_point, b"their id")
    for is_initiator, their_mode in (
        (True, gmalg.KEYXCHG_MODE.RESPONDER),
        (False, gmalg.KEYXCHG_MODE.INITIATOR),
    ):
        agreed = agree(libcrypto.load(), own, peer, 48, is_initiator=is_initiator)
        assert agreed.key == theirs.end_key_exchange(48, t, point, b"our id", public, their_mode)
