"""The simulated national platform: its page, who it knows, and the command that runs it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from typer.testing import CliRunner

from onecard_cli.__main__ import app
from simulators.national_scan import SimKeys, SimNationalScan

KEYS = SimKeys.new()
BACK = "http://127.0.0.1:8400/login/x/national/back"


def handed_over(keys: SimKeys = KEYS) -> str:
    security = keys.encrypt({"systemName": "<示例>", "returnUrl": BACK, "state": "s"})
    fields = {"_api_name": "auth_login", "_api_access_id": "a", "_api_timestamp": "20260105090000"}
    fields |= {"security": security}
    return f"/h5?{urlencode(fields | {'_api_signature': keys.sign(fields)})}"


async def test_its_page_sends_the_browser_back_with_a_signed_answer() -> None:
    sim = SimNationalScan(KEYS)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(sim.app), base_url="http://127.0.0.1") as http:
        page = await http.get(handed_over())
        assert "&lt;示例&gt;" in page.text
        back = await http.post(handed_over(), data={"esscNo": "a" * 32})
        assert back.headers["location"].startswith(f"{BACK}?")
        answer = dict(parse_qsl(urlsplit(back.headers["location"]).query))
        told = KEYS.decrypt(answer["security"])
        assert (told["esscNo"], told["state"], answer["ak"]) == ("a" * 32, "s", KEYS.access_key)
        signed = {name: answer[name] for name in ("result", "_api_timestamp", "security")}
        assert KEYS.sign(signed) == answer["_api_signature"]
        for strange in (handed_over(SimKeys.new()), "/h5", "/h5?security=x"):
            for answer in (await http.get(strange), await http.post(strange, data={"esscNo": "a" * 32})):
                assert answer.status_code == 403
        headers = {"_api_name": "qrcode_channel_encrypt", "_api_signature": "AAAA"}
        assert (await http.post("/csb", json={"security": "AAAA"}, headers=headers)).status_code == 401
        assert (await http.post("/sim/scans", json={"qrCode": "x", "esscNo": "a" * 32})).status_code == 404
        assert (await http.put("/sim/faults", json={"closed": 1})).json()["closed"] == 1
    assert KEYS.secret not in repr(KEYS)
    assert KEYS.key not in repr(KEYS)


def test_the_command_prints_settings_and_keeps_its_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ONECARD_HOME", str(tmp_path))
    monkeypatch.setattr("uvicorn.Server.run", lambda _self, sockets: [socket.close() for socket in sockets])
    file, kept = tmp_path / "national-platform.json", []
    for _ in range(2):
        result = CliRunner().invoke(app, ["sim", "national", "--port", "0", "--cipher", "aes-ecb"])
        assert result.exit_code == 0, result.output
        printed = json.loads(result.stdout)
        assert printed["ONECARD_ISSUANCE_LOGIN_NATIONAL_URL"].endswith("/csb")
        assert printed["then"].endswith(str(file))
        kept.append(file.read_text())
    assert kept[0] == kept[1]
    assert set(json.loads(kept[0])) == {"access_key", "cipher", "key", "secret"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
