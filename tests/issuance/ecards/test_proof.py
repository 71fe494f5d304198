"""The phone's proof: every byte counts, for one request, for sixty seconds, once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm.primitives import compress, default_engine
from issuance.ecards.proof import MAX_CHARS, DeviceProofError, parse_proof
from issuance.one_time import OneTimeUnavailableError
from tests.issuance.conftest import START, Centre, ok, refused
from tests.issuance.furnished import furnished
from tests.issuance.phone import Phone, _text, claim, signed_phone

MEMBERS: dict[str, Any] = {
    "sign_no": "0" * 32,
    "at": int(START.timestamp()),
    "nonce": "A" * 22,
    "method": "GET",
    "path": "/v1/ecards/" + "0" * 32,
    "body_sm3": "0" * 64,
    "channel": "wallet",
}
SIGNATURE = _text(bytes(range(64)))


def _header(document: bytes, signature: str = SIGNATURE) -> str:
    return f"{_text(document)}.{signature}"


@pytest.fixture
async def phone(centre: Centre) -> Phone:
    return await furnished(centre, "signed phone", lambda: _phone(centre))


async def _phone(centre: Centre) -> Phone:
    await centre.stock(2, 2)
    return await signed_phone(centre)


# -- the form ---------------------------------------------------------------------------------------------------------


def test_form() -> None:
    proof = parse_proof(_header(json.dumps(MEMBERS).encode()))
    assert {name: getattr(proof, name) for name in MEMBERS} == MEMBERS
    assert proof.key == f"proof:{'0' * 32}:{'A' * 22}"


WRONG: list[bytes] = [
    b"",
    b"[]",
    b"1",
    b"\xff",
    b"[" * 1500,
    json.dumps(MEMBERS).encode() + b" x",
    json.dumps(MEMBERS)[:-1].encode() + b', "at": 5}',
    *(json.dumps({n: v for n, v in MEMBERS.items() if n != name}).encode() for name in MEMBERS),
    *(
        json.dumps(MEMBERS | change).encode()
        for change in (
            {"more": ""},
            {"at": True},
            {"at": 1.5},
            {"at": -1},
            {"at": 2**53},
            {"at": "1767574800"},
            {"sign_no": "0" * 31},
            {"sign_no": "G" * 32},
            {"sign_no": None},
            {"nonce": "A" * 21},
            {"nonce": "A" * 21 + "="},
            {"method": "get"},
            {"path": "v1"},
            {"path": "/v1 x"},
            {"body_sm3": "0" * 63},
            {"channel": ""},
            {"channel": "a b"},
            {"channel": "wallet\n"},
        )
    ),
]


@pytest.mark.parametrize("document", WRONG)
def test_wrong_documents(document: bytes) -> None:
    with pytest.raises(DeviceProofError):
        parse_proof(_header(document))


@pytest.mark.parametrize(
    "header",
    [
        "",
        ".",
        "abc",
        "é.é",
        f"{_text(json.dumps(MEMBERS).encode())}=.{SIGNATURE}",
        f"{_text(json.dumps(MEMBERS).encode())}.{SIGNATURE[:-2]}",
        f"{_text(json.dumps(MEMBERS).encode())}.{SIGNATURE}.{SIGNATURE}",
        f"{_text(json.dumps(MEMBERS).encode())}.{SIGNATURE[:-1]}{'xyz'[SIGNATURE[-1] == 'x']}",
        "A" * (MAX_CHARS + 1) + "." + SIGNATURE,
    ],
)
def test_wrong_headers(header: str) -> None:
    with pytest.raises(DeviceProofError):
        parse_proof(header)


@settings(max_examples=100)
@given(st.one_of(st.text(max_size=200), st.binary(max_size=200).map(_header), st.text(max_size=80).map(str)))
def test_anything_else_is_refused(header: str) -> None:
    with pytest.raises(DeviceProofError):
        parse_proof(header)


@settings(max_examples=60)
@given(st.integers(min_value=0))
def test_every_bit_is_signed(place: int) -> None:
    private, point = default_engine().sm2_generate()
    payload = _text(json.dumps(MEMBERS).encode())
    header = bytearray(f"{payload}.{_text(default_engine().sm2_sign(private, payload.encode()))}".encode())
    parse_proof(header.decode()).demand_signed(compress(point))
    header[place // 8 % len(header)] ^= 1 << place % 7
    with pytest.raises(DeviceProofError):
        parse_proof(header.decode()).demand_signed(compress(point))


# -- stolen and stale -------------------------------------------------------------------------------------------------


async def test_without_one_nothing_is_shown(phone: Phone) -> None:
    refused(await phone.request("GET", "", proof=""), "DEVICE_PROOF_INVALID", 401)
    refused(await phone.request("GET", "", proof="x.y"), "DEVICE_PROOF_INVALID", 401)


async def test_a_proof_works_once(phone: Phone) -> None:
    proof = phone.proof("GET", phone.path(""))
    ok(await phone.request("GET", "", proof=proof))
    refused(await phone.request("GET", "", proof=proof), "DEVICE_PROOF_REPLAYED", 409)
    phone.centre.clock.advance(89)
    refused(await phone.request("GET", "", proof=proof), "DEVICE_PROOF_REPLAYED", 409)
    phone.centre.clock.advance(1)
    refused(await phone.request("GET", "", proof=proof), "DEVICE_PROOF_EXPIRED", 401)


async def test_the_phones_clock(phone: Phone) -> None:
    phone.centre.clock.advance(120)  # the store has to be older than the oldest proof
    for shift, accepted in ((-91, False), (-90, False), (-89, True), (30, True), (31, False)):
        proof = phone.proof("GET", phone.path(""), at=int(phone.centre.clock().timestamp()) + shift)
        answer = await phone.request("GET", "", proof=proof)
        _ = ok(answer) if accepted else refused(answer, "DEVICE_PROOF_EXPIRED", 401)


async def test_a_proof_is_for_one_request(phone: Phone) -> None:
    """Other path, query, method, body or channel: refused, and recorded with the card it was tried on."""
    centre, url = phone.centre, phone.path("")
    check, body = phone.path("password-checks"), b'{"password": "482915", "purpose": "loss"}'
    for proof in (
        phone.proof("GET", phone.path("family")),
        phone.proof("GET", url + "?page=2"),
        phone.proof("POST", url),
        phone.proof("GET", url, b"{}"),
        phone.proof("GET", url, channel="other"),
    ):
        refused(await phone.request("GET", "", proof=proof), "DEVICE_PROOF_INVALID", 401)
    other = {"password": "482915", "purpose": "payment"}
    stolen = phone.proof("POST", check, body)
    refused(await phone.post("password-checks", other, proof=stolen), "DEVICE_PROOF_INVALID", 401)
    trail = ok(await centre.as_("operator").get("/v1/audit", params={"subject": f"ecard:{phone.ecard_no}"}))
    assert [entry["outcome"] for entry in trail].count("DEVICE_PROOF_INVALID") == 6


async def test_another_channel_cannot_use_it(phone: Phone) -> None:
    """Neither with the proof as made, nor with one the phone makes for that channel: the link is not its."""
    await phone.centre.register("other", ("wallet",))
    for proof in (phone.proof("GET", phone.path("")), phone.proof("GET", phone.path(""), channel="other")):
        answer = await phone.centre.as_("other").get(phone.path(""), headers={"Device-Proof": proof})
        refused(answer, "DEVICE_PROOF_INVALID", 401)


async def test_another_phones_key(phone: Phone) -> None:
    thief = Phone(phone.centre, ecard_no=phone.ecard_no, sign_no=phone.sign_no)
    refused(await thief.get(), "DEVICE_PROOF_INVALID", 401)
    thief.sign_no = "0" * 32
    refused(await thief.get(), "DEVICE_PROOF_INVALID", 401)
    phone.sign_no = ""
    refused(await phone.get(), "DEVICE_PROOF_INVALID", 401)


async def test_possession_at_signing(centre: Centre) -> None:
    """The key in the body signs; a proof of another key, or one that names a link, is none."""
    await centre.stock()
    number = (await centre.issue(1))["card_number"]
    phone, thief = Phone(centre), Phone(centre)
    body = claim(1, number) | {"public_key": phone.public_key.hex(), "password": phone.password}
    path = "/v1/ecards"
    for proof in (
        thief.proof("POST", path, json.dumps(body).encode()),
        phone.proof("POST", path, json.dumps(body).encode(), sign_no="0" * 32),
        "",
    ):
        refused(await phone.post(path, body, proof=proof), "DEVICE_PROOF_INVALID", 401)
    off_curve = body | {"public_key": "02" + "ff" * 32}
    refused(await phone.post(path, off_curve), "DEVICE_PROOF_INVALID", 401)
    ok(await phone.post(path, body), 201)


async def test_others_cards_are_like_missing_ones(phone: Phone) -> None:
    other = await signed_phone(phone.centre, 2)
    for ecard_no in (other.ecard_no, "0" * 32):
        phone.ecard_no = ecard_no
        for method, path, body in (
            ("GET", "", None),
            ("GET", "family", None),
            ("POST", "password-checks", {"password": "482915", "purpose": "loss"}),
            ("PUT", "password", {"old_password": "482915", "new_password": "730264"}),
            ("POST", "loss", {"kind": "formal", "busi_seq": "x" * 32}),
            ("POST", f"links/{other.sign_no}/unlink", {"busi_seq": "x" * 32}),
        ):
            answer = refused(await phone.request(method, path, body), "NOT_FOUND", 404)
            assert answer["detail"] == "no such electronic card"


async def test_the_store_must_answer(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its word a proof may be a repeated one."""

    async def fail(*_: object, **__: object) -> bool:
        raise OneTimeUnavailableError("down")

    monkeypatch.setattr(type(phone.centre.app.state.services.one_time), "put", fail)
    refused(await phone.get(), "ONE_TIME_UNAVAILABLE", 503)
