"""The certificate functions of the driver interface, and the bank card number."""

from __future__ import annotations

import base64
import secrets
import shutil
import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import load_der_x509_certificate
from hypothesis import given, settings
from hypothesis import strategies as st

from apdu.serial.errors import PinEntryCancelledError
from apdu.tlv import Tlv, parse
from cardlib.bank import read_bank_card
from cardlib.driver_pki import TEXT_ENCODING, DriverPki
from cardlib.driver_session import DriverSession
from cardlib.pki import KeyUse, Pin, PkiSession
from cardlib.pki_certificate import Certificate, CertificateError
from hsm.primitives import default_engine, signature_from_der
from simulators import personas
from simulators.apps.certificate import certificate as issue
from simulators.card import CardState, SimCard
from simulators.factory import build_card
from tests.cardlib.driver_stand import Holder, Typed, session
from tests.simulators.support import vector_roots

PIN, ADMIN = "123456", "88888888"
TEXT = "参保证明：测试丙 GB18030 㐂 |$"
ENGINE = default_engine()


@pytest.fixture(scope="module")
def image() -> str:
    return build_card(personas.load("adult-3.0"), vector_roots()).to_json()


@pytest.fixture
def chip(image: str) -> SimCard:
    return SimCard(CardState.from_json(image))


def base64_of(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def driver(chip: SimCard, *entries: str | Exception) -> tuple[DriverSession, DriverPki]:
    own = session(chip, *entries, by="keys")
    return own, DriverPki(own)


def signing_certificate(chip: SimCard) -> str:
    pki = PkiSession(chip)
    chip.power_on()
    pki.open()
    return base64_of(pki.read_certificate())


def asked(own: DriverSession) -> list[bool]:
    assert isinstance(own.terminal.pin_entry, Holder)
    return own.terminal.pin_entry.asked


# -- signatures -------------------------------------------------------------------------------------------------------


def test_sign_and_verify(chip: SimCard) -> None:
    certificate = signing_certificate(chip)
    own, pki = driver(chip, PIN, PIN)
    code, signature = pki.sign_data(TEXT)
    assert code == 0, signature
    assert pki.verify_sign(certificate, TEXT, signature) == (0, "")
    raw = signature_from_der(base64.b64decode(signature))
    assert ENGINE.sm2_verify(Certificate.from_der(base64.b64decode(certificate)).public, TEXT.encode("gb18030"), raw)
    assert pki.verify_sign(certificate, TEXT, base64_of(raw)) == (0, ""), "raw r || s is taken too"
    broken = "\n".join(certificate[at : at + 64] for at in range(0, len(certificate), 64))
    assert pki.verify_sign(broken, TEXT, signature) == (0, "")
    assert pki.sign_data(TEXT)[0] == 0
    assert asked(own) == [False, False], "each signature asks the holder, verifying never does"


def test_what_does_not_belong_together_is_refused(chip: SimCard) -> None:
    certificate = signing_certificate(chip)
    _, pki = driver(chip, PIN)
    signature = pki.sign_data(TEXT)[1]
    private, public = ENGINE.sm2_generate()
    other = base64_of(issue("测试丁", public, private, serial=9, year=datetime.now(UTC).year))
    altered = bytearray(base64.b64decode(signature))
    altered[-1] ^= 1
    for answer in (
        pki.verify_sign(certificate, TEXT + "。", signature),
        pki.verify_sign(other, TEXT, signature),
        pki.verify_sign(certificate, TEXT, base64_of(bytes(altered))),
        pki.verify_sign(certificate, TEXT, base64_of(bytes(64))),
        pki.verify_sign(certificate, TEXT, base64_of(b"")),
        DriverPki(pki._session, user_id=b"another signer").verify_sign(certificate, TEXT, signature),
    ):
        assert answer[0] == -15
        assert answer[1].startswith("签名不对。")
    for given_ in (
        (certificate, TEXT, "*"),
        ("", TEXT, signature),
        ("AAAA", TEXT, signature),
        (certificate, "", signature),
    ):
        assert pki.verify_sign(*given_)[0] == -23
    now = datetime.now(UTC)
    for moment in (now - timedelta(days=4000), now + timedelta(days=4000)):
        late = DriverPki(pki._session, clock=lambda moment=moment: moment)  # type: ignore[misc]
        code, text = late.verify_sign(certificate, TEXT, signature)
        assert (code, text[:5]) == (-23, "证书不能用")
        assert late.seal_envelope(certificate, TEXT)[0] == -23
    assert pki.sign_data("\ud800")[0] == pki.sign_data("")[0] == -23


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_certificate_and_a_signature_made_elsewhere(chip: SimCard, tmp_path: Path) -> None:
    """X.509 v3 in UTCTime, text in the bytes of a C program."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=tmp_path, capture_output=True, check=True, timeout=20)

    openssl("ecparam", "-genkey", "-name", "SM2", "-noout", "-out", "k.pem")
    signer = ("-sm3", "-sigopt", "distid:1234567812345678", "-days", "2", "-subj", "/CN=test")
    openssl("req", "-new", "-x509", "-key", "k.pem", *signer, "-outform", "DER", "-out", "c.der")
    (tmp_path / "text").write_bytes(TEXT.encode(TEXT_ENCODING))
    how = ("-rawin", "-digest", "sm3", "-pkeyopt", "distid:1234567812345678")
    openssl("pkeyutl", "-sign", "-inkey", "k.pem", "-in", "text", *how, "-out", "s")
    certificate = base64_of((tmp_path / "c.der").read_bytes())
    _, pki = driver(chip)
    signature = base64_of((tmp_path / "s").read_bytes())
    assert pki.verify_sign(certificate, TEXT, signature) == (0, "")
    assert pki.verify_sign(certificate, TEXT[1:], signature)[0] == -15
    theirs = load_der_x509_certificate(base64.b64decode(certificate))
    ours = Certificate.from_der(base64.b64decode(certificate))
    assert (ours.not_before, ours.not_after) == (theirs.not_valid_before_utc, theirs.not_valid_after_utc)
    openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "p.pem")
    openssl("req", "-new", "-x509", "-key", "p.pem", "-subj", "/CN=test", "-outform", "DER", "-out", "p.der")
    assert pki.verify_sign(base64_of((tmp_path / "p.der").read_bytes()), TEXT, signature)[0] == -23, "another curve"


# -- the PIN ----------------------------------------------------------------------------------------------------------


def test_wrong_pins_count_down_and_the_last_try_is_kept(chip: SimCard) -> None:
    own, pki = driver(chip, *(f"00000{n}" for n in range(1, 6)), PIN)
    for left in (5, 4, 3, 2, 1):
        code, text = pki.sign_data(TEXT)
        assert (code, f"还可尝试{left}次" in text) == (-51, True)
    code, text = pki.sign_data(TEXT)
    assert (code, text.startswith("密码只剩最后一次机会")) == (-51, True)
    assert len(asked(own)) == 5, "nobody is asked for a PIN that would not be used"
    chip.state.neighbours.pki.user.retry_left = 0
    assert pki.sign_data(TEXT)[0] == pki.open_envelope(sealed_to(chip))[0] == -52


def test_a_cancelled_entry_and_a_terminal_without_one(chip: SimCard) -> None:
    own, pki = driver(chip, PinEntryCancelledError("x"), "12")
    assert pki.sign_data(TEXT)[0] == -31
    assert pki.sign_data(TEXT)[0] == -23
    object.__setattr__(own.terminal, "pin_entry", None)
    assert pki.sign_data(TEXT)[0] == -13
    assert chip.state.neighbours.pki.user.retry_left == 6


def test_an_entry_may_look_at_the_card(chip: SimCard) -> None:
    class Dialog(Holder):
        def enter(self, *, is_new: bool) -> Typed:
            assert own.opened().card_number
            return super().enter(is_new=is_new)

    own, pki = driver(chip)
    object.__setattr__(own.terminal, "pin_entry", Dialog(PIN))
    assert pki.sign_data(TEXT)[0] == 0
    assert own.read_card_bas()[0] == 0


# -- envelopes --------------------------------------------------------------------------------------------------------


def sealed_to(chip: SimCard) -> str:
    return driver(chip)[1].seal_envelope(signing_certificate(chip), TEXT)[1]


def with_encryption_key(chip: SimCard) -> str:
    """The CA's part; the certificate of the pair."""
    private, public = ENGINE.sm2_generate()
    key = secrets.token_bytes(16)
    chip.power_on()
    pki = PkiSession(chip)
    pki.open()
    pki.verify(ADMIN, Pin.ADMIN)
    envelope = ENGINE.sm2_encrypt(pki.public_key(), key)
    pki.import_encryption_key(envelope, public, ENGINE.sm4_ecb(key, private))
    issued = issue("测试丙", public, private, serial=2, year=datetime.now(UTC).year)
    pki.write_certificate(issued, KeyUse.ENCRYPTION)
    return base64_of(issued)


def test_envelopes(chip: SimCard) -> None:
    certificate = with_encryption_key(chip)
    own, pki = driver(chip, PIN, PIN, PIN)
    code, envelope = pki.seal_envelope(certificate, TEXT)
    assert code == 0, envelope
    assert pki.open_envelope(envelope) == (0, TEXT)
    altered = bytearray(base64.b64decode(envelope))
    altered[-1] ^= 1
    assert pki.open_envelope(base64_of(bytes(altered)))[0] == -23
    assert len(asked(own)) == 2
    for malformed in ("", "AAAA", "*", base64_of(b"OCE1" + bytes(80))):
        assert pki.open_envelope(malformed)[0] == -23
    assert len(asked(own)) == 2, "a malformed envelope is no reason to ask the holder"
    assert pki.open_envelope(sealed_to(chip))[0] < 0, "sealed to the signing key"
    assert pki.seal_envelope(certificate, "x" * 16000)[0] == -23, "no program could hand it back"


def test_a_card_without_an_encryption_key(chip: SimCard) -> None:
    _, pki = driver(chip, PIN)
    assert pki.open_envelope(sealed_to(chip))[0] == -27272


# -- beside the social security part ----------------------------------------------------------------------------------


def test_a_card_without_the_applications() -> None:
    two = SimCard(build_card(personas.load("adult-2.0"), vector_roots()))
    own, pki = driver(two, PIN)
    assert pki.sign_data(TEXT)[0] == own.read_ic_card_number()[0] == -13
    assert asked(own) == []


def test_the_functions_before_and_after_find_their_application(chip: SimCard) -> None:
    own, pki = driver(chip, PIN)
    code, before = own.read_card_bas()
    assert code == 0, before
    info = "|".join((before.split("|")[3], before.split("|")[2], ""))
    number = own.read_ic_card_number()
    assert number == (0, read_bank_card(chip).number)
    assert own.read_card(2, info, "SSSEEF05|07|$")[0] == 0
    assert pki.sign_data(TEXT)[0] == 0
    assert own.read_card(2, info, "SSSEEF06|08|$")[0] == 0
    assert own.read_card_bas() == (0, before)


# -- certificates -----------------------------------------------------------------------------------------------------


KNOWN = issue("x", *reversed(ENGINE.sm2_generate()), serial=1, year=2025)


@pytest.mark.parametrize(
    ("start", "end", "years"),
    [
        (Tlv(0x17, b"500101000000Z"), Tlv(0x17, b"491231235959Z"), (1950, 2049)),
        (Tlv(0x17, b"680229000000Z"), Tlv(0x18, b"20680229000000Z"), (1968, 2068)),
        (Tlv(0x17, b"20250101000000Z"), Tlv(0x18, b"20350101000000Z"), None),
        (Tlv(0x17, b"250101000000Z"), Tlv(0x17, b"3501010000+08"), None),
        (Tlv(0x17, b"250101000000Z"), Tlv(0x0C, b"350101000000Z"), None),
    ],
)
def test_times_of_both_forms(start: Tlv, end: Tlv, years: tuple[int, int] | None) -> None:
    (outer,) = parse(KNOWN)
    body, *rest = outer.children
    parts = [Tlv.of(0x30, [start, end]) if number == 3 else part for number, part in enumerate(body.children)]
    raw = Tlv.of(0x30, [Tlv.of(0x30, parts), *rest]).to_bytes()
    if years is None:
        with pytest.raises(CertificateError):
            Certificate.from_der(raw)
    else:
        found = Certificate.from_der(raw)
        assert (found.not_before.year, found.not_after.year) == years


@settings(max_examples=100)
@given(st.binary(max_size=80) | st.integers(0, len(KNOWN) - 1).flatmap(lambda n: st.just(KNOWN[:n])))
def test_other_bytes_are_no_certificate(raw: bytes) -> None:
    with pytest.raises(CertificateError):
        Certificate.from_der(raw)


@settings(max_examples=100)
@given(st.integers(0, len(KNOWN) - 1), st.integers(1, 255))
def test_an_altered_certificate_is_read_or_refused(position: int, mask: int) -> None:
    raw = bytearray(KNOWN)
    raw[position] ^= mask
    with suppress(CertificateError):
        assert len(Certificate.from_der(bytes(raw)).public) == 65
