"""The terminal as a machine: what it tells, what it obeys, and what never leaves it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import string
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib.client_auth import ClientKey
from cardlib.terminal_state import DiagnosisUpload, Heartbeat, Lock, Orders, Received
from terminal_agent import heartbeat
from terminal_agent.app import create_app
from terminal_agent.centre import CentreUnreachableError
from terminal_agent.hub import EventHub
from terminal_agent.lock import TerminalLock, TerminalLockedError
from terminal_agent.redaction import LogRing, line_of
from terminal_agent.settings import AgentSettings, Profile
from tests.terminal_agent.stand import BASE, READER, ScriptedCard, ScriptedCentre, client_of, readers_with

LOCK = Lock(reason="机器移机", contact="示例市社保中心 12333")
NOW = "2026-01-05T01:00:00Z"


class Centre(ScriptedCentre):
    """Gives the orders it has next, or is away."""

    def __init__(self, *orders: Orders | None) -> None:
        super().__init__()
        self.orders = list(orders)
        self.beats: list[Heartbeat] = []
        self.bundles: list[DiagnosisUpload] = []

    async def send_heartbeat(self, beat: Heartbeat) -> Orders:
        self.beats.append(beat)
        order = self.orders.pop(0) if self.orders else Orders(now=beat.sent_at)
        if order is None:
            raise CentreUnreachableError("away")
        return order

    async def send_diagnosis(self, upload: DiagnosisUpload) -> Received:
        self.bundles.append(upload)
        return Received()


def orders(**change: Any) -> Orders:
    return Orders.model_validate({"now": NOW} | change)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AgentSettings:
    """Beats when the test says so."""
    monkeypatch.setattr(heartbeat, "FIRST_S", 3600)
    ClientKey.generate("t-1").save(tmp_path / "key.json")
    return AgentSettings(
        state_dir=tmp_path / "state", client_key=tmp_path / "key.json", heartbeat_s=3600, profile=Profile.KIOSK
    )


def _secret(own: AgentSettings) -> str:
    assert own.client_key is not None
    return str(json.loads(own.client_key.read_text())["key"]["d"])


def application(own: AgentSettings, centre: Centre) -> Any:
    return create_app(own, readers_with(ScriptedCard()), issuance=centre)


async def test_what_a_heartbeat_says(own: AgentSettings) -> None:
    centre = Centre(None)
    app = application(own, centre)
    async with client_of(app):
        agent = app.state.agent
        agent.hub.publish("session_done", {"failure": {"code": "CARD_REMOVED"}})
        agent.hub.publish("device_lost", {"failure": "READER_LOST"})
        agent.hub.publish("session_done", {"failure": {"code": "测试甲 990100199001010012"}})
        await asyncio.sleep(0)
        await agent.heart.beat()  # nobody hears it
        await agent.heart.beat()
        await agent.heart.beat()
    said = [list(beat.failures) for beat in centre.beats[:3]]
    assert said == [["READER_LOST", "CARD_REMOVED", "PSAM_ABSENT"]] * 2 + [["PSAM_ABSENT"]]  # a kiosk that has none
    beat = centre.beats[0]
    assert (beat.profile, beat.readers, beat.journal.state, beat.is_locked) == ("kiosk", 1, "none", False)
    assert [beat.is_stopping for beat in centre.beats] == [False] * 3 + [True]


async def test_a_locked_terminal_touches_no_card(own: AgentSettings) -> None:
    """Also after a restart without a network; it is told who to call, and its page is."""
    centre = Centre(orders(lock=LOCK))
    for is_first in (True, False):
        app = application(own, centre)
        async with client_of(app) as client:
            if is_first:
                await app.state.agent.heart.beat()
            path = f"/v1/readers/{READER}/basic-information"
            answer = await client.post(path, json={})
            assert (answer.status_code, answer.json()["code"]) == (503, "TERMINAL_LOCKED")
            assert answer.json()["lock"] == LOCK.model_dump()
            session = {"kind": "initialization", "reader": READER, "region": "110000", "generation": "3.0"}
            assert (await client.post("/v1/card-sessions", json=session)).json()["code"] == "TERMINAL_LOCKED"
            assert (await client.post("/v1/id-card/read", json={})).json()["code"] == "TERMINAL_LOCKED"
            assert (await client.get("/v1/info")).json()["lock"] == LOCK.model_dump()
        centre.orders.append(None)
    app = application(own, centre)
    async with client_of(app) as client:
        centre.orders[:] = [orders()]
        await app.state.agent.heart.beat()
        assert (await client.post(path, json={})).json().get("code") != "TERMINAL_LOCKED"


def test_a_damaged_lock_locks(tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text("{")
    with pytest.raises(TerminalLockedError):
        TerminalLock(EventHub(), tmp_path / "lock.json").demand_open()


async def test_a_new_configuration_is_fetched(own: AgentSettings) -> None:
    app = application(own, Centre(*(orders(configuration_epoch=epoch) for epoch in (3, 3, 4))))
    fetched: list[int] = []
    async with client_of(app):
        agent = app.state.agent
        agent.catalog.wake = lambda: fetched.append(1)
        for expected in (0, 0, 1):
            await agent.heart.beat()
            assert len(fetched) == expected


async def test_a_diagnosis_is_sent_once_and_pages_get_none(own: AgentSettings) -> None:
    centre = Centre(orders(diagnosis="ab" * 16), orders(diagnosis="ab" * 16))
    app = application(own, centre)
    async with client_of(app) as client:
        logging.getLogger("terminal_agent").warning("read %s of %s", "990100199001010012", "测试甲")
        await app.state.agent.heart.beat()
        await app.state.agent.heart.beat()
        (upload,) = centre.bundles
        local = (await client.get("/diagnosis.zip")).content
        assert (await client.get("/diagnosis.zip", headers={"Origin": BASE})).status_code == 403
    assert upload.order == "ab" * 16
    with zipfile.ZipFile(io.BytesIO(local)) as file:
        texts = {name: file.read(name).decode() for name in file.namelist()}
    assert texts.keys() == {
        "about.json", "heartbeat.json", "settings.json", "readers.json", "journal.json", "log.txt"
    }  # fmt: skip
    assert "read … of …" in texts["log.txt"]
    assert json.loads(texts["settings.json"])["client_key"].endswith("key.json")
    secret = _secret(own)
    assert all(word not in text for text in texts.values() for word in (secret, "990100199001010012", "测试甲"))


def _record(message: str, args: tuple[Any, ...], error: Exception | None = None) -> str:
    trail = (type(error), error, None) if error is not None else None
    return line_of(logging.LogRecord("terminal_agent", logging.INFO, "", 1, message, args, trail))


NUMBERS = st.one_of(
    st.from_regex(r"[1-9][0-9]{16}[0-9X]", fullmatch=True),
    st.from_regex(r"[A-Z][0-9]{8}", fullmatch=True),
    st.from_regex(r"[0-9A-F]{32}", fullmatch=True).filter(lambda text: sum(map(str.isdigit, text)) >= 6),
    st.from_regex(r"[0-9]{6} [0-9]{8} [0-9]{3}[0-9X]", fullmatch=True),
)
NAMES = st.text(alphabet=st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=2, max_size=4)
PERSONAL = st.one_of(NUMBERS, NAMES)
AROUND = st.text(alphabet=string.ascii_letters + " :,=(", max_size=8)


@settings(max_examples=100)
@given(secret=PERSONAL, before=AROUND, after=AROUND)
def test_nothing_planted_in_the_logs_comes_out(secret: str, before: str, after: str) -> None:
    planted = [
        _record(before.replace("%", "") + secret + after, ()),
        _record("read %s", (f"{before}{secret}{after}",)),
        _record("read %r and %(no)s", ({"name": secret},)),
        _record("%s", (ValueError(secret),)),
        _record("failed", (), ValueError(secret)),
    ]
    if secret.isdigit():
        planted.append(_record("number %d", (int(secret),)))
    assert all(secret not in line and secret.replace(" ", "") not in line for line in planted)


@settings(max_examples=60)
@given(name=st.from_regex(r"[A-Z][a-z]{1,8} [A-Z][a-z]{1,8}", fullmatch=True))
def test_latin_names_given_as_arguments_do_not_come_out(name: str) -> None:
    assert name not in _record("read %s", (name,))


def test_what_helps_stays() -> None:
    line = _record("%s lost after %d s: %s", ("/dev/ttyUSB0", 20, "READER_LOST"))
    assert line.endswith("INFO terminal_agent /dev/ttyUSB0 lost after 20 s: READER_LOST")
    ring = LogRing()
    for number in range(300):
        ring.handle(logging.LogRecord("x", logging.INFO, "", 1, "n %d", (number,), None))
    assert (len(ring.lines), ring.lines[-1][-5:]) == (200, "n 299")
