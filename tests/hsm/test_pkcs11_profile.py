"""Profiles of PKCS#11 tokens: the shipped one, every way to get one wrong, and bytes that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm.api import Algorithm
from hsm.pkcs11 import load_profile, parse_profile
from hsm.pkcs11.constants import CKM
from hsm.pkcs11.profile import CiphertextForm, PrivateKeys, SignatureForm
from hsm.profile_table import ProfileError
from tests.hsm.softhsm import SHIPPED

HERE = Path("profiles")
TOP = 'name = "p"\nlibrary = "/usr/lib/vendor.so"\n'
TABLES = '[token]\nlabel = "t"\n[pin]\nfile = "pin"\n[wrapping]\nlabel = "w"\n'
SM4 = "[sm4]\nkey_type = 0x80000001\nkey_gen = 0x80000002\necb = 0x80000003\ncbc = 0x80000004\n"


def parsed(text: str):
    return parse_profile(text.encode("utf-8"), HERE)


def test_shipped_profile() -> None:
    profile = load_profile(SHIPPED)
    assert (profile.token_label, profile.pin.env, profile.wrapping_label) == (
        "onecard",
        "ONECARD_TOKEN_PIN",
        "onecard-wrap",
    )
    assert (profile.secret_wrap, profile.private_wrap) == (CKM.AES_KEY_WRAP, CKM.AES_KEY_WRAP_PAD)
    assert (profile.private_keys, profile.algorithms) == (PrivateKeys.WRAPPED, frozenset(Algorithm))
    assert profile.sm2 is profile.sm4 is None


def test_vendor_numbers() -> None:
    sm2 = '[sm2]\nsign = 0x80000011\nkey_pair_gen = "CKM_EC_KEY_PAIR_GEN"\nsignature = "der"\nciphertext = "c1c2c3"\n'
    profile = parsed(TOP + 'algorithms = ["SM4", "SM2"]\n' + TABLES + SM4 + sm2)
    assert profile.algorithms == {Algorithm.SM4, Algorithm.SM2}
    assert profile.pin.file == HERE / "pin"
    assert profile.sm4 is not None
    assert (profile.sm4.key_type, profile.sm4.cbc, profile.sm4.derive) == (0x80000001, 0x80000004, None)
    assert profile.sm2 is not None
    assert (profile.sm2.sign, profile.sm2.key_pair_gen, profile.sm2.decrypt) == (0x80000011, 0x1040, None)
    assert (profile.sm2.signature, profile.sm2.ciphertext) == (SignatureForm.DER, CiphertextForm.C1C2C3)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "token"),
        (TABLES, "profile.name"),
        (TOP, "token"),
        (TOP.replace("/usr/lib/", "") + TABLES, "profile.library"),
        (TOP.replace('"p"', "1") + TABLES, "profile.name"),
        (TOP.replace('"p"', '"a\\u0000b"') + TABLES, "profile.name"),
        (TOP.replace('"p"', f'"{"p" * 256}"') + TABLES, "profile.name"),
        (TOP + "pins = 1\n" + TABLES, "profile.pins is unknown"),
        (TOP + "cached_keys = 0\n" + TABLES, "profile.cached_keys"),
        (TOP + "cached_keys = true\n" + TABLES, "profile.cached_keys"),
        (TOP + 'private_keys = "somewhere"\n' + TABLES, "profile.private_keys"),
        (TOP + 'algorithms = ["DES"]\n' + TABLES, "profile.algorithms"),
        (TOP + "algorithms = []\n" + TABLES, "profile.algorithms"),
        (TOP + "algorithms = [{}]\n" + TABLES, "profile.algorithms"),
        (TOP + TABLES.replace('label = "w"', ""), "wrapping.label"),
        (TOP + TABLES.replace('file = "pin"', ""), "pin"),
        (TOP + TABLES.replace('file = "pin"', 'file = "pin"\nenv = "PIN"'), "pin"),
        (TOP + TABLES.replace('file = "pin"', 'pin = "1234"'), "pin"),
        (TOP + TABLES.replace('label = "t"', "slot = 0"), "token"),
        (TOP + TABLES.replace('label = "t"', 'label = "t"\nslot = 0'), "token.slot is unknown"),
        (TOP + TABLES + 'mechanism = "CKM_ROT13"\n', "wrapping.mechanism"),
        (TOP + TABLES + "mechanism = -1\n", "wrapping.mechanism"),
        (TOP + TABLES + "mechanism = 0x100000000\n", "wrapping.mechanism"),
        (TOP + TABLES + SM4.replace("cbc", "cfb"), "sm4.cbc"),
        (TOP + TABLES + SM4 + "gcm = 1\n", "sm4.gcm is unknown"),
        (TOP + TABLES + SM4 + "needs_length = 1\n", "sm4.needs_length"),
        (TOP + TABLES + "[sm2]\ndecrypt = 1\n", "sm2.sign"),
        (TOP + TABLES + '[sm2]\nsign = 1\ncurve = "06xx"\n', "sm2.curve"),
        (TOP + TABLES + '[sm2]\nsign = 1\nsignature = "asn1"\n', "sm2.signature"),
        (TOP + "sm2 = 1\n" + TABLES, "sm2"),
        ("name = ", "not TOML"),
        ("#" * 32769, "exceeds"),
        ("x = " + "[" * 8000, "not TOML"),
    ],
)
def test_malformed_profiles(text: str, place: str) -> None:
    with pytest.raises(ProfileError, match=place):
        parsed(text)


def test_errors_name_the_file(tmp_path: Path) -> None:
    for name, content in (("bad.toml", b"\xff"), ("absent.toml", None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ProfileError, match=name):
            load_profile(tmp_path / name)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda at, cut, junk: (TOP + TABLES + SM4).encode()[:at] + junk + (TOP + TABLES + SM4).encode()[at + cut :],
            st.integers(0, len(TOP + TABLES + SM4)),
            st.integers(0, 40),
            st.sampled_from([b"", b"=", b"[x]", b'"', b"\x00", b"1", b"[]", b"\xff", b"true\n"]),
        ),
    )
)
@settings(max_examples=100)
def test_any_bytes_are_a_profile_or_a_profile_error(content: bytes) -> None:
    try:
        profile = parse_profile(content, HERE)
    except ProfileError:
        return
    assert profile.name
    assert profile.library.is_absolute()
