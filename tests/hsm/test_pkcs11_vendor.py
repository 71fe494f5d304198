"""SM2 and SM4 of a token through a maker's own numbers, all of them from the profile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from hsm.api import Algorithm
from hsm.device import AlgorithmUnavailableError
from hsm.pkcs11 import Pkcs11Session, Pkcs11Source, Profile, load_profile
from hsm.primitives import AuthenticationFailed, default_engine
from hsm.soft_device import SoftKey
from simulators.pkcs11_device import PROFILE, build
from simulators.sdf_device.library import SdfBuildError
from tests.hsm.device_vectors import adopted, check_diversification, check_messages
from tests.hsm.softhsm import SoftHsm, shipped, softhsm

__all__ = ["softhsm"]

SM2, SM4 = Algorithm.SM2, Algorithm.SM4
KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build(tmp_path_factory.mktemp("vendor"), shipped().library)
    except SdfBuildError as problem:
        pytest.skip(str(problem))


@pytest.fixture
def profile(softhsm: SoftHsm, library: Path) -> Profile:
    softhsm.token()
    return replace(load_profile(PROFILE), library=library)


@pytest.fixture
def source(softhsm: SoftHsm, profile: Profile) -> Pkcs11Source:
    source = Pkcs11Source(profile)
    softhsm.sources.append(source)
    return source


@pytest.fixture
def session(source: Pkcs11Source) -> Iterator[Pkcs11Session]:
    with closing(source.open_session()) as opened:
        yield opened


def test_every_algorithm_is_proven(source: Pkcs11Source) -> None:
    assert source.algorithms == frozenset(Algorithm)


def test_sm4_card_vectors(session: Pkcs11Session) -> None:
    check_diversification(session, SM4)
    check_messages(session, SM4)
    generated = session.key(SM4, 16, session.generate(SM4, 16))
    assert generated.ecb(generated.ecb(KEY), decrypt=True) == KEY != generated.ecb(KEY)
    assert not isinstance(generated.derive(KEY), SoftKey)


def test_sm4_derived_in_software_where_the_maker_has_no_number(softhsm: SoftHsm, profile: Profile) -> None:
    assert profile.sm4 is not None
    source = Pkcs11Source(replace(profile, sm4=replace(profile.sm4, derive=None), algorithms=frozenset({SM4})))
    softhsm.sources.append(source)
    assert source.algorithms == {SM4}
    with closing(source.open_session()) as session:
        check_diversification(session, SM4)
        assert isinstance(adopted(session, SM4, KEY).derive(KEY), SoftKey)


def test_numbers_mixed_up(softhsm: SoftHsm, profile: Profile) -> None:
    assert profile.sm4 is not None
    assert profile.sm2 is not None
    for changes in (
        {"sm4": replace(profile.sm4, ecb=profile.sm4.cbc, cbc=profile.sm4.ecb)},
        {"sm4": replace(profile.sm4, derive=0x80000299)},
        {"sm2": replace(profile.sm2, sign=0x1041)},
        {"sm2": replace(profile.sm2, ciphertext="c1c2c3")},
        {"sm2": replace(profile.sm2, decrypt=0x80000299)},
    ):
        source = Pkcs11Source(replace(profile, algorithms=frozenset({SM2, SM4}), **changes))
        softhsm.sources.append(source)
        assert source.algorithms == frozenset({SM2, SM4}) - {SM4 if "sm4" in changes else SM2}


def test_sm2(session: Pkcs11Session, source: Pkcs11Source) -> None:
    engine = default_engine()
    handle, public = session.generate_pair(SM2)
    signature = session.sign(SM2, handle, public, b"message", b"somebody")
    assert engine.sm2_verify(public, b"message", signature, user_id=b"somebody")
    assert not engine.sm2_verify(public, b"message", signature)
    ciphertext = engine.sm2_encrypt(public, b"plaintext")
    with closing(source.open_session()) as other:
        assert other.decrypt(SM2, handle, public, ciphertext) == b"plaintext"
    for at in (0, 1, 40, 70, 97, len(ciphertext) - 1):
        damaged = bytearray(ciphertext)
        damaged[at] ^= 1
        with pytest.raises(AuthenticationFailed):
            session.decrypt(SM2, handle, public, bytes(damaged))
    with pytest.raises(AuthenticationFailed):
        session.decrypt(SM2, handle, public, ciphertext[:97])
    assert session.decrypt(SM2, handle, public, ciphertext) == b"plaintext"


def test_sm2_without_decryption(softhsm: SoftHsm, profile: Profile) -> None:
    assert profile.sm2 is not None
    source = Pkcs11Source(replace(profile, sm2=replace(profile.sm2, decrypt=None), algorithms=frozenset({SM2})))
    softhsm.sources.append(source)
    assert source.algorithms == {SM2}
    with closing(source.open_session()) as session:
        handle, public = session.generate_pair(SM2)
        with pytest.raises(AlgorithmUnavailableError):
            session.decrypt(SM2, handle, public, default_engine().sm2_encrypt(public, b"plaintext"))
