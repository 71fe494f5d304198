"""The three small files a centre publishes for its terminals, and the updater's patience."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apps_catalog.distribution.held import Held
from cardlib.client_auth import ClientKey
from terminal_agent.catalog.configuration import (
    LIVE,
    CentreSettings,
    Configuration,
    ConfigurationError,
    keep,
    with_kept,
)
from terminal_agent.catalog.contents import ContentError, check_role
from terminal_agent.catalog.releases import Releases, ReleasesError, UpdateState, judge
from terminal_agent.catalog.updater import Report, Updater, _auth_of
from terminal_agent.settings import AgentSettings
from tests.cardlib.transit_code_stand import vector_anchors
from tests.terminal_agent.catalog.conftest import RELEASES, as_json, configuration

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from([*CentreSettings.model_fields, "colour"])


def release(**changes: Any) -> bytes:
    return as_json(RELEASES | {"levels": {"2": RELEASES["levels"]["2"] | changes}})  # type: ignore[index]


@given(st.binary(max_size=64) | st.dictionaries(NAMES, JSON, max_size=3).map(lambda given: configuration(**given)))
@hypothesis_settings(max_examples=80)
def test_a_configuration_is_used_whole_or_refused(raw: bytes) -> None:
    try:
        parsed = Configuration.parse(raw)
    except ConfigurationError:
        return
    given_names = json.loads(raw)["settings"].keys()
    assert parsed.settings.model_fields_set | set(parsed.unknown) == given_names
    assert AgentSettings(**parsed.at_start()).model_fields_set.isdisjoint(LIVE)


@pytest.mark.parametrize(
    "raw",
    [
        configuration(pin_dialog_s=4),
        configuration(allowed_origins=["https://a.example/"]),
        configuration(batch_timeout_s=float("inf")),
        configuration()[:-1] + b', "settings": {}}',
        as_json({"format": "terminal-configuration-2", "settings": {}}),
        b" " * (1 << 17),
    ],
)
def test_configurations_that_cannot_be(raw: bytes) -> None:
    with pytest.raises(ConfigurationError):
        Configuration.parse(raw)


@given(st.binary(max_size=64) | JSON.map(as_json) | JSON.map(lambda levels: as_json(RELEASES | {"levels": levels})))
@hypothesis_settings(max_examples=60)
def test_no_bytes_end_a_terminal_that_reads_a_manifest(raw: bytes) -> None:
    with pytest.raises(ReleasesError):
        Releases.parse(raw)


@pytest.mark.parametrize(
    ("running", "state"),
    [
        ("0.0.9", UpdateState.REQUIRED),
        ("0.1.0", UpdateState.AVAILABLE),
        ("0.10.0", UpdateState.CURRENT),
        ("0.9.0.dev4", UpdateState.CURRENT),
    ],
)
def test_update_states(running: str, state: UpdateState) -> None:
    assert judge(Releases.parse(as_json(RELEASES)).levels["2"], running) is state


@pytest.mark.parametrize(
    ("role", "files", "told"),
    [
        ("terminal-configuration", {"counter.json": configuration(colour="blue")}, "no setting colour"),
        ("terminal-configuration", {"Counter.json": configuration()}, "no file Counter.json; there are counter.json"),
        ("agent-updates", {"manifest.json": release(minimum="1.0.0")}, "minimum is above newest"),
        ("agent-updates", {"manifest.json": release(newest="1.0")}, "levels.2.newest"),
        ("trust-anchors", {"transit-codes.json": b"{}"}, "transit-anchors-1"),
    ],
)
def test_nothing_is_signed_that_terminals_could_not_use(role: str, files: dict[str, bytes], told: str) -> None:
    with pytest.raises(ContentError, match=told):
        check_role(role, files)


def test_what_may_be_signed() -> None:
    check_role("agent-updates", {"manifest.json": release()})
    check_role("trust-anchors", {"transit-codes.json": vector_anchors().encode()})
    check_role("terminal-configuration", {f"{name}.json": configuration() for name in ("counter", "kiosk", "transit")})


def settings(tmp_path: Path, **changes: Any) -> AgentSettings:
    return AgentSettings(**{"state_dir": tmp_path, "catalog_url": "https://a.example/v1/distribution"} | changes)


def test_a_kept_configuration_that_was_torn_counts_as_none(tmp_path: Path) -> None:
    made = settings(tmp_path)
    keep(made, Configuration.parse(configuration(pin_dialog_s=33)))
    assert with_kept(made).pin_dialog_s == 33
    (file,) = tmp_path.glob("configuration-counter.json")
    file.write_bytes(file.read_bytes()[:20])
    assert with_kept(made) == made


def test_only_the_centre_is_shown_a_signature(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    ClientKey.generate("terminal-1").save(key)
    for centre, is_signed in (
        ("https://a.example", True),
        ("https://a.example:8443", False),
        ("http://a.example", False),
        ("https://a.example.net", False),
    ):
        made = settings(tmp_path, client_key=key, issuance_url=centre)
        assert (_auth_of(made) is not None) is is_signed
    assert _auth_of(settings(tmp_path, issuance_url="https://a.example")) is None


def test_terminals_switched_on_together_do_not_ask_together(tmp_path: Path) -> None:
    def first_wait(age_s: float, chance: float) -> float:
        updater = Updater(settings(tmp_path, catalog_interval_s=300), reports.append, chance=lambda: chance)
        now = datetime.now(UTC)
        updater._held = Held(tmp_path, now + timedelta(days=1), now - timedelta(seconds=age_s))
        return round(updater._first_wait_s())

    reports: list[Report] = []
    assert Updater(settings(tmp_path), reports.append)._first_wait_s() == 0
    assert [first_wait(86_400, chance) for chance in (0.0, 0.5, 1.0)] == [0, 15, 30]
    assert [first_wait(100, chance) for chance in (0.0, 1.0)] == [200, 230]
    assert first_wait(-86_400, 0.0) == 300  # its clock was set back


def test_what_is_fetched_needs_a_place() -> None:
    with pytest.raises(ValueError, match="state_dir"):
        AgentSettings(catalog_url="https://a.example")
