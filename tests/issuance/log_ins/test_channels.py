"""Systems that speak the field's scan log-in: getQrCode and verifyQrCode, as their programs have them, and attacks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.issuance.codes.partner import Partner
from tests.issuance.conftest import ok, refused
from tests.issuance.log_ins.stand import AGENT, LogIns

CHANNEL_NO, ACCESS_NO = "1000000001", "2000000001"
GRANT = "urn:onecard:params:grant-type:channel"
PENDING = ("700", {"status": "open"})
OVER = ("700", {"status": "over", "code": "LOGIN_CLOSED"})


@dataclass
class LegacySystem:
    """The business system between its page and the platform. `session` is what its page's session keeps."""

    bus: Partner
    numbers: dict[str, str] = field(
        default_factory=lambda: {"channelNo": CHANNEL_NO, "accessNo": ACCESS_NO, "systemName": "某某系统"}
    )
    session: dict[str, str] = field(default_factory=dict)

    async def get_qr_code(self, **more: str) -> str:
        answer = ok(await self.bus.ask(self.numbers | more, _api_name="qrcode_channel_encrypt"))
        assert answer["msgCode"] == "000000"
        self.session = self.bus.decrypt(answer["result"]["encrypt"])
        return self.session["qrCode"]

    def question(self, **change: str) -> dict[str, str]:
        return self.numbers | {name: self.session[name] for name in ("qrCode", "binding")} | change

    async def verify_qr_code(self) -> tuple[str, dict[str, str]]:
        """A second after whatever was before."""
        self.bus.centre.clock.advance(1)
        answer = ok(await self.bus.ask(self.question(), _api_name="qrcode_channel_query_encrypt"))
        return answer["msgCode"], self.bus.decrypt(answer["result"]["encrypt"])

    async def refused(self, failure: str, status: int, **change: str) -> None:
        refused(await self.bus.ask(self.question(**change), _api_name="qrcode_channel_query_encrypt"), failure, status)


async def channel(log_ins: LogIns, name: str = "hall", cipher: str = "aes-ecb", **change: Any) -> LegacySystem:
    operator = log_ins.centre.as_("operator")
    scopes = change.pop("scopes", ["openid", "profile", "social_security"])
    party = {"id": name, "name": "示例社保大厅", "grant_types": [GRANT], "auth_method": "none", "scopes": scopes}
    ok(await operator.post("/v1/relying-parties", json=party), 201)
    numbers = {"channel_no": CHANNEL_NO, "access_no": ACCESS_NO} | change
    told = ok(await operator.post(f"/v1/relying-parties/{name}/channel", json=numbers | {"cipher": cipher}), 201)
    keys = {name: told[name] for name in ("cipher", "access_key", "key", "secret")}
    system = LegacySystem(Partner(log_ins.centre, **keys))
    system.numbers |= {"channelNo": numbers["channel_no"], "accessNo": numbers["access_no"]}
    return system


async def approve(log_ins: LogIns, system: LegacySystem) -> dict[str, Any]:
    asked: dict[str, Any] = ok(await log_ins.scan(system.session["qrCode"].partition("#")[2]), 201)
    ok(await log_ins.approve(asked, int(system.session["checkNumber"])))
    return asked


@pytest.mark.parametrize("cipher", ["aes-ecb", "sm4-cbc"])
async def test_a_log_in_as_the_field_has_it(log_ins: LogIns, cipher: str) -> None:
    system = await channel(log_ins, cipher=cipher)
    assert (await system.get_qr_code(clientIp="203.0.113.7", userAgent=AGENT)).startswith("http://127.0.0.1:8400/login")
    assert await system.verify_qr_code() == PENDING
    asked = await approve(log_ins, system)
    assert (asked["name"], asked["network"], asked["agent"]) == ("示例社保大厅", "203.0.113.*", "Chrome, Windows")
    assert [item["name"] for item in asked["items"]] == ["name", "social_security_number", "essc_no"]
    code, told = await system.verify_qr_code()
    assert (code, told["esscNo"], told["aac003"], told["aac002"][:6]) == (
        *("000000", log_ins.phone.ecard_no, "测试一", "990100"),
    )
    assert await system.verify_qr_code() == OVER  # once
    stored = log_ins.centre.store.stored()
    assert system.session["binding"].partition(".")[2].encode() not in stored
    assert bytes.fromhex(system.bus.key) not in stored
    ((detail,),) = log_ins.centre.store.sql("SELECT detail FROM audit_entries WHERE act = 'login.channel'")
    assert "990100" not in json.dumps(detail)


async def test_only_what_it_is_registered_for(log_ins: LogIns) -> None:
    system = await channel(log_ins, scopes=["openid", "profile"])
    await system.get_qr_code()
    asked = await approve(log_ins, system)
    assert (asked["network"], asked["agent"]) == ("", "")
    assert await system.verify_qr_code() == ("000000", {"esscNo": log_ins.phone.ecard_no, "aac003": "测试一"})


async def test_where_a_browser_is_must_be_an_address(log_ins: LogIns) -> None:
    """What is none is on no deny list, and all of them would count as one network."""
    system = await channel(log_ins)
    for wrong in ("somewhere", "203.0.113.7, 198.51.100.2", "203.0.113.7:443"):
        asked = system.numbers | {"clientIp": wrong}
        refused(await system.bus.ask(asked, _api_name="qrcode_channel_encrypt"), "INPUT_INVALID", 400)
    await system.get_qr_code(clientIp="::ffff:203.0.113.7", userAgent=f"{AGENT} {'x' * 2000}")
    asked = await approve(log_ins, system)
    assert (asked["network"], asked["agent"]) == ("203.0.113.*", "Chrome, Windows")


async def test_the_ends_of_a_code(log_ins: LogIns) -> None:
    system = await channel(log_ins)
    await system.get_qr_code()
    log_ins.centre.clock.advance(59)
    assert await system.verify_qr_code() == OVER
    await system.get_qr_code()
    asked = ok(await log_ins.scan(system.session["qrCode"].partition("#")[2]), 201)
    log_ins.centre.clock.advance(61)
    assert await system.verify_qr_code() == ("700", {"status": "claimed"})
    ok(await log_ins.phone.post(f"log-ins/{asked['id']}/refuse"))
    assert await system.verify_qr_code() == ("700", {"status": "refused", "code": "LOGIN_CLOSED"})
    await system.get_qr_code()
    await approve(log_ins, system)
    log_ins.centre.store.sql("UPDATE cards SET state = '2'")
    log_ins.centre.store.sql("UPDATE ecards SET state = 'suspended'")
    await system.refused("ECARD_NOT_USABLE", 409)


async def test_attacks_on_the_poll(log_ins: LogIns) -> None:
    """Each is refused while the approved log-in waits, and its own system still gets it afterwards."""
    system, other = await channel(log_ins), await channel(log_ins, "other", channel_no="1000000002")
    await system.get_qr_code()
    await other.get_qr_code()
    await approve(log_ins, system)
    bus, question = system.bus, system.question()
    unbound = {name: value for name, value in question.items() if name != "binding"}
    refused(await bus.ask(unbound, _api_name="qrcode_channel_query_encrypt"), "INPUT_INVALID", 400)
    login_id = system.session["binding"][:32]
    await system.refused("NOT_FOUND", 404, binding=f"{login_id}.{'A' * 43}")
    await system.refused("NOT_FOUND", 404, binding=other.session["binding"])
    await system.refused("NOT_FOUND", 404, qrCode=other.session["qrCode"])
    await system.refused("NOT_FOUND", 404, qrCode=system.session["qrCode"][:-1] + "A")
    stolen = {name: system.session[name] for name in ("qrCode", "binding")}
    await other.refused("NOT_FOUND", 404, **stolen)
    await other.refused("CLIENT_FORBIDDEN", 403, **stolen, channelNo=CHANNEL_NO)
    assert (await log_ins.centre.anyone().get("/ecard/v1/bus", params=question)).status_code == 405
    async with log_ins.browser() as browser:  # the binding is no cookie
        cookie = {"Cookie": f"__Host-onecard-login={system.session['binding'].partition('.')[2]}"}
        assert (await browser.get(f"/login/{login_id}", headers=cookie)).status_code == 404
    entries = log_ins.centre.store.sql("SELECT actor FROM audit_entries WHERE outcome = 'NOT_FOUND'")
    assert sorted(actor for (actor,) in entries) == ["hall"] * 4 + ["other"]
    assert (await system.verify_qr_code())[0] == "000000"


async def test_attacks_on_the_envelope(log_ins: LogIns) -> None:
    system = await channel(log_ins)
    await system.get_qr_code()
    await approve(log_ins, system)
    bus = system.bus
    security = bus.encrypt(json.dumps(system.question()).encode())
    name = "qrcode_channel_query_encrypt"
    for stamp_s in (-61, 61):
        stamp = str(round((log_ins.centre.clock().timestamp() + stamp_s) * 1000))
        stale = bus.headers(security, _api_name=name, _api_timestamp=stamp)
        refused(await bus.send(security, stale), "REQUEST_EXPIRED", 401)
    good = bus.headers(security, _api_name=name)
    forged = good | {"_api_name": "qrcode_channel_encrypt"}
    refused(await bus.send(security, forged), "CLIENT_UNKNOWN", 401)
    ok(await bus.send(security, good))
    refused(await bus.send(security, good), "REQUEST_REPLAYED", 409)
    codes = bus.headers(security, _api_name="qrcode_valid_encrypt")
    refused(await bus.send(security, codes), "CLIENT_UNKNOWN", 401)  # its keys are good for log-ins alone


async def test_who_may_speak_it(log_ins: LogIns) -> None:
    operator, path = log_ins.centre.as_("operator"), "/v1/relying-parties/{}/channel"
    system = await channel(log_ins)
    body = {"channel_no": CHANNEL_NO, "access_no": ACCESS_NO}
    others = body | {"channel_no": "1000000003"}
    refused(await operator.post(path.format("jobs"), json=others), "CONFLICT", 409)  # registered for OpenID Connect
    refused(await operator.post(path.format("nobody"), json=body), "NOT_FOUND", 404)
    with pytest.raises(AssertionError, match="another channel has these numbers"):
        await channel(log_ins, "twin")
    await log_ins.centre.register("tianjin", ("operator",), "120000")
    refused(await log_ins.centre.as_("tianjin").post(path.format("hall"), json=body), "NOT_FOUND", 404)
    refused(await log_ins.centre.as_("tianjin").delete(path.format("hall")), "NOT_FOUND", 404)
    ok(await operator.post("/v1/relying-parties/hall/suspend"))
    refused(await system.bus.ask(system.numbers, _api_name="qrcode_channel_encrypt"), "CLIENT_UNKNOWN", 401)
    assert (await operator.delete(path.format("hall"))).status_code == 204
    assert log_ins.centre.store.sql("SELECT * FROM login_channels") == []
