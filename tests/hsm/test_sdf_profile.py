"""Vendor profiles of SDF machines, the structures and error numbers they decide."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm.api import Algorithm, BadInputError, KeyStoreLockedError
from hsm.device import DeviceError, DeviceLostError
from hsm.primitives import AuthenticationFailed
from hsm.profile_table import MAX_FILE, SecretReference
from hsm.sdf import Profile, ProfileError, load_profile, parse_profile
from hsm.sdf.binding import DEVICE_INFO, BadDataError, Layout, error_of
from hsm.sdf.profile import CipherIds, CipherLayout, standard_errors
from tests.hsm.sdf_stand import PROFILES, profile_text

NAMES = sorted(path.stem for path in PROFILES.glob("*.toml"))
STANDARD, OLD = Layout(64, CipherLayout.STANDARD), Layout(32, CipherLayout.OLD)
numbers = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_profiles(name: str) -> None:
    profile = load_profile(PROFILES / f"{name}.toml")
    assert profile.envelope.password == SecretReference(env="ONECARD_SDF_PASSWORD")
    assert set(profile.ciphers) == {Algorithm.SM4, Algorithm.TDES}


def test_the_ids_of_the_two_profiles_collide() -> None:
    ours, old = (load_profile(PROFILES / f"{name}.toml") for name in ("onecard_simulator", "old_vendor"))
    assert ours.ciphers[Algorithm.SM4] == CipherIds(0x401, 0x402)
    assert old.ciphers[Algorithm.SM4] == CipherIds(0x2001, 0x2002)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("field_bytes = 64", "field_bytes = 48", "field_bytes"),
        ("field_bytes = 64", "field_bytes = true", "field_bytes"),
        ("field_bytes = 64", "", "field_bytes"),
        ('cipher_layout = "standard"', 'cipher_layout = "new"', "cipher_layout"),
        ("max_data = 16384", "max_data = 1000", "max_data"),
        ("max_data = 16384", "max_data = 99999999", "max_data"),
        ("max_sessions = 64", "max_sessions = 0", "max_sessions"),
        ('name = "onecard-sdf-simulator"', 'name = ""', "name"),
        ('name = "onecard-sdf-simulator"', 'name = "a\\u0007"', "name"),
        ("[kek]", "[kok]", "kek"),
        ("blob_bytes = 16", 'blob_bytes = "16"', "blob_bytes"),
        ("ecb = 0x401", "ecb = 0x100000000", "ecb"),
        ("cbc = 0x802", "cbc = 0x802\nofb = 1", "3DES.ofb is unknown"),
        ("[ciphers.SM4]", "[ciphers.AES]", "AES is unknown"),
        ("pairs = [2,", "pairs = [3,", "pairs"),
        ("pairs = [2,", "pairs = [-2,", "pairs"),
        ("pairs = [2,", 'pairs = ["2",', "pairs"),
        ('decrypt = "standard"', 'decrypt = "algorithm"', "decrypt_algorithm"),
        ('{ file = "password" }', '{ file = "password", env = "X" }', "password"),
        ('{ file = "password" }', '{ value = "12345678" }', "password"),
        ('{ file = "password" }', '"12345678"', "password"),
        ('decrypt = "standard"', 'decrypt = "standard"\n[[errors]]\ncode = 1', "errors.name"),
        ('decrypt = "standard"', 'decrypt = "standard"\n[errors]', "errors"),
        ("[sm2]", "[sm2]]", "not TOML"),
    ],
)
def test_wrong_profiles(old: str, new: str, place: str) -> None:
    text = profile_text()
    assert old in text
    with pytest.raises(ProfileError, match=place) as caught:
        parse_profile(text.replace(old, new).encode(), Path())
    assert "12345678" not in str(caught.value)


def test_files_that_are_no_profiles(tmp_path: Path) -> None:
    path = tmp_path / "big.toml"
    for content in (b"#" * (MAX_FILE + 1), b"\xff\xfe", b"[" * 5000):
        path.write_bytes(content)
        with pytest.raises(ProfileError, match=r"^big\.toml: "):
            load_profile(path)
    with pytest.raises(ProfileError, match="absent"):
        load_profile(tmp_path / "absent.toml")


@settings(max_examples=100)
@given(st.data())
def test_damaged_profiles_raise_nothing_else(data: st.DataObject) -> None:
    text = bytearray(profile_text(data.draw(st.sampled_from(NAMES))).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    with contextlib.suppress(ProfileError):
        assert isinstance(parse_profile(bytes(text), Path()), Profile)


def test_passwords_are_read_when_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    for reference in (SecretReference(file=file), SecretReference(env="SDF_TEST_NO_SUCH_NAME")):
        with pytest.raises(KeyStoreLockedError):
            reference.read()
    file.write_bytes(b"secret pass\r\n")
    monkeypatch.setenv("SDF_TEST_PASSWORD", "another")
    assert SecretReference(file=file).read() == b"secret pass"
    assert SecretReference(env="SDF_TEST_PASSWORD").read() == b"another"
    file.write_bytes(b"x" * 256)
    with pytest.raises(KeyStoreLockedError):
        SecretReference(file=file).read()


def test_every_number_of_the_standard_has_words() -> None:
    errors = standard_errors()
    assert sorted(errors) == [0x01000000 + n for n in range(1, 0x1F)]
    assert all(meaning.name.startswith("SDR_") and meaning.zh and meaning.en for meaning in errors.values())
    assert len({meaning.name for meaning in errors.values()}) == len(errors)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0x01000003, DeviceLostError),
        (0x01000004, DeviceLostError),
        (0x01000005, DeviceLostError),
        (0x01000006, DeviceLostError),
        (0x01000007, DeviceError),
        (0x01000016, BadDataError),
        (0x0100001D, DeviceError),
        (0xDEADBEEF, DeviceError),
        (0x01010001, DeviceLostError),
    ],
)
def test_errors_carry_the_number(code: int, kind: type[DeviceError]) -> None:
    error = error_of("SDF_Encrypt", code, load_profile(PROFILES / "old_vendor.toml").errors)
    assert type(error) is kind
    assert error.code == code
    assert f"0x{code:08X}" in str(error)


def test_structure_sizes() -> None:
    assert DEVICE_INFO.size == 100
    assert (STANDARD.public_size, STANDARD.signature_size) == (132, 128)
    assert (OLD.public_size, OLD.signature_size) == (68, 64)
    sealed = b"\x04" + bytes(64) + bytes(32) + b"text"
    assert len(STANDARD.ciphertext(sealed)) == 164 + 4
    assert len(OLD.ciphertext(sealed)) == 4 + 64 + 136 + 32


@given(numbers, numbers, numbers, st.binary(min_size=1, max_size=136))
def test_ciphertext_layouts(x: bytes, y: bytes, c3: bytes, c2: bytes) -> None:
    raw = b"\x04" + x + y + c3 + c2
    length = struct.pack("=I", len(c2))
    assert STANDARD.ciphertext(raw) == bytes(32) + x + bytes(32) + y + c3 + length + c2
    assert OLD.ciphertext(raw) == length + x + y + c2.ljust(136, b"\0") + c3


@given(numbers, numbers)
def test_keys_and_signatures(x: bytes, y: bytes) -> None:
    bits = struct.pack("=I", 256)
    assert STANDARD.public(bits + bytes(32) + x + bytes(32) + y + b"tail") == b"\x04" + x + y
    assert OLD.public(bits + x + y) == b"\x04" + x + y
    assert STANDARD.signature(bytes(32) + x + bytes(32) + y) == x + y
    assert OLD.signature(x + y) == x + y


def test_structures_of_another_vendor_are_noticed() -> None:
    point = b"\x11" * 64
    with pytest.raises(DeviceError, match="field_bytes"):
        STANDARD.public(struct.pack("=I", 256) + point + bytes(64))
    with pytest.raises(DeviceError, match="256 bits"):
        STANDARD.public(struct.pack("=I", 192) + bytes(128))
    with pytest.raises(DeviceError, match="136"):
        OLD.ciphertext(b"\x04" + bytes(96) + bytes(137))


@pytest.mark.parametrize("raw", [b"", b"\x04" + bytes(96), b"\x03" + bytes(120)])
def test_bad_ciphertexts(raw: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        STANDARD.ciphertext(raw)


def test_profile_errors_are_input_errors() -> None:
    assert issubclass(ProfileError, BadInputError)
    assert ProfileError.failure == "INPUT_INVALID"
