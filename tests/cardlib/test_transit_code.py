"""Layout and values: every value comes back from its bytes, every other length or digit is refused."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib.spec.transit_code import code_profile, transit_code_spec
from cardlib.transit_code import (
    MAJORITY,
    Authorisation,
    IssuerCertificate,
    SignedAuthorisation,
    TransitCode,
    TransitCodeError,
    TransitCodeMalformedError,
    TransitCodeValueError,
    issuer_signed_part,
    root_signed_part,
)
from cardlib.transit_code_explain import lines
from cardlib.transit_code_issuer import authorise
from hsm.api import KeyNotFoundError, KeyRef
from simulators import wallet_code
from tests.cardlib.transit_code_stand import ISSUER, NOW, ROWS, Stand, code, keys

_ROW = re.compile(r"^\| (\d+) \| [^|]*[一-鿿][^|]* \| ([\d+… ]+) \|", re.MULTILINE)
PROFILES = st.sampled_from([code_profile("a_c"), code_profile("b")])
POINTS = st.builds(lambda mark, x: bytes([mark]) + x, st.sampled_from([2, 3]), st.binary(min_size=32, max_size=32))
SIGNATURES = st.binary(min_size=64, max_size=64)
TIMES = st.integers(946_656_000, 0xFFFFFFFF)


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=count, max_size=count)


CERTIFICATES = st.builds(
    IssuerCertificate,
    root_index=st.integers(0, 255),
    issuer=digits(8),
    expires=st.builds("{:02d}{:02d}".format, st.integers(1, 12), st.integers(0, 99)),
    serial=st.binary(min_size=3, max_size=3),
    public_key=POINTS,
    signature=SIGNATURES,
    parameter=st.binary(min_size=1, max_size=1),
)
AUTHORISATIONS = st.builds(
    Authorisation,
    certificate=CERTIFICATES,
    payment_account=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=16),
    card_account=digits(20),
    issuer=digits(8),
    platform=st.binary(min_size=4, max_size=4),
    account_type=st.integers(0, 255),
    amount_limit_fen=st.integers(0, 0xFFFFFF),
    user_key=POINTS,
    authorised_until=TIMES,
    validity_s=st.integers(0, 0xFFFF),
    custom=st.binary(max_size=32),
)
CODES = st.builds(
    TransitCode,
    authorisation=st.builds(SignedAuthorisation, fields=AUTHORISATIONS, signature=SIGNATURES),
    generated_at=TIMES,
    user_signature=SIGNATURES,
)


def test_table_has_sixteen_fields_and_the_known_lengths() -> None:
    spec = transit_code_spec()
    assert [field.number for field in spec.fields] == list(range(1, 17))
    assert (spec.min_length, spec.max_length) == (332, 364)
    assert len(root_signed_part(bytes(range(117)))) == 47
    assert root_signed_part(bytes(range(117)))[0] == 6
    assert spec.user_id == b"1234567812345678"
    assert [code_profile("b").epoch, code_profile("b").default_validity_s] == [946_656_000, 30]
    with pytest.raises(KeyError):
        code_profile("c")
    with pytest.raises(KeyError):
        spec.field("colour")


def test_page_tells_the_lengths_of_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "transit-code.md").read_text("utf-8")
    told = {int(row[0]): sum(map(int, re.findall(r"\d+(?!…)", row[1]))) for row in _ROW.findall(page)}
    spec = transit_code_spec()
    assert told == {field.number: field.length for field in spec.fields} | {13: 1 + spec.custom_max}


@given(CODES, PROFILES)
@settings(max_examples=60)
def test_every_value_comes_back(value: TransitCode, profile) -> None:
    raw = value.encode(profile)
    assert len(raw) == 332 + len(value.authorisation.fields.custom)
    assert TransitCode.parse(raw, profile) == value
    assert SignedAuthorisation.parse(raw[:-69], profile) == value.authorisation
    assert issuer_signed_part(raw, profile) == value.authorisation.fields.signed_part(profile)


@given(st.binary(max_size=400), st.integers(0, 363), PROFILES)
@settings(max_examples=100)
def test_any_bytes_are_parsed_exactly_or_refused(noise: bytes, at: int, profile) -> None:
    """Noise alone, and noise laid over a good code."""
    whole = code("custom-32")
    for raw in (noise, (whole[:at] + noise)[:364], whole[:at] + noise[:3] + whole[at + len(noise[:3]) :]):
        try:
            parsed = TransitCode.parse(raw, profile)
        except TransitCodeError:
            continue
        assert parsed.encode(profile) == raw


@pytest.mark.parametrize("name", ["plain", "custom-32", "profile-b"])
def test_every_other_length_is_refused(name: str) -> None:
    raw, profile = code(name), code_profile(ROWS[name]["profile"])
    TransitCode.parse(raw, profile)
    for length in range(len(raw)):
        with pytest.raises(TransitCodeError):
            TransitCode.parse(raw[:length], profile)
    for more in (b"\x00", b"\x00" * 32, raw):
        with pytest.raises(TransitCodeMalformedError):
            TransitCode.parse(raw + more, profile)


def test_certificate_ends_with_its_month_in_china() -> None:
    certificate = Stand().certificate(expires="1126")
    assert certificate.ends_at == 1_796_054_400  # 2026-12-01 00:00 +08
    assert replace(certificate, expires="1226").ends_at == 1_798_732_800
    for month in ("0026", "1326", "126", "ab26"):
        with pytest.raises(TransitCodeValueError):
            replace(certificate, expires=month).encode()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("payment_account", ""),
        ("payment_account", "12345678901234567"),
        ("payment_account", "账户"),
        ("card_account", "1234"),
        ("card_account", "0000990100000000123F"),
        ("issuer", "9901 0001"),
        ("platform", b"\x00" * 5),
        ("account_type", 256),
        ("account_type", "1"),
        ("amount_limit_fen", -1),
        ("amount_limit_fen", 1 << 24),
        ("user_key", b"\x04" + bytes(32)),
        ("authorised_until", 1 << 32),
        ("validity_s", 65_536),
        ("custom", bytes(33)),
    ],
)
def test_values_that_do_not_fit_are_refused_whole(field: str, value: object) -> None:
    with pytest.raises(TransitCodeValueError, match=field):
        replace(Stand().authorisation(), **{field: value}).signed_part()


def test_issuer_signs_only_with_its_own_certificate() -> None:
    stand = Stand()
    with pytest.raises(TransitCodeValueError, match="99010002"):
        stand.signed(issuer="99010002")
    other = KeyRef("TRANSIT_ISSUER", ISSUER.algorithm, version=2)
    with pytest.raises(KeyNotFoundError):
        authorise(keys(), other, stand.authorisation())
    stranger = replace(stand.authorisation().certificate, public_key=stand.authorisation().user_key)
    with pytest.raises(TransitCodeValueError, match="not of the key"):
        stand.signed(certificate=stranger)


def test_phone_signs_nothing_but_an_authorisation() -> None:
    stand = Stand()
    given = stand.signed().encode()
    assert TransitCode.parse(wallet_code.finish(given, NOW, stand.private)).generated_at == NOW
    for wrong in (b"", given[:-1], given + b"\x00", b"\x80" + given[1:], bytes(263)):
        with pytest.raises(wallet_code.WalletCodeError):
            wallet_code.finish(wrong, NOW, stand.private)
    for moment in (-1, 1 << 32):
        with pytest.raises(wallet_code.WalletCodeError, match="moment"):
            wallet_code.finish(given, moment, stand.private)


def test_explained_code_hides_the_accounts() -> None:
    value = TransitCode.parse(code("plain"))
    hidden = {line.label_en: line.value for line in lines(value, MAJORITY)}
    assert hidden["payment account"] == "************0001"
    assert hidden["card account"].endswith("***************")
    assert hidden["authorisation ends"] == "2026-11-27 08:00:00+08:00"
    shown = {line.label_en: line.value for line in lines(value, MAJORITY, show_personal=True)}
    assert shown["payment account"] == "9901202600000001"
    numbers = [
        line.label_zh[:2].strip()
        for line in lines(TransitCode.parse(code("profile-b"), code_profile("b")), code_profile("b"))
    ]
    assert [number for number in numbers if number.isdigit()][-5:] == ["12", "14", "13", "15", "16"]
