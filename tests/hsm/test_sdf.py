"""The SDF backend on simulated machines, one to the letter of GM/T 0018 and one from before it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path

import pytest

from hsm.api import Algorithm, BadInputError
from hsm.device import AlgorithmUnavailableError, DeviceError, DeviceLostError
from hsm.primitives import AuthenticationFailed, portable_engine
from hsm.sdf import ProfileError, SdfSession, SdfSource, load_profile
from hsm.sdf.claims import PairClaims
from hsm.sdf.session import KIND_PAIR, pair_handle
from simulators.sdf_device import PAIRS, SimSdfDevice
from tests.hsm.sdf_stand import make_device, needs_compiler, open_things, profile_of, profile_text, source_of

SM4, TDES, SM2 = Algorithm.SM4, Algorithm.TDES, Algorithm.SM2
KEY, DATA, USER = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"), bytes(range(32)), b"somebody"
engine = portable_engine()
pytestmark = needs_compiler


@pytest.fixture(scope="module", params=["onecard_simulator", "old_vendor"])
def product(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[SimSdfDevice, str]:
    """A machine and the profile that fits it."""
    device = make_device(tmp_path_factory, seed="one", old_vendor=request.param == "old_vendor")
    return device, profile_text(request.param)


@pytest.fixture
def session(product: tuple[SimSdfDevice, str], tmp_path: Path):
    device, text = product
    with opened(source_of(device, tmp_path / "claims", text)) as found:
        yield found
    assert open_things(device) == (0, 0, 0)


@pytest.fixture
def device(tmp_path_factory: pytest.TempPathFactory) -> SimSdfDevice:
    """A machine of its own, for faults."""
    return make_device(tmp_path_factory, seed="one")


@contextlib.contextmanager
def opened(source: SdfSource):
    with contextlib.closing(source), contextlib.closing(source.open_session()) as session:
        yield session


def test_all_algorithms_answer(product: tuple[SimSdfDevice, str], tmp_path: Path) -> None:
    device, text = product
    with contextlib.closing(source_of(device, tmp_path, text)) as source:
        assert source.algorithms == {SM4, TDES, SM2}
    assert open_things(device) == (0, 0, 0)


@pytest.mark.parametrize(("algorithm", "value"), [(SM4, KEY), (TDES, KEY), (TDES, KEY[:8])])
def test_adopted_keys(session: SdfSession, algorithm: Algorithm, value: bytes) -> None:
    handle = session.adopt(algorithm, value)
    assert value not in handle
    key = session.key(algorithm, len(value), handle)
    ecb, cbc = (engine.sm4_ecb, engine.sm4_cbc) if algorithm is SM4 else (engine.des_ecb, engine.des_cbc)
    iv = DATA[3 : 19 if algorithm is SM4 else 11]
    assert (key.algorithm, key.length) == (algorithm, len(value))
    assert key.ecb(DATA) == ecb(value, DATA)
    assert key.ecb(DATA, decrypt=True) == ecb(value, DATA, decrypt=True)
    assert key.ecb(b"") == b""
    assert key.cbc(iv, DATA) == cbc(value, iv, DATA)
    derived = key.derive(DATA[: len(value) if algorithm is TDES else 16])
    assert derived.ecb(DATA) == ecb(ecb(value, DATA[: len(value) if algorithm is TDES else 16]), DATA)


def test_data_longer_than_one_call(session: SdfSession) -> None:
    data = bytes(range(256)) * 200
    key = session.key(SM4, 16, session.adopt(SM4, KEY))
    assert len(data) > 3 * session.max_data
    assert key.cbc(DATA[:16], data) == engine.sm4_cbc(KEY, DATA[:16], data)
    assert key.ecb(data) == engine.sm4_ecb(KEY, data)
    assert len(session.random(3 * session.max_data + 5)) == 3 * session.max_data + 5


@pytest.mark.parametrize(("algorithm", "length"), [(SM4, 16), (TDES, 16), (TDES, 8)])
def test_generated_keys(session: SdfSession, algorithm: Algorithm, length: int) -> None:
    first, second = session.generate(algorithm, length), session.generate(algorithm, length)
    answer = session.key(algorithm, length, first).ecb(DATA)
    assert session.key(algorithm, length, second).ecb(DATA) != answer
    session.drop_imported()
    assert session.key(algorithm, length, first).ecb(DATA) == answer


def test_pairs_sign_and_decrypt(session: SdfSession) -> None:
    handle, public = session.generate_pair(SM2)
    signature = session.sign(SM2, handle, public, b"message", USER)
    assert engine.sm2_verify(public, b"message", signature, user_id=USER)
    assert not engine.sm2_verify(public, b"message", signature, user_id=b"else")
    sealed = engine.sm2_encrypt(public, b"plain")
    assert session.decrypt(SM2, handle, public, sealed) == b"plain"
    for damaged in (sealed[:-1] + bytes((sealed[-1] ^ 1,)), sealed[:80], b""):
        with pytest.raises(AuthenticationFailed):
            session.decrypt(SM2, handle, public, damaged)


def test_what_the_device_cannot_do(session: SdfSession) -> None:
    with pytest.raises(AlgorithmUnavailableError):
        session.generate_pair(Algorithm.P256)
    with pytest.raises(AlgorithmUnavailableError):
        session.sign(Algorithm.RSA, pair_handle(2), b"", b"", USER)
    with pytest.raises(AlgorithmUnavailableError):
        session.adopt(SM2, KEY)


def test_wrong_lengths_and_handles(session: SdfSession) -> None:
    good = session.adopt(SM4, KEY)
    key = session.key(SM4, 16, good)
    for wrong in (
        lambda: session.adopt(SM4, KEY[:8]),
        lambda: session.generate(TDES, 24),
        lambda: key.ecb(DATA[:15]),
        lambda: key.cbc(DATA[:8], DATA),
        lambda: session.key(SM4, 16, b""),
        lambda: session.key(SM4, 16, b"\x01"),
        lambda: session.key(SM4, 16, b"\x09" + good[1:]),
        lambda: session.sign(SM2, good, b"", b"", USER),
        lambda: session.sign(SM2, KIND_PAIR + b"\0", b"", b"", USER),
    ):
        with pytest.raises(BadInputError):
            wrong()
    for body in (good[:-1] + bytes((good[-1] ^ 1,)), good[:2] + bytes((good[2] ^ 1,)) + good[3:]):
        with pytest.raises(DeviceError):
            session.key(SM4, 16, body)
    with pytest.raises(DeviceError):
        session.key(SM4, 16, b"\x01" + bytes(17))


def test_machines_of_a_cluster_share_handles(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    first, second, stranger = (make_device(tmp_path_factory, seed=seed) for seed in ("one", "one", "two"))
    with opened(source_of(first, tmp_path)) as one, opened(source_of(second, tmp_path)) as two:
        generated, adopted = one.generate(SM4, 16), one.adopt(SM4, KEY)
        assert two.key(SM4, 16, adopted).ecb(DATA) == engine.sm4_ecb(KEY, DATA)
        answer = one.key(SM4, 16, generated).ecb(DATA)
        assert two.key(SM4, 16, generated).ecb(DATA) == answer
        handle, public = one.generate_pair(SM2)
        assert two.generate_pair(SM2)[1] != public
        assert engine.sm2_verify(public, b"m", two.sign(SM2, handle, public, b"m", USER), user_id=USER)
        with opened(source_of(stranger, tmp_path)) as other:
            assert other.key(SM4, 16, generated).ecb(DATA) != answer
            with pytest.raises(DeviceError):
                other.key(SM4, 16, adopted)
            with pytest.raises(DeviceError, match="another signing pair"):
                other.sign(SM2, handle, public, b"m", USER)


def test_old_and_new_structures_share_handles(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    new, old = (make_device(tmp_path_factory, seed="one", old_vendor=is_old) for is_old in (False, True))
    with (
        opened(source_of(new, tmp_path)) as one,
        opened(source_of(old, tmp_path, profile_text("old_vendor"))) as two,
    ):
        assert two.key(SM4, 16, one.adopt(SM4, KEY)).ecb(DATA) == engine.sm4_ecb(KEY, DATA)


@pytest.mark.parametrize(
    ("old", "new", "missing", "reason"),
    [
        ("ecb = 0x401", "ecb = 0x2001", SM4, "wrong known answer in ECB"),
        ("cbc = 0x402", "cbc = 0x2002", SM4, "wrong known answer in CBC"),
        ("cbc = 0x802", "cbc = 0x801", TDES, "wrong known answer in CBC"),
        ("ecb = 0x801", "ecb = 0x901", TDES, "SDR_ALGNOTSUPPORT"),
        ("pairs = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]", "pairs = [30]", SM2, "there is no pair"),
    ],
)
def test_wrong_numbers_are_caught(
    device: SimSdfDevice,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    old: str,
    new: str,
    missing: Algorithm,
    reason: str,
) -> None:
    caplog.set_level(logging.INFO)
    text = profile_text()
    assert old in text
    with contextlib.closing(source_of(device, tmp_path, text.replace(old, new))) as source:
        if not reason:
            assert source.algorithms == {SM4, TDES, SM2}
            return
        assert source.algorithms == {SM4, TDES, SM2} - {missing}
        assert f"{missing} is not used: " in caplog.text
        assert reason in caplog.text
        with contextlib.closing(source.open_session()) as session, pytest.raises(AlgorithmUnavailableError):
            session.adopt(missing, KEY)
    assert open_things(device) == (0, 0, 0)


def test_structures_of_another_length_are_caught(
    device: SimSdfDevice, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = profile_text().replace("field_bytes = 64", "field_bytes = 32")
    with contextlib.closing(source_of(device, tmp_path, text)) as source:
        assert source.algorithms == frozenset()
    assert "not a point of the curve" in caplog.text


@pytest.mark.parametrize(("method", "answer"), [("sign", (31 * b"\0" + b"\1") * 2), ("decrypt", b"other")])
def test_sm2_that_is_something_else_is_caught(
    device: SimSdfDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, answer: bytes
) -> None:
    monkeypatch.setattr(SdfSession, method, lambda *_: answer)
    with contextlib.closing(source_of(device, tmp_path)) as source:
        assert source.algorithms == {SM4, TDES}


def test_aes_where_the_profile_says_sm4(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """The field case: a machine from before the standard, a profile of today; only fields and layout were put right."""
    old = make_device(tmp_path_factory, seed="one", old_vendor=True)
    text = profile_text("old_vendor").replace("ecb = 0x2001", "ecb = 0x401").replace("cbc = 0x2002", "cbc = 0x402")
    with contextlib.closing(source_of(old, tmp_path, text)) as source:
        assert source.algorithms == {TDES, SM2}


def test_a_pair_for_signing_only(device: SimSdfDevice, tmp_path: Path) -> None:
    with opened(source_of(device, tmp_path, profile_text().replace("pairs = [2,", "pairs = [1, 2,"))) as session:
        handle, public = session.generate_pair(SM2)
        assert handle == pair_handle(1)
        assert engine.sm2_verify(public, b"m", session.sign(SM2, handle, public, b"m", USER), user_id=USER)
        with pytest.raises(AlgorithmUnavailableError, match="signs only"):
            session.decrypt(SM2, handle, public, engine.sm2_encrypt(public, b"x"))
    text = profile_text().replace('decrypt = "standard"', 'decrypt = "none"')
    with (
        opened(source_of(device, tmp_path, text)) as session,
        pytest.raises(AlgorithmUnavailableError, match="decrypt"),
    ):
        session.decrypt(SM2, pair_handle(2), public, b"")


def test_no_password_no_keys(device: SimSdfDevice, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = device.password
    for content in ("wrong password", ""):
        (device.folder / "password").write_text(content)
        with contextlib.closing(source_of(device, tmp_path)) as source:
            assert source.algorithms == frozenset()
    assert "SDR_PRKRERR" in caplog.text
    assert "no device password" in caplog.text
    assert secret not in caplog.text
    assert "wrong password" not in caplog.text


def test_pairs_are_given_out_once(device: SimSdfDevice, tmp_path: Path) -> None:
    source, found, lock = source_of(device, tmp_path), [], threading.Lock()

    def take() -> None:
        with contextlib.closing(source.open_session()) as session, contextlib.suppress(DeviceError):
            while True:
                pair = session.generate_pair(SM2)
                with lock:
                    found.append(pair)

    with contextlib.closing(source):
        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(handle for handle, _ in found) == [pair_handle(index) for index in PAIRS]
        with contextlib.closing(source.open_session()) as session:
            session.forget(found[0][0])
            with pytest.raises(DeviceError, match="given out"):
                session.generate_pair(SM2)
    assert not PairClaims(tmp_path).claim(found[0][1])


def test_lost_and_back(device: SimSdfDevice, tmp_path: Path) -> None:
    source = source_of(device, tmp_path)
    with contextlib.closing(source):
        session = source.open_session()
        handle = session.generate(SM4, 16)
        answer = session.key(SM4, 16, handle).ecb(DATA)
        session.check()
        device.unplug()
        for call in (lambda: session.key(SM4, 16, handle).ecb(DATA), session.check, source.open_session):
            with pytest.raises(DeviceLostError):
                call()
        assert source.algorithms == {SM4, TDES, SM2}
        device.plug()
        with pytest.raises(DeviceLostError):
            session.check()
        with contextlib.closing(source.open_session()) as fresh:
            fresh.check()
            assert fresh.key(SM4, 16, handle).ecb(DATA) == answer
            session.close()
            session.close()
            assert open_things(device)[:2] == (1, 1)
    assert open_things(device) == (0, 0, 0)


def test_away_at_the_start(device: SimSdfDevice, tmp_path: Path) -> None:
    device.unplug()
    with contextlib.closing(source_of(device, tmp_path)) as source:
        assert source.algorithms == frozenset()
        with pytest.raises(DeviceLostError) as caught:
            source.open_session()
        assert caught.value.code == 0x01000005
        device.plug()
        assert source.algorithms == {SM4, TDES, SM2}


def test_session_limit_of_the_machine(device: SimSdfDevice, tmp_path: Path) -> None:
    source = source_of(device, tmp_path)
    with contextlib.closing(source), contextlib.closing(source.open_session()) as session:
        device.limit_sessions(1)
        with pytest.raises(DeviceLostError) as caught:
            source.open_session()
        assert caught.value.code == 0x01000006
        session.check()
        assert open_things(device)[:2] == (1, 1)
    assert source.max_sessions == profile_of(device).max_sessions


def test_a_refusal_is_no_loss(device: SimSdfDevice, tmp_path: Path) -> None:
    with opened(source_of(device, tmp_path)) as session:
        key = session.key(SM4, 16, session.adopt(SM4, KEY))
        device.refuse_after(0, 0x0100000F)
        with pytest.raises(DeviceError) as caught:
            key.ecb(DATA)
        assert (type(caught.value), caught.value.code) == (DeviceError, 0x0100000F)
        with pytest.raises(DeviceLostError):
            session.check()
        device.refuse_after(-1)
        assert key.ecb(DATA) == engine.sm4_ecb(KEY, DATA)
        session.check()


def test_imported_keys_are_limited_and_dropped(device: SimSdfDevice, tmp_path: Path) -> None:
    text = profile_text().replace("cached_keys = 64", "cached_keys = 2")
    source = source_of(device, tmp_path, text)
    with contextlib.closing(source), contextlib.closing(source.open_session()) as session:
        handles = [session.generate(SM4, 16) for _ in range(4)]
        keys = [session.key(SM4, 16, handle) for handle in handles]
        assert open_things(device)[2] == 4
        session.end_operation()
        assert open_things(device)[2] == 2
        keys[-1].ecb(DATA)
        with pytest.raises(DeviceError):
            keys[0].ecb(DATA)
        with contextlib.closing(source.open_session()) as other:
            other.forget(handles[-1])
            session.end_operation()
            assert open_things(device)[2] == 0
        session.key(SM4, 16, handles[0])
    assert open_things(device) == (0, 0, 0)


def test_a_closed_source(device: SimSdfDevice, tmp_path: Path) -> None:
    source = source_of(device, tmp_path)
    session = source.open_session()
    source.close()
    assert len(session.random(5)) == 5
    session.close()
    assert open_things(device) == (0, 0, 0)
    with pytest.raises(DeviceLostError):
        source.open_session()
    with pytest.raises(DeviceLostError):
        session.random(1)


def test_no_key_in_logs_and_reprs(device: SimSdfDevice, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with opened(source_of(device, tmp_path)) as session:
        key = session.key(SM4, 16, session.adopt(SM4, KEY))
        shown = repr(key) + repr(session) + repr(key.derive(DATA[:16])) + caplog.text
    assert KEY.hex() not in shown.lower()
    assert repr(KEY)[2:-1] not in shown
    assert device.password not in shown


def test_no_sdf_library(device: SimSdfDevice, tmp_path: Path) -> None:
    text = tmp_path / "text.so"
    text.write_text("no library")
    with pytest.raises(ProfileError, match="cannot be loaded"):
        SdfSource(profile_of(device), text, tmp_path)
    with pytest.raises(ProfileError, match="lacks SDF_"):
        SdfSource(profile_of(device), Path("libc.so.6"), tmp_path)


def test_another_library(tmp_path: Path) -> None:
    """Any product, by configuration only. Its pairs of the profile are signed with, none is changed."""
    library, profile = os.environ.get("SDF_TEST_LIBRARY"), os.environ.get("SDF_TEST_PROFILE")
    if not library or not profile:
        pytest.skip("SDF_TEST_LIBRARY and SDF_TEST_PROFILE name no library of a third party")
    source = SdfSource(load_profile(Path(profile)), Path(library), tmp_path)
    with contextlib.closing(source):
        assert source.algorithms
        with contextlib.closing(source.open_session()) as session:
            session.check()
            if SM4 in source.algorithms:
                assert session.key(SM4, 16, session.adopt(SM4, KEY)).ecb(DATA) == engine.sm4_ecb(KEY, DATA)
            if TDES in source.algorithms:
                assert session.key(TDES, 8, session.adopt(TDES, KEY[:8])).ecb(DATA) == engine.des_ecb(KEY[:8], DATA)
            if SM2 in source.algorithms:
                handle, public = session.generate_pair(SM2)
                signature = session.sign(SM2, handle, public, b"message", USER)
                assert engine.sm2_verify(public, b"message", signature, user_id=USER)
