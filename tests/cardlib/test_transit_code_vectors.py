"""The vectors judged three times: by the gate, by a program written from the layout table alone, and by OpenSSL's."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from cardlib.failures import FailureCode
from cardlib.transit_code import TransitCodeError
from hsm.primitives import decompress, signature_to_der
from tests.cardlib.transit_code_stand import ROWS, VECTOR_FILE, VECTORS, vector_gate
from tests.vectors import plain_transit_code as plain
from tests.vectors.make_transit_code import document


@pytest.mark.parametrize("name", ROWS)
def test_gate_and_plain_program_answer_alike(name: str) -> None:
    row = ROWS[name]
    gate, seen = vector_gate(row["profile"], row["now"]), set()
    raw, anchors = bytes.fromhex(row["code"]), VECTORS["anchors"]
    if "used" in row:
        used = bytes.fromhex(row["used"])
        gate.verify(used)
        plain.verify(used, row["profile"], anchors, row["now"], 0, seen)
    try:
        gate.verify(raw, row["amount_fen"])
        answer = "pass"
    except TransitCodeError as error:
        answer = error.failure
    try:
        plain.verify(raw, row["profile"], anchors, row["now"], row["amount_fen"], seen)
        plain_answer = "pass"
    except plain.Refused as refused:
        plain_answer = str(refused)
    assert (answer, plain_answer) == (row["expected"], row["expected"])


def test_vectors_are_those_the_script_makes() -> None:
    assert json.loads(VECTOR_FILE.read_text("utf-8")) == document()


def test_every_refusal_has_a_vector() -> None:
    """But for those that depend on the gate's own memory."""
    named = {code.value for code in FailureCode if code.startswith("TRANSIT_CODE_")}
    expected = {row["expected"] for row in ROWS.values()}
    assert named - expected == {"TRANSIT_CODE_MEMORY_FULL", "TRANSIT_CODE_CLOCK"}
    assert expected - named == {"pass"}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("name", ["custom-32", "profile-b"])
def test_openssl_verifies_root_issuer_and_user(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    raw = bytes.fromhex(row["code"])
    code = plain.split(raw, row["profile"])
    certificate = code["certificate"]
    root = next(each for each in VECTORS["anchors"]["anchors"] if each["index"] == certificate[5])
    publics = (bytes.fromhex(root["public_key"]), certificate[20:53], code["user_key"])
    signatures = (certificate[53:], code["issuer_signature"], code["user_signature"])
    for public, content, signature in zip(publics, plain.signed_spans(raw, row["profile"]), signatures, strict=True):
        assert openssl_verifies(tmp_path, public, content, signature)
        assert not openssl_verifies(tmp_path, public, content + b"\x00", signature)


def openssl_verifies(folder: Path, public: bytes, content: bytes, signature: bytes) -> bool:
    head = bytes.fromhex("3059301306072A8648CE3D020106082A811CCF5501822D034200")
    (folder / "key.der").write_bytes(head + decompress(public))
    (folder / "content").write_bytes(content)
    (folder / "signature").write_bytes(signature_to_der(signature))
    files = ("-pubin", "-keyform", "DER", "-inkey", "key.der", "-in", "content", "-sigfile", "signature")
    how = ("-rawin", "-digest", "sm3", "-pkeyopt", "distid:1234567812345678")
    done = subprocess.run(
        ["openssl", "pkeyutl", "-verify", *files, *how], cwd=folder, capture_output=True, text=True, check=False
    )
    if "Verified Successfully" in done.stdout:
        return True
    if "Signature Verification Failure" not in done.stdout:
        pytest.skip(f"this openssl has no SM2: {done.stderr.splitlines()[:1]}")
    return False
