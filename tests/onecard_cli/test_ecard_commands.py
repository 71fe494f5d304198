"""`onecard ecard code verify`: every field and check, from a file or hex, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onecard_cli.__main__ import app

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "vectors_transit_code.json").read_text("utf-8"))
CODES = {row["id"]: row["code"] for row in VECTORS["vectors"]}
AT = ("--at", "2026-11-20T08:00:00")


@pytest.fixture
def anchors(tmp_path: Path) -> str:
    file = tmp_path / "roots.json"
    file.write_text(json.dumps(VECTORS["anchors"]))
    return str(file)


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["ecard", "code", "verify", *words])
    return result.exit_code, result.output


@pytest.mark.parametrize("form", ["hex", "hex file", "file"])
def test_good_code_passes_every_check(form: str, anchors: str, tmp_path: Path) -> None:
    word = CODES["custom-32"]
    if form != "hex":
        file = tmp_path / "code"
        file.write_bytes(bytes.fromhex(word) if form == "file" else (word + "\n").encode())
        word = str(file)
    status, said = run(word, "--anchors", anchors, *AT, "--amount", "2000")
    assert status == 0
    assert said.count("✓") == 13
    assert "✗" not in said
    assert "9901202600000001" not in said
    assert "************0001" in said


def test_bad_code_names_every_fault_and_the_remedy(anchors: str) -> None:
    status, said = run(CODES["certificate-self-signed"], "--anchors", anchors, "--at", "2026-11-20T00:02:00Z")
    assert status == 1
    assert "✗ 根对证书签名" in said
    assert "TRANSIT_CODE_EXPIRED 70 s ago" in said
    assert "– 未使用过" in said
    assert "[TRANSIT_CODE_ISSUER_FORGED]" in said


def test_programs_get_the_same_as_json(anchors: str) -> None:
    status, said = run(CODES["profile-b"], "--anchors", anchors, *AT, "--profile", "b", "--json", "--show-personal")
    told = json.loads(said)
    assert (status, told["ok"], told["failure"], len(told["checks"])) == (0, True, None, 13)
    assert {"field": "4 支付账户号", "field_en": "payment account", "value": "9901202600000001"} in told["fields"]
    status, said = run(CODES["profile-b"], "--anchors", anchors, *AT, "--json")
    told = json.loads(said)
    assert (status, told["failure"], told["fields"]) == (1, "TRANSIT_CODE_MALFORMED", [])
    assert [check["result"] for check in told["checks"]] == ["failed"]


@pytest.mark.parametrize("words", [("zz",), ("00", "--at", "yesterday")])
def test_what_cannot_be_read_is_said(words: tuple[str, ...], anchors: str) -> None:
    status, said = run(*words, "--anchors", anchors)
    assert status == 1
    assert "INPUT_INVALID" in said


def test_a_list_of_roots_with_an_error_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "roots.json").write_text("{}")
    status, said = run(CODES["plain"], "--anchors", str(tmp_path / "roots.json"), *AT)
    assert status == 1
    assert "TRANSIT_ANCHORS_INVALID" in said
    status, said = run(CODES["plain"], "--anchors", str(tmp_path / "none.json"), *AT)
    assert (status, "INPUT_INVALID" in said) == (1, True)
