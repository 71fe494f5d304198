"""The phone's own proof, against a verifier written here from the interface's text with `gmssl` alone."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from gmssl import func, sm2, sm3

from hsm.primitives import default_engine
from simulators.wallet.phone import Link, Phone, PhoneFileError, TransitRight, new_key, proof, sign_text

PRIVATE = bytes.fromhex("3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8")
NOW = 1_767_574_800.9


def _bytes(text: str) -> bytes:
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _is_signed(private: bytes, message: bytes, signature: bytes) -> bool:
    """Over ZA || message with the default user id, r || s."""
    public = default_engine().sm2_public_key(private)[-64:].hex()
    verifier = sm2.CryptSM2(private_key="", public_key=public)
    return bool(verifier.verify_with_sm3(signature.hex(), message))


def test_a_proof_says_what_the_interface_asks_for() -> None:
    made = proof(PRIVATE, "a" * 32, "POST", "/v1/ecards/1/uses?limit=1", "正文".encode(), "wallet-1", NOW)
    payload, _, signature = made.partition(".")
    claims = json.loads(_bytes(payload))
    nonce = claims.pop("nonce")
    assert claims == {
        "sign_no": "a" * 32,
        "at": 1_767_574_800,
        "method": "POST",
        "path": "/v1/ecards/1/uses?limit=1",
        "body_sm3": sm3.sm3_hash(func.bytes_to_list("正文".encode())),
        "channel": "wallet-1",
    }
    assert len(nonce) == 22
    assert len(_bytes(nonce)) == 16
    assert len(payload) < 2048
    assert len(_bytes(signature)) == 64
    assert _is_signed(PRIVATE, payload.encode(), _bytes(signature))
    assert not _is_signed(new_key()[0], payload.encode(), _bytes(signature))


def test_no_two_proofs_are_alike() -> None:
    made = {proof(PRIVATE, "", "GET", "/", b"", "wallet-1", NOW).partition(".")[0] for _ in range(5)}
    assert len(made) == 5


def test_a_text_is_signed_as_it_reads() -> None:
    signed = bytes.fromhex(sign_text(PRIVATE, "同意\n"))
    assert _is_signed(PRIVATE, "同意\n".encode(), signed)
    assert not _is_signed(PRIVATE, "同意".encode(), signed)


def test_a_key_is_a_point_and_its_secret() -> None:
    private, public = new_key()
    assert (len(private), len(public), public[0] in (2, 3)) == (32, 33, True)
    assert default_engine().sm2_decompress(public) == default_engine().sm2_public_key(private)


def test_a_phone_comes_back_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "phones" / "one.json"
    phone = Phone.open(path)
    phone.take_link(Link("e" * 32, "a" * 32, "测*甲", PRIVATE))
    phone.transit = TransitRight(b"\x81\x00", 1_800_000_000, 30, "a_c")
    phone.save()
    assert Phone.open(path) == phone
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PRIVATE.hex() not in repr(phone)
    assert "private_key" not in repr(phone)
    assert [file.name for file in path.parent.iterdir()] == ["one.json"]


def test_another_link_leaves_nothing_of_the_former(tmp_path: Path) -> None:
    phone = Phone.open(tmp_path / "one.json")
    phone.take_link(Link("e" * 32, "a" * 32, "测*甲", PRIVATE))
    phone.transit = TransitRight(b"\x81\x00", 1_800_000_000, 30, "a_c")
    phone.take_link(Link("e" * 32, "b" * 32, "测*甲", new_key()[0]))
    assert phone.transit is None, "it was signed for the former key"
    phone.forget()
    assert "private_key" not in (tmp_path / "one.json").read_text()


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"link": 1, "transit": null}', '{"link": {"x": 1}, "transit": null}']
)
def test_a_spoilt_file_is_said_to_be_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "one.json"
    path.write_text(content)
    with pytest.raises(PhoneFileError):
        Phone.open(path)


def test_no_transit_code_without_a_living_right(tmp_path: Path) -> None:
    phone = Phone(tmp_path / "one.json", Link("e" * 32, "a" * 32, "测*甲", PRIVATE))
    assert phone.transit_code(NOW) is None
    phone.transit = TransitRight(b"\x81\x00", int(NOW), 30, "a_c")
    assert phone.transit_code(NOW) is None
