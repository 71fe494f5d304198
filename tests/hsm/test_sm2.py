"""SM2 against published vectors on every engine, and the engines against each other.

Left out of the files: cases on other curves and with other digests, and the two raw-digest verifications (an engine
takes messages). The certificates are another issue's.
"""

from __future__ import annotations

import base64
import json
import re
import threading

import pytest

from hsm.primitives import (
    AuthenticationFailed,
    Engine,
    c1c3c2_to_c1c2c3,
    ciphertext_from_der,
    ciphertext_to_der,
    decompress,
    engines,
    known_answers,
    libcrypto,
    portable,
)
from hsm.primitives.fast import FastEngine
from tests.hsm.vector_files import fields, third_party, unhex

SM2_CURVE = "1.2.156.10197.1.301"


def test_standard_signature(engine: Engine) -> None:
    (good,) = (case for case in fields("sm2/gbt32918_SigGen.txt") if "msg" in case)
    (bad,) = (case for case in fields("sm2/gbt32918_SigFail.txt") if "msg" in case)
    for case, verdict in ((good, True), (bad, False)):
        public = b"\x04" + unhex(case["qx"] + case["qy"])
        assert engine.sm2_public_key(unhex(case["d"])) == public
        assert engine.sm2_verify(public, unhex(case["msg"]), unhex(case["r"] + case["s"])) is verdict


def test_signatures_with_other_user_ids(engine: Engine) -> None:
    curve, checked = "", 0
    for case in fields("sm2/botan_sm2_sig.vec"):
        curve = case.get("oid", curve)
        if curve == SM2_CURVE and case.get("hash") == "SM3":
            public, user_id = engine.sm2_public_key(unhex(case["x"])), case["ident"].encode()
            message, signature = unhex(case["msg"]), unhex(case["signature"])
            assert engine.sm2_verify(public, message, signature, user_id=user_id)
            assert not engine.sm2_verify(public, message, signature)
            checked += 1
    assert checked == 1


def test_standard_decryption(engine: Engine) -> None:
    case = json.loads(third_party("sm2/gbt32918_5_kex_and_enc.json"))["encrypt"]
    # The file gives C1 as bare X || Y; its first byte only looks like the prefix.
    ciphertext = b"\x04" + unhex(case["C1"] + case["C3"] + case["C2"])
    assert engine.sm2_decrypt(unhex(case["d"]), ciphertext) == case["msg_ascii"].encode()


def test_decryption_of_der_ciphertexts(engine: Engine) -> None:
    pem = third_party("sm2/DecryptGen_private_key.pem")
    assert pem.split()[3:-3]
    private = base64.b64decode("".join(pem.splitlines()[1:-1])).split(b"\x02\x01\x01\x04\x20", 1)[1][:32]
    cases = [c for c in fields("sm2/DecryptGen.txt") if "input" in c]
    cases += [c for c in fields("sm2/openssl_evppkey_sm2.txt") if "decrypt" in c and "output" in c]
    assert len(cases) == 8
    for case in cases:
        plaintext = engine.sm2_decrypt(private, ciphertext_from_der(unhex(case["input"])))
        assert plaintext == case["output"].strip('"').encode()


def test_invalid_ciphertexts(engine: Engine) -> None:
    text = third_party("sm2/botan_sm2_invalid.vec")
    (key,) = re.findall(r"^Key = (\w+)$", text, re.M)
    ciphertexts = re.findall(r"^Ctext = ?(\w*)$", text, re.M)
    assert len(ciphertexts) >= 18
    for ciphertext in ciphertexts:
        with pytest.raises(AuthenticationFailed):
            engine.sm2_decrypt(unhex(key), ciphertext_from_der(unhex(ciphertext)))


def test_compressed_points() -> None:
    cases = [case for case in fields("sm2/compressed_points.txt") if case.get("curve") == "SM2"]
    assert len(cases) >= 3
    for case in cases:
        assert decompress(unhex(case["point"])) == b"\x04" + unhex(case["x"] + case["y"])


def test_every_engine_understands_the_others(engine: Engine) -> None:
    private, public = engine.sm2_generate()
    signature = engine.sm2_sign(private, b"message", user_id=b"terminal 1")
    ciphertext = engine.sm2_encrypt(public, b"secret")
    for other in engines():
        assert other.sm2_public_key(private) == public
        assert other.sm2_verify(public, b"message", signature, user_id=b"terminal 1")
        assert not other.sm2_verify(public, b"message", signature)
        assert not other.sm2_verify(public, b"massage", signature, user_id=b"terminal 1")
        assert other.sm2_decrypt(private, ciphertext) == b"secret"


def test_empty_message_and_empty_user_id(engine: Engine) -> None:
    private, public = engine.sm2_generate()
    signature = engine.sm2_sign(private, b"", user_id=b"")
    assert all(other.sm2_verify(public, b"", signature, user_id=b"") for other in engines())


@pytest.fixture(scope="module")
def clear_ciphertext() -> bytes:
    """A ciphertext of one byte whose key stream happens to be zero, as one nonce in 256 gives."""
    public = known_answers._PUBLIC[1:].hex()
    for nonce in range(1, 5000):
        shared = portable._times(nonce, public)
        if not any(portable._kdf(shared, 1)):
            break
    c1 = b"\x04" + portable._times(nonce, portable._GENERATOR)
    return c1 + portable._c3(shared, b"m") + b"m"


def test_ciphertexts_in_the_clear_are_refused(engine: Engine, clear_ciphertext: bytes) -> None:
    """GB/T 32918.4 7.1 B4; OpenSSL 3.0 takes them."""
    with pytest.raises(AuthenticationFailed):
        engine.sm2_decrypt(known_answers._PRIVATE, clear_ciphertext)


def test_ciphertexts_in_the_clear_are_made_again(clear_ciphertext: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    if not isinstance(engines()[-1], FastEngine):
        pytest.skip("no fast engine here")
    engine = FastEngine(libcrypto.load())
    good = engine.sm2_encrypt(known_answers._PUBLIC, b"m")
    made = iter([clear_ciphertext, good])
    monkeypatch.setattr(engine._libcrypto, "encrypt", lambda *_: ciphertext_to_der(next(made)))
    assert engine.sm2_encrypt(known_answers._PUBLIC, b"m") == good


def test_every_changed_ciphertext_is_refused(engine: Engine) -> None:
    private, public = engine.sm2_generate()
    ciphertext = engine.sm2_encrypt(public, b"secret")
    step = 1 if engine.name == "fast" else 9
    changed = [
        ciphertext[:at] + bytes((ciphertext[at] ^ 1,)) + ciphertext[at + 1 :] for at in range(0, len(ciphertext), step)
    ]
    cut = [
        ciphertext[:-1],
        ciphertext[:97],
        b"",
        ciphertext[1:],
        c1c3c2_to_c1c2c3(ciphertext),
        ciphertext_to_der(ciphertext),
    ]
    for wrong in changed + cut:
        with pytest.raises(AuthenticationFailed):
            engine.sm2_decrypt(private, wrong)


def test_fast_engine_from_many_threads() -> None:
    engine = engines()[-1]
    pairs = [engine.sm2_generate() for _ in range(80)]  # more than are kept, so that keys are freed meanwhile
    failures: list[object] = []

    def work(shift: int) -> None:
        for at in range(len(pairs)):
            private, public = pairs[(at + shift) % len(pairs)]
            if not engine.sm2_verify(public, b"m", engine.sm2_sign(private, b"m")):
                failures.append(at)

    threads = [threading.Thread(target=work, args=(20 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
