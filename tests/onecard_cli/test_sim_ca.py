"""`onecard sim ca`: what it writes on a card is what the centre accepts, until it is revoked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import apdu.pcsc
from apdu.inprocess import DEFAULT_READERS, InProcessReaders
from cardlib.pki import PkiSession
from cardlib.pki_certificate import CertificateError
from issuance.login.card_certificates import CardCertificates
from onecard_cli.__main__ import app
from simulators.card import SimCard
from simulators.factory import build_card
from simulators.personas import load
from tests.cardlib.transit import Reader
from tests.simulators.support import vector_roots


def run(*words: str, code: int = 0, typed: str = "") -> Any:
    result = CliRunner().invoke(app, ["sim", "ca", *words], input=typed)
    assert result.exit_code == code, result.output
    return json.loads(result.output) if code == 0 else result.output


def test_certify_and_revoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONECARD_HOME", str(tmp_path / "home"))
    readers = InProcessReaders()
    chip = SimCard(build_card(load("adult-3.0"), vector_roots()))
    readers.insert(DEFAULT_READERS[0], chip)
    monkeypatch.setattr(apdu.pcsc, "PcscReaders", lambda: readers)
    assert "PIN_WRONG" in run("certify", code=1, typed="00000000\n")
    told = run("certify", typed="88888888\n")
    assert told["card"] == "A1000****"
    assert run("settings").items() <= told.items()
    session = PkiSession(Reader(chip))
    session.open()
    written, now = session.read_certificate(), datetime.now(UTC)
    paths = [Path(path) for path in run("settings").values()]
    identity = CardCertificates(*paths).identity(written, now)
    assert (identity.card_number, identity.public) == ("A10000023", session.public_key())
    assert identity.identification_code == "990100D15600000503000001FFFFFFFF"
    assert run("revoke", "A10000023") == {"ok": True, "revoked": 1}
    with pytest.raises(CertificateError, match="revoked"):
        CardCertificates(*paths).identity(written, now)
    assert "NOT_FOUND" in run("revoke", "A10000024", code=1)
    assert (tmp_path / "home/card-authority/authority.json").stat().st_mode & 0o077 == 0
