"""A real PKCS#11 token: SoftHSM2 behind the device protocols, through the loss of it and what a PIN may suffer."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import load_der_public_key

from hsm import card_rules
from hsm.api import Algorithm, BadInputError, HsmError, KeyExistsError, KeyStoreLockedError
from hsm.device import AlgorithmUnavailableError, DeviceError, DeviceLostError
from hsm.pkcs11 import Pkcs11Session, Pkcs11Source, WrappingKeyMissingError
from hsm.pkcs11 import source as source_module
from hsm.pkcs11.binding import error, shared_library
from hsm.pkcs11.constants import CKF_USER_PIN_FINAL_TRY, CKM, RETURN_VALUES, Verdict
from hsm.pkcs11.cryptoki import RawSession
from hsm.pkcs11.profile import CipherMechanisms, PrivateKeys, Sm2Mechanisms
from hsm.primitives import DEFAULT_USER_ID, default_engine
from hsm.profile_table import SecretReference
from tests.hsm.device_vectors import adopted, check_diversification, check_messages
from tests.hsm.softhsm import PIN, PIN_VARIABLE, WRAPPING_VALUE, SoftHsm, shipped, softhsm

__all__ = ["softhsm"]

TDES, P256, RSA, SM2, SM4 = Algorithm.TDES, Algorithm.P256, Algorithm.RSA, Algorithm.SM2, Algorithm.SM4
KEY = bytes.fromhex("404142434445464748494A4B4C4D4E4F")


@pytest.fixture
def session(softhsm: SoftHsm) -> Iterator[Pkcs11Session]:
    softhsm.token()
    with closing(softhsm.source().open_session()) as opened:
        yield opened


def lose(source_path: Path) -> None:
    """Finalize the library behind everybody's back."""
    shared_library(source_path)._functions["Finalize"](None)


# -- triple DES inside the token ----------------------------------------------------------------------------------


def test_card_vectors(session: Pkcs11Session) -> None:
    check_diversification(session, TDES)
    check_messages(session, TDES)


@pytest.mark.parametrize("length", [8, 16])
def test_generated_keys_have_the_length_asked_for(session: Pkcs11Session, length: int) -> None:
    """K K K or K1 K2 K1, not three random parts: told from the wrapped value under the known wrapping key."""
    handle = session.generate(TDES, length)
    assert handle != session.generate(TDES, length)
    value = aes_key_unwrap(WRAPPING_VALUE, handle[1:])
    parts = [value[at : at + 8] for at in (0, 8, 16)]
    assert (parts[0] == parts[2], parts[0] == parts[1]) == (True, length == 8)
    key = session.key(TDES, length, handle)
    assert key.ecb(KEY) == default_engine().des_ecb(value[:length], KEY)


def test_lengths_outside_the_contract(session: Pkcs11Session) -> None:
    key = adopted(session, TDES, KEY)
    for call in (
        lambda: session.adopt(TDES, bytes(24)),
        lambda: session.generate(TDES, 24),
        lambda: session.key(TDES, 7, b"\x01"),
        lambda: session.key(TDES, 16, b"\x03" + bytes(32)).ecb(KEY),
        lambda: session.key(TDES, 16, b"").ecb(KEY),
        lambda: key.ecb(bytes(7)),
        lambda: key.cbc(bytes(7), KEY),
        lambda: key.derive(bytes(24)),
        lambda: session.random(0),
    ):
        with pytest.raises(BadInputError):
            call()
    assert key.ecb(b"") == key.cbc(bytes(8), b"") == b""
    for call in (
        lambda: session.generate(SM4, 16),
        lambda: session.generate_pair(SM2),
        lambda: session.generate_pair(TDES),
        lambda: session.adopt(RSA, KEY),
    ):
        with pytest.raises(AlgorithmUnavailableError):
            call()
    handle = session.adopt(TDES, KEY)
    with pytest.raises(DeviceError):
        session.key(TDES, 16, handle[:-1] + bytes((handle[-1] ^ 1,))).ecb(KEY)
    assert key.ecb(KEY) == default_engine().des_ecb(KEY, KEY)


def test_more_keys_than_a_session_keeps(softhsm: SoftHsm) -> None:
    softhsm.token()
    with closing(softhsm.source(cached_keys=2).open_session()) as session:
        values = [bytes((number,)) * 8 + KEY[:8] for number in range(1, 6)]
        keys = [adopted(session, TDES, value) for value in values]
        for _ in range(2):
            for value, key in zip(values, keys, strict=True):
                assert key.ecb(KEY) == default_engine().des_ecb(value, KEY)
        before = len(session.raw.find({}))
        keys[0].derive(KEY).derive(KEY)
        assert len(session.raw.find({})) > before
        session.end_operation()
        # The wrapping key, two cached keys and the one that made room for keys[0] again: nothing else.
        assert len(session.raw.find({})) == before == 3


# -- pairs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", list(PrivateKeys))
def test_pairs(softhsm: SoftHsm, where: PrivateKeys) -> None:
    softhsm.token()
    source = softhsm.source(private_keys=where, algorithms=frozenset({P256, RSA}))
    assert source.algorithms == {P256, RSA}
    with closing(source.open_session()) as session, closing(source.open_session()) as other:
        stored = len(session.raw.find({}))
        handle, public = session.generate_pair(P256)
        rsa_handle, rsa_public = session.generate_pair(RSA)
        for signer in (session, other):
            raw = signer.sign(P256, handle, public, b"message", b"")
            curve_key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
            der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
            curve_key.verify(der, b"message", ec.ECDSA(hashes.SHA256()))
            key = load_der_public_key(rsa_public)
            assert isinstance(key, rsa.RSAPublicKey)
            assert key.key_size == 2048
            signature = signer.sign(RSA, rsa_handle, rsa_public, b"message", b"")
            key.verify(signature, b"message", padding.PKCS1v15(), hashes.SHA256())
        with pytest.raises(AlgorithmUnavailableError):
            session.decrypt(P256, handle, public, bytes(100))
        for made in (handle, rsa_handle):
            session.forget(made)
        other.end_operation()
        assert len(session.raw.find({})) == stored
        if where is PrivateKeys.TOKEN:
            with pytest.raises(DeviceError):
                other.sign(P256, handle, public, b"message", b"")


def test_mechanism_numbers_prove_nothing(softhsm: SoftHsm, caplog: pytest.LogCaptureFixture) -> None:
    """AES under the numbers of SM4, ECDSA on the SM2 curve under those of SM2: both work, and both are refused."""
    softhsm.token()
    aes = CipherMechanisms(0x1F, CKM.AES_KEY_GEN, 0x1081, 0x1082, derive=0x1104, needs_length=True)
    source = softhsm.source(
        sm4=aes,
        sm2=Sm2Mechanisms(sign=CKM.ECDSA),
        algorithms=frozenset({SM2, SM4, TDES}),
        private_keys=PrivateKeys.TOKEN,
    )
    with caplog.at_level(logging.INFO, "hsm.pkcs11"):
        assert source.algorithms == {TDES}
    for name in ("SM2", "SM4"):
        assert f"wrong answers for {name}" in caplog.text
    with closing(source.open_session()) as session:
        handle, public = session.generate_pair(SM2)
        signature = session.sign(SM2, handle, public, b"message", DEFAULT_USER_ID)
        assert len(signature) == 64
        assert not default_engine().sm2_verify(public, b"message", signature)


# -- tokens and wrapping keys ---------------------------------------------------------------------------------------


def test_two_tokens_of_one_wrapping_key_take_over(softhsm: SoftHsm) -> None:
    for label in ("first", "second", "stranger"):
        softhsm.token(label, value=None if label == "stranger" else WRAPPING_VALUE)
    stranger = softhsm.source("stranger")
    assert (stranger.ensure_wrapping_key(), stranger.ensure_wrapping_key()) == (True, False)
    with closing(softhsm.source("first").open_session()) as first:
        handle, (pair, public) = first.adopt(TDES, KEY), first.generate_pair(P256)
    with closing(softhsm.source("second").open_session()) as second:
        assert second.key(TDES, 16, handle).ecb(KEY) == default_engine().des_ecb(KEY, KEY)
        assert len(second.sign(P256, pair, public, b"message", b"")) == 64
    with closing(stranger.open_session()) as third, pytest.raises(DeviceError) as refused:
        third.key(TDES, 16, handle).ecb(KEY)
    assert not isinstance(refused.value, DeviceLostError)


def test_wrapping_key_is_made_only_when_asked_for(softhsm: SoftHsm) -> None:
    softhsm.token(value=None)
    source = softhsm.source()
    for _ in range(2):
        with pytest.raises(WrappingKeyMissingError):
            source.open_session()
    with pytest.raises(BadInputError):
        source.ensure_wrapping_key(bytes(16))
    assert source.ensure_wrapping_key(WRAPPING_VALUE)
    with pytest.raises(KeyExistsError):
        source.ensure_wrapping_key(WRAPPING_VALUE)
    with closing(source.open_session()) as session, pytest.raises(DeviceError, match="SENSITIVE"):
        session.raw.read(session.raw.find({})[0], 0x11)


def test_token_is_named_by_label_or_serial(softhsm: SoftHsm) -> None:
    softhsm.token("twin")
    serial = next(softhsm.tokens.iterdir()).name.replace("-", "")[-16:]
    softhsm.token("twin", value=None)
    with pytest.raises(DeviceError, match="serial"):
        softhsm.source("twin").open_session()
    softhsm.source("twin", token_serial=serial).open_session().close()
    with pytest.raises(DeviceLostError):
        softhsm.source("nobody").open_session()


# -- PIN ----------------------------------------------------------------------------------------------------------


def test_wrong_pin_is_sent_once(softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    softhsm.token()
    sent = []
    login = RawSession.login
    monkeypatch.setattr(RawSession, "login", lambda self, pin: (sent.append(pin), login(self, pin))[1])
    monkeypatch.setenv(PIN_VARIABLE, "000000")
    source = softhsm.source()
    with ThreadPoolExecutor(8) as threads:
        for outcome in [threads.submit(source.open_session) for _ in range(8)]:
            with pytest.raises(KeyStoreLockedError) as refused:
                outcome.result()
            assert "000000" not in str(refused.value)
    with pytest.raises(KeyStoreLockedError):
        softhsm.source().open_session()
    assert sent == [b"000000"]
    monkeypatch.setenv(PIN_VARIABLE, "")
    with pytest.raises(KeyStoreLockedError, match="no device password"):
        source.open_session()
    monkeypatch.setenv(PIN_VARIABLE, PIN)
    source.open_session().close()
    assert len(sent) == 2


def test_last_try_is_left_to_a_person(softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    softhsm.token()
    monkeypatch.setattr(source_module, "token_info", lambda *_: (b"serial", CKF_USER_PIN_FINAL_TRY))
    monkeypatch.setattr(RawSession, "login", lambda *_: pytest.fail("the PIN was sent"))
    with pytest.raises(KeyStoreLockedError, match="a person"):
        softhsm.source().open_session()


def test_pin_file(softhsm: SoftHsm, tmp_path: Path) -> None:
    softhsm.token()
    file = tmp_path / "pin"
    file.write_text(PIN + "\n")
    softhsm.source(pin=SecretReference(file)).open_session().close()
    with pytest.raises(KeyStoreLockedError):
        SecretReference(tmp_path / "absent").read()


# -- loss and return ------------------------------------------------------------------------------------------------


def test_finalized_behind_our_back(softhsm: SoftHsm) -> None:
    softhsm.token()
    source = softhsm.source()
    session, other = source.open_session(), source.open_session()
    handle = session.adopt(TDES, KEY)
    lose(shipped().library)
    for call in (session.check, lambda: session.key(TDES, 16, handle).ecb(KEY), other.check):
        with pytest.raises(DeviceLostError):
            call()
    session.end_operation()
    session.close()
    other.close()
    with closing(source.open_session()) as again:
        again.check()
        assert again.key(TDES, 16, handle).ecb(KEY) == default_engine().des_ecb(KEY, KEY)


def test_token_taken_away_and_brought_back(softhsm: SoftHsm) -> None:
    softhsm.token()
    source = softhsm.source()
    session = source.open_session()
    handle = session.adopt(TDES, KEY)
    away = softhsm.tokens.rename(softhsm.tokens.with_name("away"))
    with pytest.raises(DeviceLostError):
        session.adopt(TDES, KEY)
    session.close()
    with pytest.raises(DeviceLostError):
        source.open_session()
    assert source.algorithms == frozenset()
    away.rename(softhsm.tokens)
    assert source.algorithms == {TDES}
    with closing(source.open_session()) as again:
        assert again.key(TDES, 16, handle).ecb(KEY) == default_engine().des_ecb(KEY, KEY)


def test_sixteen_threads_each_with_a_session(softhsm: SoftHsm) -> None:
    softhsm.token()
    source = softhsm.source(cached_keys=3)
    start = threading.Barrier(16)
    with closing(source.open_session()) as first:
        handles = [(bytes((n,)) * 16, first.adopt(TDES, bytes((n,)) * 16)) for n in range(1, 6)]

    def work(number: int) -> bool:
        start.wait()
        with closing(source.open_session()) as session:
            for turn in range(40):
                value, handle = handles[(number + turn) % len(handles)]
                key = session.key(TDES, 16, handle)
                inside = card_rules.session_key(key, KEY[:8])
                assert inside.ecb(KEY) == default_engine().des_ecb(default_engine().des_ecb(value, KEY[:8]), KEY)
                session.end_operation()
        return True

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(work, range(16)))


def test_forked_process_is_refused(softhsm: SoftHsm) -> None:
    softhsm.token()
    source = softhsm.source()
    with closing(source.open_session()) as session:
        child = os.fork()
        if not child:
            refused = 0
            for call in (session.check, source.open_session, softhsm.source().open_session):
                try:
                    call()
                except DeviceError as problem:
                    refused += "fork" in str(problem) and not isinstance(problem, DeviceLostError)
            os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        session.check()


def test_library_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("no library")
    for name in ("text.so", "absent.so"):
        source = Pkcs11Source(replace(shipped(), library=tmp_path / name))
        assert source.algorithms == frozenset()
        with pytest.raises(DeviceLostError):
            source.open_session()
        source.close()


def test_closed_source_leaves_its_last_session_alone(softhsm: SoftHsm) -> None:
    softhsm.token()
    source = softhsm.source()
    session = source.open_session()
    for _ in range(2):
        source.close()
    with pytest.raises(DeviceLostError):
        source.open_session()
    session.check()
    for _ in range(2):
        session.close()
    with pytest.raises(DeviceLostError, match="NOT_INITIALIZED"):
        session.check()


def test_threads_that_look_for_a_token_that_is_away(softhsm: SoftHsm) -> None:
    """Each of them may start the library afresh, never under another's call."""
    softhsm.token()
    sources = [softhsm.source(), softhsm.source("absent")]

    def work(number: int) -> int:
        opened = 0
        for _ in range(25):
            try:
                with closing(sources[number % 2].open_session()) as session:
                    opened += len(session.random(8)) // 8
            except DeviceLostError:
                continue
        return opened

    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(work, range(8)))
    assert opened == [25, 0] * 4


# -- errors and secrets ---------------------------------------------------------------------------------------------


def test_return_values() -> None:
    kinds = {
        Verdict.LOST: DeviceLostError,
        Verdict.REFUSED: DeviceError,
        Verdict.DOUBTFUL: DeviceError,
        Verdict.ABSENT: AlgorithmUnavailableError,
        Verdict.PIN: KeyStoreLockedError,
    }
    for code, (name, verdict) in [*RETURN_VALUES.items(), (0x80000001, ("vendor error", Verdict.REFUSED))]:
        problem = error("Sign", code)
        assert type(problem) is kinds[verdict]
        assert isinstance(problem, HsmError)
        assert str(problem) == f"C_Sign: {name} ({code:#x})"
        assert getattr(problem, "code", code) == code
    assert type(error("Sign", 5, is_lost=True)) is DeviceLostError


def test_no_key_byte_in_logs_and_reprs(softhsm: SoftHsm, caplog: pytest.LogCaptureFixture) -> None:
    softhsm.token()
    with caplog.at_level(0):
        source = softhsm.source()
        with closing(source.open_session()) as session:
            key = adopted(session, TDES, KEY)
            seen = [repr(part) for part in (key, key.derive(KEY), vars(session), vars(source))]
            with pytest.raises(DeviceError) as refused:
                session.key(TDES, 16, b"\x01" + KEY).ecb(KEY)
    text = " ".join([*seen, str(refused.value), caplog.text]).lower()
    for secret in (KEY, WRAPPING_VALUE):
        assert secret.hex() not in text
        assert repr(secret).lower() not in text
    assert PIN not in text
