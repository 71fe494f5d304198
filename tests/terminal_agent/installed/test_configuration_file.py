"""`agent.toml`: every fault has its line and its remedy, and every value in force says where it comes from."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onecard_cli import ROOT
from terminal_agent.configuration_file import ConfigurationFileError, Source, check, load, schema
from terminal_agent.settings import AgentSettings

SHIPPED = sorted((ROOT / "deploy" / "agent").glob("*.toml"))
WRONG = """\
# a comment
profile = "booth"
alowed_origins = [
  "https://a.example",
]
port = 99999
pin_dialog_s = "a"
allowed_origins = ["https://a.example",
  "https://B.example/"]
note = '''
port = 1
'''
[[mt3_readers]]
port = "/dev/ttyUSB0"
baud = 1
[[mt3_readers]]
prt = "x"
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "agent.toml"


def test_every_fault_has_its_line(written: Path) -> None:
    written.write_text(WRONG)
    faults = check(written)
    assert [(fault.line, fault.field, fault.rule) for fault in faults] == [
        (2, "profile", "enum"),
        (3, "alowed_origins", "extra_forbidden"),
        (6, "port", "less_than_equal"),
        (7, "pin_dialog_s", "int_parsing"),
        (8, "allowed_origins.1", "value_error"),
        (10, "note", "extra_forbidden_far"),
        (15, "mt3_readers.0.baud", "greater_than_equal"),
        (16, "mt3_readers.1.port", "missing"),
        (17, "mt3_readers.1.prt", "extra_forbidden_far"),
    ]
    assert "allowed_origins" in faults[1].remedy_zh
    assert all(fault.text_zh and fault.text_en and fault.remedy_zh and fault.remedy_en for fault in faults)


def test_a_rule_over_two_settings_names_the_first(written: Path) -> None:
    written.write_text('\ncatalog_url = "https://a.example"\n')
    (fault,) = check(written)
    assert (fault.line, fault.field) == (2, "catalog_url")


@pytest.mark.parametrize("value", ["[" * 20_000, "9" * 5_000])
def test_values_that_no_parser_takes(written: Path, value: str) -> None:
    written.write_text(f"port = {value}")
    assert [(fault.line, fault.rule) for fault in check(written)] == [(0, "syntax")]


def test_a_mark_of_an_editor_is_no_fault(written: Path) -> None:
    written.write_text('profile = "kiosk"\nport = -1\n', encoding="utf-8-sig")
    assert [(fault.line, fault.field) for fault in check(written)] == [(2, "port")]


def test_no_toml_and_no_file(written: Path, tmp_path: Path) -> None:
    written.write_text("port = 1\nport = 2\nx")
    assert [(fault.line, fault.rule) for fault in check(written)] == [(2, "syntax")]
    written.write_text("port = 1\nws_port = [")
    assert [(fault.line, fault.rule) for fault in check(written)] == [(2, "syntax")]
    assert [fault.rule for fault in check(tmp_path / "none.toml")] == ["unreadable"]


@settings(max_examples=80)
@given(raw=st.one_of(st.binary(max_size=200), st.text(alphabet='pors_t =1[]{}"\n.#é', max_size=80).map(str.encode)))
def test_any_bytes_are_checked(raw: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(raw)
    try:
        is_toml = isinstance(tomllib.loads(raw.decode()), dict)
    except ValueError:
        is_toml = False
    faults = check(file)
    assert is_toml or faults
    assert all(0 <= fault.line <= raw.count(b"\n") + 1 for fault in faults)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_profiles_are_right(file: Path) -> None:
    assert check(file) == []
    assert load(file, {}).settings.profile == file.stem


def test_there_are_three_profiles() -> None:
    assert [file.stem for file in SHIPPED] == ["counter", "kiosk", "transit"]


def test_options_win_over_environment_and_environment_over_file(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written.write_text('port = 1001\nws_port = 1002\nwait_for_card_s = 9\nstate_dir = "kept"\n')
    monkeypatch.setenv("ONECARD_AGENT_PORT", "2001")
    monkeypatch.setenv("ONECARD_AGENT_WS_PORT", "2002")
    found = load(written, {"port": 3001})
    assert (found.settings.port, found.settings.ws_port, found.settings.wait_for_card_s) == (3001, 2002, 9)
    assert found.settings.state_dir == written.parent / "kept"
    names = ("port", "ws_port", "wait_for_card_s", "profile")
    assert [found.sources[name] for name in names] == [
        Source.OPTION,
        Source.ENVIRONMENT,
        Source.FILE,
        Source.DEFAULT,
    ]


def test_what_the_centre_signed_is_laid_over(written: Path) -> None:
    written.write_text('state_dir = "."\ncatalog_url = "https://a.example"\npin_dialog_s = 60\nscanner = "/dev/a"\n')
    signed = {"pin_dialog_s": 30, "allowed_origins": ["https://hall.example"]}
    kept = {"format": "terminal-configuration-1", "settings": signed}
    (written.parent / "configuration-counter.json").write_text(json.dumps(kept))
    found = load(written, {})
    assert (found.settings.pin_dialog_s, found.sources["pin_dialog_s"]) == (30, Source.CENTRE)
    assert (found.settings.scanner, found.sources["scanner"]) == ("/dev/a", Source.FILE)


def test_environment_that_is_wrong_stops_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONECARD_AGENT_ALLOWED_ORIGINS", "[")
    with pytest.raises(ConfigurationFileError):
        load(None, {})


def test_the_published_schema_is_this_programs() -> None:
    published = json.loads((ROOT / "docs" / "agent-config.schema.json").read_text(encoding="utf-8"))
    assert published == json.loads(json.dumps(schema()))
    assert published["properties"].keys() - {"$schema"} == AgentSettings.model_fields.keys()
