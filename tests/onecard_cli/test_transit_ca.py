"""`onecard ecard ca` and `onecard ecard gate`: from a root to a gate that opens once, and what neither may do."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cardlib.transit_code import CHINA, Authorisation, IssuerCertificate
from cardlib.transit_code_anchors import TrustAnchors
from cardlib.transit_code_issuer import authorise
from hsm.primitives import compress, default_engine
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from onecard_cli.__main__ import app
from onecard_cli.doctor import CHECKS
from onecard_cli.home import Home
from onecard_cli.key_office import KeyOffice, key_ref
from onecard_cli.transit_ca import ensure_demo_issuer
from onecard_ui.code_picture import picture_of
from simulators import wallet_code
from tests.onecard_cli import ceremony_home

YEAR = datetime.now(CHINA).year
MMYY = f"12{YEAR % 100 + 1:02d}"
ROOT = ("init", "--name", "test root", "--not-after", f"{YEAR + 9}-12-31")
CERTIFICATE = ("issue", "--issuer", "99010001", "--expires", MMYY)
PASSPHRASE = "correct horse battery"


@dataclass
class Place:
    home: Home

    def run(self, *words: str, typed: str = "", **environment: str) -> Any:
        known = {"ONECARD_PASSPHRASE": PASSPHRASE, **environment, "ONECARD_HOME": str(self.home.path)}
        return CliRunner().invoke(app, ["ecard", *words], input=typed, env=known)

    def ca(self, *words: str) -> str:
        result = self.run("ca", *words)
        assert result.exit_code == 0, result.output
        return str(result.stdout)

    def refused(self, failure: str, *words: str) -> None:
        result = self.run("ca", *words)
        assert (result.exit_code, f"[{failure}]" in result.output) == (1, True), result.output

    def roots(self) -> Path:
        file = self.home.path / "roots.json"
        self.ca("anchors", "--out", str(file))
        return file

    def code(self, certificate: IssuerCertificate, key: str, **changes: Any) -> bytes:
        """Of a phone that this issuer authorised, made now."""
        private, point = default_engine().sm2_generate()
        asked = Authorisation(
            certificate=certificate,
            payment_account="9901202600000001",
            card_account="00009901000000001234",
            issuer=certificate.issuer,
            platform=bytes(4),
            account_type=1,
            amount_limit_fen=2000,
            user_key=compress(point),
            authorised_until=int(time.time()) + 600,
            validity_s=60,
        )
        with SoftKeyService.open(self.home.key_store, PASSPHRASE) as keys:
            signed = authorise(keys, key_ref(key), asked).encode()
        return wallet_code.finish(signed, int(time.time()), changes.get("private", private))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    home = Home.at(tmp_path / "home")
    SoftKeyService.create(home.key_store, PASSPHRASE, cost=ScryptCost(n=1 << 4)).close()
    return Place(home)


def test_from_a_root_to_a_gate_that_opens_once(place: Place, tmp_path: Path) -> None:
    place.ca(*ROOT)
    issued = json.loads(place.ca(*CERTIFICATE, "--use", "--json"))
    assert (issued["root"], issued["serial"], issued["key"]) == (1, "000001", "TRANSIT_ISSUER/SM2/v1")
    certificate = IssuerCertificate.parse(place.home.transit_certificate.read_bytes())
    code, other = (place.code(certificate, issued["key"]) for _ in range(2))
    stolen = place.code(certificate, issued["key"], private=default_engine().sm2_generate()[0])
    gate = ("gate", "--anchors", str(place.roots()), "--used", str(tmp_path / "used.db"), "--json")
    lines = "\n".join((code.hex(), code.hex(), stolen.hex(), code.hex()[:-2], "no hex", ""))
    said = place.run(*gate, typed=lines)
    assert [json.loads(line)["failure"] for line in said.stdout.splitlines()] == [
        None,
        "TRANSIT_CODE_DUPLICATE",
        "TRANSIT_CODE_USER_FORGED",
        "TRANSIT_CODE_MALFORMED",
        "TRANSIT_CODE_MALFORMED",
    ]
    assert said.exit_code == 1
    pictures = [tmp_path / "used.png", tmp_path / "new.png"]
    for file, content in zip(pictures, (code, other), strict=True):
        file.write_bytes(picture_of(content).png(200))
    said = place.run(*gate[:-1], *map(str, pictures))
    assert "不放行 / refused" in said.stdout.splitlines()[0]
    assert "[TRANSIT_CODE_DUPLICATE]" in said.stdout.splitlines()[0], "the file remembers what another run accepted"
    assert "放行 / open" in said.stdout.splitlines()[1]
    expensive = place.code(certificate, issued["key"]).hex()
    assert "[TRANSIT_CODE_AMOUNT]" in place.run(*gate[:-1], "--amount", "2001", typed=expensive).stdout
    assert place.run("gate", "--anchors", str(place.roots()), typed="").exit_code == 0


def test_roots_and_certificates_are_given_once_and_in_their_term(place: Place, tmp_path: Path) -> None:
    place.refused("NOT_FOUND", *CERTIFICATE)
    place.refused("NOT_FOUND", "anchors", "--out", str(tmp_path / "none.json"))
    place.ca(*ROOT)
    place.refused("CONFLICT", *ROOT)
    place.refused("INPUT_INVALID", "init", "--index", "2", "--name", "over", "--not-after", "2020-01-01")
    place.ca(*CERTIFICATE, "--serial", "9")
    place.refused("CONFLICT", *CERTIFICATE, "--serial", "9")
    place.refused("INPUT_INVALID", *CERTIFICATE[:-1], "0120")
    place.refused("INPUT_INVALID", *CERTIFICATE[:-1], f"01{(YEAR + 10) % 100}")
    place.refused("INPUT_INVALID", *CERTIFICATE[:-1], "1328")
    out = tmp_path / "certificate"
    assert "00000A" in place.ca(*CERTIFICATE, "--out", str(out))
    place.refused("CONFLICT", *CERTIFICATE, "--out", str(out))
    listed = json.loads(place.ca("list", "--json"))
    assert [root["index"] for root in listed["roots"]] == [1]
    assert [issued["serial"] for issued in listed["certificates"]] == ["000009", "00000A"]
    assert "TRANSIT_ROOT/SM2/v1" in place.ca("list")


def test_another_issuers_key_and_a_certificate_looked_at(place: Place, tmp_path: Path) -> None:
    place.ca(*ROOT)
    _, point = default_engine().sm2_generate()
    theirs, out = tmp_path / "theirs.bin", tmp_path / "theirs.cer"
    theirs.write_bytes(point)
    options = ("--public-key", str(theirs), "--out", str(out))
    place.ca("issue", "--issuer", "99020001", "--expires", MMYY, *options)
    place.refused("INPUT_INVALID", *CERTIFICATE, "--public-key", point.hex(), "--use")
    place.refused("INPUT_INVALID", *CERTIFICATE, "--public-key", "04" + "11" * 64)
    roots = place.roots()
    assert "99020001" in place.ca("show", str(out), "--anchors", str(roots))
    shown = json.loads(place.ca("show", out.read_bytes().hex(), "--json"))
    assert (shown["ok"], len(shown["fields"])) == (True, 13)
    forged = bytearray(out.read_bytes())
    forged[10] ^= 1
    place.refused("TRANSIT_CODE_ISSUER_FORGED", "show", forged.hex())
    place.refused("TRANSIT_CODE_MALFORMED", "show", "00")
    listed = json.loads(place.ca("list", "--json"))
    assert [issued["key"] for issued in listed["certificates"]] == [""]


def test_a_new_root_and_a_new_key_beside_the_old_ones(place: Place, tmp_path: Path) -> None:
    place.ca(*ROOT)
    first = json.loads(place.ca(*CERTIFICATE, "--json"))
    place.ca("init", "--index", "2", "--name", "second", "--not-after", f"{YEAR + 19}-12-31")
    second = json.loads(place.ca(*CERTIFICATE, "--new-key", "--json"))
    assert (second["root"], second["key"]) == (2, "TRANSIT_ISSUER/SM2/v2")
    assert [anchor.index for anchor in TrustAnchors.parse(place.roots().read_bytes())] == [1, 2]
    codes = [
        place.code(IssuerCertificate.parse(bytes.fromhex(each["certificate"])), each["key"]).hex()
        for each in (first, second)
    ]
    said = place.run("gate", "--anchors", str(place.roots()), typed="\n".join(codes))
    assert said.stdout.count("放行 / open") == 2, said.output
    with SoftKeyService.open(place.home.key_store, PASSPHRASE) as keys:
        keys.destroy(key_ref("TRANSIT_ROOT/SM2/v1"))
    said = place.run("gate", "--anchors", str(place.roots()), "--json", typed=codes[0])
    assert json.loads(said.stdout)["failure"] == "TRANSIT_CODE_ROOT_UNKNOWN"
    place.refused("CONFLICT", *ROOT)
    clash = place.home.path / "roots.json"
    place.refused("TRANSIT_ANCHORS_INVALID", "anchors", "--add", str(clash), "--out", str(tmp_path / "all.json"))


def test_a_store_with_officers_wants_two_of_them(tmp_path: Path) -> None:
    place = Place(Home.at(ceremony_home.ceremony_home(tmp_path)))
    place.refused("OFFICERS_NEEDED", *ROOT)
    two = ceremony_home.passphrases("甲", "乙")
    assert place.run("ca", *ROOT, *ceremony_home.TWO, **two).exit_code == 0
    place.refused("OFFICERS_NEEDED", *CERTIFICATE)
    assert place.run("ca", *CERTIFICATE, *ceremony_home.TWO, **two).exit_code == 0
    acts = [act for act in ceremony_home.told(place.home.path, "log")["acts"] if act["act"].startswith("transit")]
    assert [(act["act"], act["result"]) for act in acts] == [
        ("transit root", "refused"),
        ("transit root", "begun"),
        ("transit root", "done"),
        ("transit certificate", "refused"),
        ("transit certificate", "begun"),
        ("transit certificate", "done"),
    ]
    assert acts[-1]["who"] == ["甲", "乙"]
    with place.home.open_store(place.home.key_store, PASSPHRASE) as keys:
        ensure_demo_issuer(KeyOffice(place.home, keys), int(time.time()))
    assert not place.home.transit_certificate.exists()


def test_the_demo_has_an_issuer_from_its_first_start_and_keeps_it(place: Place) -> None:
    with SoftKeyService.open(place.home.key_store, PASSPHRASE) as keys:
        office = KeyOffice(place.home, keys)
        ensure_demo_issuer(office, int(time.time()))
        made = place.home.transit_certificate.read_bytes()
        ensure_demo_issuer(office, int(time.time()))
    assert place.home.transit_certificate.read_bytes() == made
    assert "99010001" in place.ca(
        "show", str(place.home.transit_certificate), "--anchors", str(place.home.transit_roots)
    )


def test_a_book_that_was_changed_is_not_gone_on_with(place: Place) -> None:
    place.ca(*ROOT)
    book = place.home.transit_book
    for content in ("{", "[]", "{}", book.read_text("utf-8").replace("transit-ca-1", "transit-ca-2")):
        book.write_text(content, "utf-8")
        place.refused("KEY_STORE_CORRUPT", *CERTIFICATE)
    assert book.read_text("utf-8") == content


@pytest.mark.parametrize(("expires", "ok", "remedy"), [(MMYY, True, ""), ("0120", False, "ca issue --use")])
def test_the_doctor_looks_at_the_term(
    place: Place, monkeypatch: pytest.MonkeyPatch, expires: str, ok: bool, remedy: str
) -> None:
    monkeypatch.setenv("ONECARD_HOME", str(place.home.path))
    place.ca(*ROOT)
    place.ca(*CERTIFICATE, "--use")
    old = IssuerCertificate.parse(place.home.transit_certificate.read_bytes())
    place.home.transit_certificate.write_bytes(replace(old, expires=expires).encode())
    (finding,) = dict(CHECKS)["乘车码证书 / transit certificate"]("certificate")
    assert (finding.ok, remedy in finding.remedy) == (ok, True)
    place.home.transit_certificate.unlink()
    (finding,) = dict(CHECKS)["乘车码证书 / transit certificate"]("certificate")
    assert finding.ok
