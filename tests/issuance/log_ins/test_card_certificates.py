"""Certificates as bytes from outside: whole, or refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib.pki_certificate import CertificateError
from hsm.primitives import default_engine
from issuance.login.card_certificates import CardCertificates
from simulators.certificate_authority import CertificateAuthority, pem

NOW = datetime(2026, 1, 5, 1, 0, tzinfo=UTC)
AUTHORITY = CertificateAuthority.new("模拟发证机构", NOW)
CERTIFICATE = AUTHORITY.certificate(
    default_engine().sm2_generate()[1], "A10000023", "9" * 32, NOW, NOW + timedelta(days=1)
)


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> CardCertificates:
    anchors = tmp_path_factory.mktemp("offices") / "offices.pem"
    anchors.write_text(pem("CERTIFICATE", AUTHORITY.root()), encoding="ascii")
    return CardCertificates(anchors)


@settings(max_examples=80)
@given(
    st.binary(max_size=80)
    | st.integers(0, len(CERTIFICATE) - 1).map(lambda cut: CERTIFICATE[:cut])
    | st.binary(min_size=1, max_size=4).map(lambda tail: CERTIFICATE + tail)
    | st.tuples(st.integers(0, len(CERTIFICATE) - 1), st.integers(1, 255)).map(
        lambda change: (
            CERTIFICATE[: change[0]] + bytes((CERTIFICATE[change[0]] ^ change[1],)) + CERTIFICATE[change[0] + 1 :]
        )
    )
)
def test_nothing_but_the_certificate_itself_counts(trusted: CardCertificates, raw: bytes) -> None:
    assert trusted.identity(CERTIFICATE, NOW).card_number == "A10000023"
    with pytest.raises(CertificateError):
        trusted.identity(raw, NOW)


@pytest.mark.parametrize("content", ["", "no certificate", pem("CERTIFICATE", b"0\x03abc")])
def test_a_file_without_offices_trusts_nobody(tmp_path: Path, content: str) -> None:
    anchors = tmp_path / "offices.pem"
    anchors.write_text(content, encoding="ascii")
    with pytest.raises(CertificateError):
        CardCertificates(anchors).identity(CERTIFICATE, NOW)
    with pytest.raises(CertificateError):
        CardCertificates(None).identity(CERTIFICATE, NOW)


def test_an_office_that_renewed_its_own_certificate(tmp_path: Path) -> None:
    """By the same key and under the same name; the one before stays on the list for a while."""
    over = replace(AUTHORITY, since=(NOW - timedelta(days=365 * 21)).isoformat())
    anchors = tmp_path / "offices.pem"
    anchors.write_text("".join(pem("CERTIFICATE", office.root()) for office in (over, AUTHORITY)), encoding="ascii")
    assert CardCertificates(anchors).identity(CERTIFICATE, NOW).card_number == "A10000023"
    anchors.write_text(pem("CERTIFICATE", over.root()), encoding="ascii")
    with pytest.raises(CertificateError):
        CardCertificates(anchors).identity(CERTIFICATE, NOW)


def test_lists_that_do_not_tell_everything(trusted: CardCertificates, tmp_path: Path) -> None:
    """A list of changes alone (RFC 5280, 5.2.4) is none, and neither is a file that is not there."""
    lists, until = tmp_path / "revoked.pem", NOW + timedelta(days=7)
    checking = CardCertificates(trusted.anchors, lists)
    for content in (None, pem("X509 CRL", AUTHORITY.revocations(NOW, until, base=1))):
        if content is not None:
            lists.write_text(content, encoding="ascii")
        with pytest.raises(CertificateError):
            checking.identity(CERTIFICATE, NOW)
    lists.write_text(pem("X509 CRL", AUTHORITY.revocations(NOW, until)), encoding="ascii")
    assert checking.identity(CERTIFICATE, NOW).card_number == "A10000023"
