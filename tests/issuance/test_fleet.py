"""Terminals as machines: a code registers one terminal once, heartbeats are kept small, orders reach the terminal."""

from __future__ import annotations

import base64
import io
import zipfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from cardlib.client_auth import ClientKey
from cardlib.terminal_state import CODE_LETTERS, MAX_DIAGNOSIS_BYTES, normal_code, proof_text, shown_code
from issuance.supervision.measures import Measures
from issuance.supervision.rules import Measure
from issuance.terminals.fleet_models import InvitationRow
from issuance.terminals.fleet_repository import HISTORY
from issuance.unit import system_unit
from terminal_agent.registration import FOLDER, AlreadyRegisteredError, register
from tests.issuance.conftest import REGION, Centre, both_engines, ok, refused

ELSEWHERE = "130000"
KIOSK = {"region": REGION, "profile": "kiosk", "name": "示例网点自助机", "hours": 2}
JOURNAL = {"state": "sent", "waiting": 0, "oldest_s": None}


async def invited(centre: Centre, **change: Any) -> str:
    code: str = ok(await centre.as_("operator").post("/v1/terminals/invitations", json=KIOSK | change), 201)["code"]
    return normal_code(code)


async def registered(centre: Centre, code: str, key: ClientKey, *, proof: str = "") -> httpx.Response:
    jwk = key.public_jwk()
    body = {"code": code, "public_jwk": jwk, "proof": proof or key.sign(proof_text(code, jwk)).hex()}
    return await centre.anyone().post("/v1/terminals/registrations", json=body)


def beat(centre: Centre, **change: Any) -> dict[str, Any]:
    return {
        "sent_at": centre.clock().isoformat(),
        "version": "0.1.0",
        "api_level": 2,
        "profile": "kiosk",
        "device_number": "OC1",
        "up_s": 1,
        "journal": JOURNAL,
    } | change


async def heard(centre: Centre, **change: Any) -> dict[str, Any]:
    answer: dict[str, Any] = ok(
        await centre.as_("terminal").post("/v1/terminals/heartbeats", json=beat(centre, **change))
    )
    return answer


async def account(centre: Centre, terminal: str = "terminal") -> dict[str, Any]:
    found: dict[str, Any] = ok(await centre.as_("operator").get(f"/v1/terminals/{terminal}"))
    return found


async def measured(centre: Centre, measure: Measure) -> dict[str, float]:
    async with system_unit(centre.app.state.services) as unit:
        rows = await Measures(unit).take(measure)
    return {row.subject: row.value for row in rows}


@both_engines
async def test_a_code_registers_one_terminal_once(centre: Centre) -> None:
    code, key, other = await invited(centre), ClientKey.generate("new"), ClientKey.generate("new")
    told = ok(await registered(centre, code, key), 201)
    assert (told["profile"], told["region"]) == ("kiosk", REGION)
    assert ok(await registered(centre, code, key), 201) == told  # the answer was lost
    refused(await registered(centre, code, other), "TERMINAL_CODE_INVALID", 403)
    assert await measured(centre, Measure.TERMINAL_CODES_AGAIN) == {f"region:{REGION}": 1}
    entries = ok(await centre.as_("operator").get("/v1/audit"))
    (entry,) = [entry for entry in entries if entry["act"] == "terminal.code_again"]
    assert entry["detail"] == {"terminal": told["client_id"]}
    name = told["client_id"]
    centre.client_keys[name] = ClientKey(name, key._key)
    assert ok(await centre.as_(name).post("/v1/terminals/heartbeats", json=beat(centre)))["lock"] is None
    assert (await account(centre, name))["terminal"]["state"] == "ok"


async def test_codes_end_and_are_not_kept(centre: Centre) -> None:
    code = await invited(centre)
    async with system_unit(centre.app.state.services) as unit:
        (row,) = await unit.session.scalars(select(InvitationRow))
        kept = b"".join(str(getattr(row, column.name)).encode() for column in InvitationRow.__table__.columns)
    assert code.encode() not in kept
    centre.clock.advance(2 * 3600)
    refused(await registered(centre, code, ClientKey.generate("new")), "TERMINAL_CODE_INVALID", 403)
    refused(await registered(centre, "A" * 12, ClientKey.generate("new")), "TERMINAL_CODE_INVALID", 403)


async def test_the_key_must_be_there(centre: Centre) -> None:
    """A proof of another key, or for another code, spends nothing."""
    code, key, other = await invited(centre), ClientKey.generate("new"), ClientKey.generate("new")
    for proof in (
        other.sign(proof_text(code, key.public_jwk())),
        key.sign(proof_text("A" * 12, key.public_jwk())),
        key.sign(proof_text(code, other.public_jwk())),
    ):
        refused(await registered(centre, code, key, proof=proof.hex()), "INPUT_INVALID", 422)
    ok(await registered(centre, code, key), 201)


async def test_guessing_is_slowed_down(centre: Centre) -> None:
    for _ in range(10):
        refused(await registered(centre, "A" * 12, ClientKey.generate("new")), "TERMINAL_CODE_INVALID", 403)
    refused(await registered(centre, await invited(centre), ClientKey.generate("new")), "REQUEST_LIMIT", 429)
    centre.clock.advance(61)
    ok(await registered(centre, await invited(centre), ClientKey.generate("new")), 201)


async def test_regions_are_kept_apart(centre: Centre) -> None:
    await heard(centre)
    await centre.register("hebei", ("operator",), ELSEWHERE)
    hebei = centre.as_("hebei")
    refused(await hebei.post("/v1/terminals/invitations", json=KIOSK), "CLIENT_FORBIDDEN", 403)
    refused(await hebei.post("/v1/terminals/invitations", json=KIOSK | {"region": None}), "CLIENT_FORBIDDEN", 403)
    assert ok(await hebei.get("/v1/terminals/states")) == []
    order = {"reason": "r", "contact": "c"}
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/diagnosis", None),
        ("POST", "/lock", order),
        ("POST", "/unlock", None),
        ("POST", "/diagnosis-orders", None),
    ):
        answer = await hebei.request(method, f"/v1/terminals/terminal{path}", json=body)
        refused(answer, "NOT_FOUND", 404)


async def test_heartbeats_are_one_row_and_changes_a_short_history(centre: Centre) -> None:
    for _ in range(3):
        await heard(centre)
    assert [one["state"] for one in (await account(centre))["history"]] == ["ok"]
    for number in range(HISTORY + 5):
        centre.clock.advance(60)
        await heard(centre, failures=["READER_LOST"] if number % 2 else [])
    lost = {"kind": "mt3_reader", "port": "/dev/ttyUSB0", "state": "lost", "failure": "READER_NOT_FOUND"}
    centre.clock.advance(60)
    await heard(centre, devices=[lost], sent_at=(centre.clock() + timedelta(seconds=7)).isoformat())
    told = await account(centre)
    assert len(told["history"]) == HISTORY
    assert told["history"][0]["failures"] == told["terminal"]["failures"] == ["READER_NOT_FOUND"]
    assert (told["terminal"]["state"], told["terminal"]["clock_error_s"]) == ("trouble", 7)


async def test_a_newer_terminal_is_heard(centre: Centre) -> None:
    """And what it says besides is kept nowhere; people's orders are read strictly as ever."""
    later = {"door": "open"}
    device = {"kind": "door", "port": "gpio", "state": "ready", "failure": None}
    await heard(centre, journal=JOURNAL | later, devices=[device | later], supplies={"hopper": 3} | later, **later)
    told = (await account(centre))["heartbeat"]
    assert (told["devices"], told["supplies"]["hopper"]) == ([device], 3)
    assert "door" not in told.keys() | told["journal"].keys() | told["supplies"].keys()
    order = {"reason": "r", "contact": "c"} | later
    lock = "/v1/terminals/terminal/lock"
    refused(await centre.as_("operator").post(lock, json=order), "INPUT_INVALID", 422)
    for hidden in ("a\x00b", "a\u202eb", "a\nb"):
        answer = await centre.as_("operator").post(lock, json={"reason": hidden, "contact": "c"})
        assert refused(answer, "INPUT_INVALID", 422)["fields"][0]["reason"] == "hidden_characters"


async def test_silence_is_seen_unless_it_was_told(centre: Centre) -> None:
    await heard(centre)
    centre.clock.advance(601)
    (row,) = ok(await centre.as_("operator").get("/v1/terminals/states"))
    assert row["state"] == "silent"
    assert sum((await measured(centre, Measure.TERMINALS_SILENT)).values()) == 1
    await heard(centre, is_stopping=True)
    centre.clock.advance(601)
    assert await measured(centre, Measure.TERMINALS_SILENT) == {}
    assert (await account(centre))["terminal"]["state"] == "off"


async def test_orders_reach_the_terminal(centre: Centre) -> None:
    await heard(centre)
    operator = centre.as_("operator")
    lock = {"reason": "机器移机", "contact": "示例市社保中心 12333"}
    ok(await operator.post("/v1/terminals/terminal/lock", json=lock))
    assert (await heard(centre))["lock"] == lock
    await heard(centre, is_locked=True)
    assert (await account(centre))["terminal"]["state"] == "locked"
    ok(await operator.post("/v1/terminals/terminal/unlock"))
    order = ok(await operator.post("/v1/terminals/terminal/diagnosis-orders"))["order"]
    assert ok(await operator.post("/v1/terminals/terminal/diagnosis-orders"))["order"] == order
    told = await heard(centre)
    assert (told["lock"], told["diagnosis"]) == (None, order)

    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as file:
        file.writestr("a.json", "{}")
    terminal, upload = centre.as_("terminal"), {"order": order, "content": base64.b64encode(bundle.getvalue()).decode()}
    refused(await terminal.post("/v1/terminals/diagnoses", json=upload | {"order": "0" * 32}), "NOT_FOUND", 404)
    large = base64.b64encode(bundle.getvalue() + bytes(MAX_DIAGNOSIS_BYTES)).decode()
    for content in ("AAAA", large):
        refused(
            await terminal.post("/v1/terminals/diagnoses", json=upload | {"content": content}), "INPUT_INVALID", 422
        )
    ok(await terminal.post("/v1/terminals/diagnoses", json=upload))
    refused(await terminal.post("/v1/terminals/diagnoses", json=upload), "NOT_FOUND", 404)
    answer = await operator.get("/v1/terminals/terminal/diagnosis")
    assert (answer.content, answer.headers["Content-Type"]) == (bundle.getvalue(), "application/zip")
    assert (await heard(centre))["diagnosis"] is None


@settings(max_examples=60)
@given(st.text(alphabet=CODE_LETTERS, min_size=12, max_size=12))
def test_codes_survive_being_read_aloud(code: str) -> None:
    assert normal_code(f" {shown_code(code).lower()} ") == code


@settings(max_examples=60)
@given(st.text(max_size=20))
def test_any_text_is_a_code_or_none(text: str) -> None:
    with suppress(ValueError):
        assert set(normal_code(text)) <= set(CODE_LETTERS)


class Answers(httpx.BaseTransport):
    """A centre that hears a request and whose answer may be lost."""

    def __init__(self, *answers: httpx.Response | None) -> None:
        self.answers = list(answers)
        self.heard: list[bytes] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.heard.append(request.read())
        answer = self.answers.pop(0)
        if answer is None:
            raise httpx.ReadTimeout("lost")
        return answer


def test_a_terminal_registers_whole_or_not_at_all(tmp_path: Path) -> None:
    told = {"client_id": "t-1", "audience": "centre", "device_number": "OC1", "profile": "kiosk", "region": REGION}
    centre = Answers(None, httpx.Response(200, json=told | {"catalog_root": '{"signed": 1}'}))
    with pytest.raises(Exception, match="ReadTimeout"):
        register("https://centre.example/", "K7QM-2XWP-9RTA", tmp_path, transport=centre)
    assert not (tmp_path / FOLDER).exists()
    register("https://centre.example/", "k7qm 2xwp 9rta", tmp_path, transport=centre)
    assert centre.heard[0] == centre.heard[1]  # the same key asked again
    key = ClientKey.load(tmp_path / FOLDER / "client.json")
    assert (key.client_id, key.audience) == ("t-1", "centre")
    assert b'"d"' not in centre.heard[0]
    from terminal_agent.configuration_file import Source, load

    found = load(None, {"state_dir": tmp_path})
    assert (found.settings.issuance_url, found.settings.profile) == ("https://centre.example", "kiosk")
    assert found.settings.catalog_root is not None
    assert found.settings.catalog_root.read_text() == '{"signed": 1}'
    assert found.sources["client_key"] is Source.REGISTRATION
    with pytest.raises(AlreadyRegisteredError):
        register("https://centre.example/", "K7QM-2XWP-9RTA", tmp_path, transport=centre)


async def test_what_a_kiosk_is_short_of_is_measured(centre: Centre) -> None:
    """Of kiosks that are on; one that says nothing of its stock is short of nothing."""
    measures = (Measure.KIOSK_CARDS, Measure.KIOSK_RIBBON, Measure.KIOSK_PAPER, Measure.KIOSK_FAULTS)

    async def all_of() -> list[float | None]:
        return [
            (await measured(centre, one)).get("terminal:terminal") for one in (*measures, Measure.KIOSK_HELP_MINUTES)
        ]

    await heard(centre)
    assert await all_of() == [None, None, 0, 0, 0]
    supplies = {"hopper": 3, "ribbon": 15, "paper": "out"}
    faults = ["PRINTER_JAM", "PRINTER_RIBBON_LOW", "READER_LOST"]
    await heard(centre, supplies=supplies, failures=faults, help_wanted_s=90)
    assert await all_of() == [3, 15, 1, 1, 1.5]
    centre.clock.advance(601)
    assert await all_of() == [None] * 5, "silent: that alert is raised instead"
    await heard(centre, supplies=supplies, is_stopping=True)
    assert await all_of() == [None] * 5
    refused(
        await centre.as_("terminal").post("/v1/terminals/heartbeats", json=beat(centre, supplies={"hopper": -1})),
        "INPUT_INVALID",
        422,
    )
