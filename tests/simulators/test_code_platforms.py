"""The simulated platforms of other codes: a code is told once, to the centre that signs, in the form of its family."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from cardlib.city_code import CityCode
from cardlib.client_auth import ClientAuth, ClientKey
from onecard_cli.__main__ import app
from simulators.code_platforms import FAMILIES, LIFE_S, SimCodePlatforms

KEY = ClientKey.generate("code-platforms")
ESSC_NO = "a" * 32


def platforms(now: list[float]) -> SimCodePlatforms:
    return SimCodePlatforms(KEY.public_jwk(), KEY.audience, clock=lambda: now[0])


def test_a_code_is_told_once_while_it_lives() -> None:
    now = [1_767_574_800.0]
    sim = platforms(now)
    for family in FAMILIES:
        code = sim.show(family, ESSC_NO)
        other = next(name for name in FAMILIES if name != family)
        assert sim.translate(other, code) == {"outcome": "unknown"}
        assert sim.translate(family, code) == {"outcome": "holder", "essc_no": ESSC_NO}
        assert sim.translate(family, code) == {"outcome": "used"}
        late = sim.show(family, ESSC_NO)
        now[0] += LIFE_S
        assert sim.translate(family, late) == {"outcome": "expired"}
    with pytest.raises(ValueError, match="no family"):
        sim.show("railway", ESSC_NO)


@pytest.mark.parametrize("kind", ["person", "organisation", "thing"])
def test_its_city_codes_are_city_codes(kind: str) -> None:
    code = CityCode.parse(platforms([1_767_574_800.0]).show("city", ESSC_NO, kind=kind))
    assert code.kind is not None
    assert (code.kind.name, code.generated, code.validity_s) == (kind, 1_767_574_800, LIFE_S)


async def test_strangers_and_nonsense_are_refused() -> None:
    sim = SimCodePlatforms(KEY.public_jwk(), KEY.audience)
    question: dict[str, Any] = {"request_id": "0" * 32, "family": "medical", "code": "x", "scene": "identity"}
    path = "/medical/v1/translations"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(sim.app), base_url="http://127.0.0.1") as http:
        assert (await http.post(path, json=question)).status_code == 401
        stranger = ClientAuth(ClientKey.generate("code-platforms"))
        assert (await http.post(path, json=question, auth=stranger)).status_code == 401
        auth = ClientAuth(KEY)
        assert (await http.post("/city/v1/translations", json=question, auth=auth)).status_code == 400
        assert (await http.post(path, content=b"[", auth=auth)).status_code == 400
        assert (await http.post(path, json=question, auth=auth)).json()["outcome"] == "refused", "no business type"
        asked = question | {"business_type": "01101"}
        assert (await http.post(path, json=asked, auth=auth)).json()["outcome"] == "unknown"
        assert (await http.post("/sim/codes", json={"family": "city", "essc_no": ESSC_NO})).status_code == 201
        for wrong in ({"family": "city"}, {"family": "x", "essc_no": ESSC_NO}, {"family": "city", "essc_no": "A" * 32}):
            assert (await http.post("/sim/codes", json=wrong)).status_code == 400
        assert (await http.put("/sim/faults", json={"closed": 1})).json()["closed"] == 1


def test_the_command_prints_settings_that_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("ONECARD_HOME", str(tmp_path))
    monkeypatch.setattr("uvicorn.Server.run", lambda _self, sockets: [socket.close() for socket in sockets])
    result = CliRunner().invoke(app, ["sim", "codes", "--port", "0", "--fault", "silent=1"])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert set(json.loads(printed["ONECARD_ISSUANCE_CODE_PLATFORMS"])) == set(FAMILIES)
    assert ClientKey.load(printed["ONECARD_ISSUANCE_CODE_PLATFORMS_KEY_PATH"]).client_id == "code-platforms"
    assert CliRunner().invoke(app, ["sim", "codes", "--fault", "fire=1"]).exit_code != 0
