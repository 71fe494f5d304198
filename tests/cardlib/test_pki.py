"""The certificate application: PINs, keys, certificates, signatures and envelopes on a simulated 3.0 card."""

import secrets
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apdu.errors import (
    AccessDeniedError,
    CardRemovedError,
    KeyNotFoundError,
    NotFoundError,
    PinLockedError,
    PinWrongError,
    StatusWordError,
)
from apdu.tlv import parse
from cardlib.codec import CodecError
from cardlib.errors import CardDataError, CardNotGenuineError, LastTryError, RepeatedPinError
from cardlib.pki import KeyUse, Pin, PkiSession, pin_key
from cardlib.pki_envelope import Envelope, message_digest
from hsm.primitives import default_engine, engines, portable_engine, signature_to_der
from simulators import personas
from simulators.apps import pki as chip
from simulators.card import CardState, CardStore, Faults, SimCard
from simulators.factory import build_card
from tests.cardlib.transit import Reader
from tests.simulators.support import FixedRandom, Host, vector_roots

USER, ADMIN = "123456", "88888888"
ENGINE = default_engine()


@pytest.fixture(scope="module")
def image() -> str:
    return build_card(personas.load("adult-3.0"), vector_roots()).to_json()


@pytest.fixture
def card(image) -> SimCard:
    return SimCard(CardState.from_json(image))


def opened(card: SimCard) -> PkiSession:
    session = PkiSession(Reader(card))
    session.open()
    return session


@pytest.fixture
def session(card) -> PkiSession:
    return opened(card)


def certificate_of(size: int) -> bytes:
    return b"\x30\x82" + (size - 4).to_bytes(2, "big") + secrets.token_bytes(size - 4)


# ---- PINs


def test_pin_key_and_verify_are_the_published_example():
    for engine in engines():
        assert pin_key(engine, "246813").hex().upper() == "47ED26E0F734D244DC3EFFAA51A633F8"
        assert pin_key(engine, "123456").hex().upper() == "3DE741F445DD357BEA4E6C3FE6437036"
    assert chip.pin_key("246813") == pin_key(ENGINE, "246813")
    child = SimCard(build_card(personas.load("child-3.0"), vector_roots()), rng=FixedRandom())
    reader = Reader(child)
    session = PkiSession(reader)
    session.open()
    session.verify("246813")
    assert reader.sent[-1].hex().upper() == "0020018110AC40B32CCC49A823C1399D595D2F075E"


def test_tries_are_guarded(session, card):
    assert (session.tries(), session.tries(Pin.ADMIN)) == (6, 6)
    for wrong in ("000001", "000002", "000003", "000004", "000005"):
        with pytest.raises(PinWrongError):
            session.verify(wrong)
    sent = len(session._channel._channel.sent)
    with pytest.raises(LastTryError) as refused:
        session.verify(USER)
    assert refused.value.attempts_remaining == 1
    with pytest.raises(RepeatedPinError):
        session.verify("000003", use_last_try=True)
    assert len(session._channel._channel.sent) == sent + 2, "only the tries were asked"
    with pytest.raises(PinLockedError):
        session.verify("000006", use_last_try=True)
    with pytest.raises(PinLockedError):
        session.verify(USER, use_last_try=True)
    session.reset_user_pin(ADMIN, "654321")
    session.verify("654321")
    assert opened(card).tries() == 6, "the new PIN survives a reset"
    with pytest.raises(CodecError):
        session.verify("12")


def test_change_pin(session):
    with pytest.raises(PinWrongError):
        session.change_pin("111111", "222222")
    session.change_pin(USER, "222222")
    with pytest.raises(PinWrongError):
        session.verify(USER)
    session.verify("222222")
    session.change_pin(ADMIN, "99999999", Pin.ADMIN)
    session.verify("99999999", Pin.ADMIN)


def test_what_needs_whose_pin(session):
    for act in (
        lambda: session.sign(b"x"),
        lambda: session.generate(),
        lambda: session.write_certificate(certificate_of(300)),
        lambda: session.open_envelope(Envelope.seal(ENGINE, session.public_key(), b"x").to_bytes()),
    ):
        with pytest.raises(AccessDeniedError):
            act()
    session.verify(ADMIN, Pin.ADMIN)
    with pytest.raises(AccessDeniedError):
        session.sign(b"x")
    session.open()
    with pytest.raises(AccessDeniedError):
        session.generate()


# ---- keys, signatures, envelopes


def test_generated_key_signs_and_everyone_verifies(session, card):
    session.verify(ADMIN, Pin.ADMIN)
    before = session.public_key()
    public = session.generate()
    assert public != before
    session.verify(USER)
    signature = session.sign(b"message")
    for engine in engines():
        assert engine.sm2_verify(public, b"message", signature)
        assert not engine.sm2_verify(public, b"messagf", signature)
        assert message_digest(engine, public, b"message") == message_digest(ENGINE, public, b"message")
    assert opened(card).public_key() == public


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_verifies_card_signature_and_certificate(session, tmp_path):
    """The self-made certificate and a signature of the card, judged by code that is not ours."""
    session.verify(USER)
    issued = session.read_certificate()
    body, _, signature = (item for item in parse(parse(issued)[0].value))
    signed = {"body": body.to_bytes(), "message": b"message"}
    signatures = {"body": signature.value[1:], "message": signature_to_der(session.sign(b"message"))}

    def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["openssl", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=20)

    (tmp_path / "c.der").write_bytes(issued)
    shown = openssl("x509", "-inform", "DER", "-in", "c.der", "-noout", "-subject", "-pubkey", "-nameopt", "utf8")
    assert "测试丙" in shown.stdout
    (tmp_path / "k.pem").write_text(shown.stdout[shown.stdout.index("-----BEGIN") :])
    for name, content in signed.items():
        (tmp_path / "m").write_bytes(content)
        (tmp_path / "s").write_bytes(signatures[name])
        files = ("-pubin", "-inkey", "k.pem", "-in", "m", "-sigfile", "s")
        checked = openssl(
            "pkeyutl", "-verify", *files, "-rawin", "-digest", "sm3", "-pkeyopt", "distid:1234567812345678"
        )
        assert "Verified Successfully" in checked.stdout, (name, checked.stderr)


def test_encryption_key_import_and_envelope(session, card):
    """The CA makes the pair, wraps it to the card's signing key, and anyone can then seal to the card."""
    with pytest.raises(KeyNotFoundError):
        session.public_key(KeyUse.ENCRYPTION)
    private, public = ENGINE.sm2_generate()
    session_key = secrets.token_bytes(16)
    wrapped = ENGINE.sm4_ecb(session_key, private)
    envelope = ENGINE.sm2_encrypt(session.public_key(), session_key)
    session.verify(ADMIN, Pin.ADMIN)
    with pytest.raises(StatusWordError, match="6A80"):
        session.import_encryption_key(envelope, ENGINE.sm2_generate()[1], wrapped)
    with pytest.raises(KeyNotFoundError):
        session.public_key(KeyUse.ENCRYPTION)
    session.import_encryption_key(envelope, public, wrapped)
    commands = [command.hex().upper() for command in session._channel._channel.sent]
    assert any(c.startswith("804E000178C2020013C1820070") for c in commands), "as writers of such cards send it"
    assert any(c.startswith("80C2400046C0020014CA40") for c in commands)
    assert any(c.startswith("80C2C00126C2020015CB20") for c in commands)
    assert opened(card).public_key(KeyUse.ENCRYPTION) == public
    session = opened(card)
    session.verify(USER)
    for content in (b"", b"x", secrets.token_bytes(5000)):
        sealed = Envelope.seal(portable_engine(), public, content).to_bytes()
        assert session.open_envelope(sealed) == content
    for position in (60, 110, 120, len(sealed) - 1):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises((CardDataError, StatusWordError)):
            session.open_envelope(bytes(altered))


def test_a_card_that_signs_wrongly_is_not_believed(session, card):
    session.verify(USER)
    card.state.neighbours.pki.signing.private = secrets.token_bytes(32)
    with pytest.raises(CardNotGenuineError):
        session.sign(b"message")
    card.state.neighbours.pki.signing.public = b"\x04" + bytes(64)
    with pytest.raises(CardDataError):
        session.public_key()


# ---- certificates


@pytest.mark.parametrize("size", [256, 250 + 4, 500, 751, 2048])
def test_certificates_are_written_in_slices_and_read_back(session, size):
    session.verify(ADMIN, Pin.ADMIN)
    written = certificate_of(size)
    for use in KeyUse:
        session.write_certificate(written, use)
        assert session.read_certificate(use) == written
    lengths = {len(c) - 5 for c in session._channel._channel.sent if c[1] == 0xD6}
    assert max(lengths) == 250 if size >= 250 else True


def test_a_certificate_torn_while_writing_is_not_half_there(card, tmp_path):
    store = CardStore(tmp_path / "card.json")
    store.save(card.state)
    for cut in range(1, 8):
        torn = SimCard(store.load(), store=store)
        session = opened(torn)
        old = session.read_certificate()
        session.verify(ADMIN, Pin.ADMIN)
        torn.faults = Faults(tear_after=cut)
        written = certificate_of(700)
        with pytest.raises(CardRemovedError):
            session.write_certificate(written)
        assert opened(SimCard(store.load())).read_certificate() in (old, b"", written)


@pytest.mark.parametrize("wrong", [b"", b"\x30\x03abc", certificate_of(300)[:-1], certificate_of(2049)])
def test_what_is_no_certificate_is_not_written(session, wrong):
    with pytest.raises(ValueError, match="certificate"):
        session.write_certificate(wrong)


def test_info_is_free(session):
    info = session.info()
    assert (info.user_tries, info.admin_tries, info.encryption_key, info.encryption_certificate) == (6, 6, None, b"")
    state = session._channel._channel.card.state.neighbours.pki
    assert info.signing_key == state.signing.public
    padded = state.signing_certificate
    assert info.signing_certificate == padded[: 4 + int.from_bytes(padded[2:4])]
    assert info.to_json()["signing_certificate_bytes"] == len(info.signing_certificate)


def test_a_card_without_the_application():
    two = SimCard(build_card(personas.load("adult-2.0"), vector_roots()))
    with pytest.raises(NotFoundError):
        opened(two)


# ---- the chip


def test_selection_and_refusals(card):
    host = Host(card)
    name = chip.ENVIRONMENT_NAME.hex()
    assert host(f"00A404000C{name}") == f"6F16840C{name.upper()}A5069F0C038601039000"
    assert host("00A4040006504B492EC9E7")[:4] == "6F16", "a partial name is enough"
    assert host("00A404000C53532E434552542E41444631").endswith("9000")
    refusals = {
        "00B0000001": "6986", "00A40200020012": "9000", "00B0000002": "6981", "00A40200020016": "6A82",
        "0020018110" + "00" * 16: "6984", "00200182": "6A86", "8040000008C0020012C2020015": "6A82",
        "8040000004C0020012": "6700", "8040000008" + "FF" * 8: "6A80", "80C9828041": "6985", "804000000100": "6700",
        "804A021012C110" + "00" * 16: "6982", "80C2400046C0020014CA40" + "00" * 64: "6982", "80B0000000": "6E00",
        "002A9E9A20" + "00" * 32: "6982",
    }  # fmt: skip
    assert {command: host(command) for command in refusals} == refusals
    assert host("80C9820008C0020012C2020013") == "9000"
    assert host("80C9828042") == "6C41", "writers ask for 42"
    assert host("80C9828041").startswith("04")


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=12) | st.binary(max_size=30).map(lambda b: b"\x80\xc2\x40\x00" + b), max_size=5))
def test_any_bytes_get_a_status_word(commands):
    card = SimCard(build_card(personas.load("adult-3.0"), vector_roots()))
    host = Host(card)
    host("00A404000C53532E434552542E41444631")
    card._chip.session.neighbour._verified.update({0x81, 0x00})
    for command in commands:
        assert len(card.transmit(command)) >= 2
    assert host("00A404000C53532E434552542E41444631").endswith("9000")


@settings(max_examples=80)
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda b: b"OCE1" + b))
def test_envelopes_are_read_or_refused(raw):
    try:
        assert Envelope.from_bytes(raw).to_bytes() == raw
    except CardDataError:
        assert len(raw) < 145 or raw[:4] != b"OCE1"
