"""Kiosks and command lines: a code on their screen, the log-in in a browser elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from authlib.integrations.base_client import OAuthError

from issuance.audit.refusals import MinuteLimit
from issuance.login.relying_parties import DEVICE_GRANT
from issuance.login.seam import Refused
from tests.issuance.conftest import both_engines, ok
from tests.issuance.relying_parties.stand import CALLBACK, ISSUER, Stand, failed
from tests.issuance.relying_parties.test_flows import push


@pytest.fixture
async def kiosks(stand: Stand) -> Stand:
    for client_id in ("kiosk", "other"):
        grants = [DEVICE_GRANT, "refresh_token"]
        await stand.register(client_id, auth_method="none", grant_types=grants, scopes=["openid", "profile"])
    return stand


async def begin(stand: Stand) -> dict[str, Any]:
    body = {"client_id": "kiosk", "scope": "openid profile"}
    begun: dict[str, Any] = ok(await stand.browser().post("/oidc/device/authorize", data=body))
    return begun


async def poll(stand: Stand, begun: dict[str, Any], client_id: str = "kiosk") -> httpx.Response:
    body = {"grant_type": DEVICE_GRANT, "device_code": begun["device_code"], "client_id": client_id}
    return await stand.browser().post("/oidc/token", data=body)


async def type_code(stand: Stand, text: str) -> httpx.Response:
    return await stand.browser().post("/oidc/device", data={"user_code": text})


@both_engines
async def test_a_device_logs_in(kiosks: Stand) -> None:
    begun = await begin(kiosks)
    assert (begun["verification_uri"], begun["interval"]) == (f"{ISSUER}/oidc/device", 5)
    failed(await poll(kiosks, begun), "authorization_pending")
    page = await kiosks.browser().get(begun["verification_uri_complete"])
    assert f'value="{begun["user_code"]}"' in page.text
    login = await type_code(kiosks, begun["user_code"].lower().replace("-", " "))
    assert await kiosks.approved(login, kiosks.subject("name")) == f"{ISSUER}/oidc/device/done"
    kiosks.centre.clock.advance(5)
    endpoint = kiosks.discovery["token_endpoint"]
    async with kiosks.client("kiosk", token_endpoint_auth_method="none") as client:
        token = await client.fetch_token(endpoint, grant_type=DEVICE_GRANT, device_code=begun["device_code"])
        assert (await kiosks.claims(token["id_token"]))["aud"] == "kiosk"
        assert ok(await kiosks.user_info(token["access_token"]))["name"] == "测试一"
        with pytest.raises(OAuthError, match="invalid_grant"):
            await client.fetch_token(endpoint, grant_type=DEVICE_GRANT, device_code=begun["device_code"])
    assert (await kiosks.user_info(token["access_token"])).status_code == 401, "used twice ends the log-in"


async def test_a_device_that_asks_too_often(kiosks: Stand) -> None:
    begun = await begin(kiosks)
    failed(await poll(kiosks, begun), "authorization_pending")
    kiosks.centre.clock.advance(4)
    failed(await poll(kiosks, begun), "slow_down")
    kiosks.centre.clock.advance(9)
    failed(await poll(kiosks, begun), "slow_down")
    kiosks.centre.clock.advance(15)
    failed(await poll(kiosks, begun), "authorization_pending")


async def test_a_device_that_waits_too_long(kiosks: Stand) -> None:
    begun = await begin(kiosks)
    login = await type_code(kiosks, begun["user_code"])
    await kiosks.approved(login)
    kiosks.centre.clock.advance(601)
    failed(await poll(kiosks, begun), "expired_token")
    late = await begin(kiosks)
    kiosks.centre.clock.advance(601)
    assert (await type_code(kiosks, late["user_code"])).status_code == 400


async def test_a_device_whose_holder_refuses(kiosks: Stand) -> None:
    begun = await begin(kiosks)
    await kiosks.approved(await type_code(kiosks, begun["user_code"]), Refused())
    failed(await poll(kiosks, begun), "access_denied")


@both_engines
async def test_a_user_code_opens_one_log_in(kiosks: Stand) -> None:
    begun = await begin(kiosks)
    answers = await asyncio.gather(*(type_code(kiosks, begun["user_code"]) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [303, 400, 400]


async def test_of_two_that_ask_for_the_tokens_one_gets_them(kiosks: Stand) -> None:
    begun = await begin(kiosks)
    await kiosks.approved(await type_code(kiosks, begun["user_code"]))
    answers = await asyncio.gather(*(poll(kiosks, begun) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    token = next(answer for answer in answers if answer.status_code == 200).json()["access_token"]
    assert (await kiosks.user_info(token)).status_code == 401


async def test_devices_are_the_clients_own(kiosks: Stand) -> None:
    begun = await begin(kiosks)
    failed(await poll(kiosks, begun, "other"), "invalid_grant")
    failed(await poll(kiosks, {"device_code": "x"}), "invalid_grant")
    failed(await poll(kiosks, {"device_code": ""}), "invalid_request")
    hall = ("hall", kiosks.secrets["hall"] or "")
    failed(
        await kiosks.browser().post("/oidc/device/authorize", data={"scope": "openid"}, auth=hall),
        "unauthorized_client",
    )
    body = {"client_id": "kiosk", "scope": "profile"}
    failed(await kiosks.browser().post("/oidc/device/authorize", data=body), "invalid_scope")
    assert (await type_code(kiosks, "BBBB-BBBB")).status_code == 400
    redirected = await kiosks.authorize(kiosks.asked(client_id="kiosk", redirect_uri=CALLBACK))
    assert redirected.status_code == 400, "no way back is registered"


async def test_guessing_user_codes_is_limited(kiosks: Stand) -> None:
    """Whoever names a public client has rows made, by a pushed request too; those with a secret are not anybody."""
    await kiosks.register("page", auth_method="none", redirect_uris=[CALLBACK])
    kiosks.services.login_limits.of_network = MinuteLimit(2)
    statuses = [(await type_code(kiosks, "BBBB-BBBB")).status_code for _ in range(3)]
    assert statuses == [400, 400, 503]
    for _ in range(2):
        await begin(kiosks)
    send = kiosks.browser().post
    failed(
        await send("/oidc/device/authorize", data={"client_id": "kiosk", "scope": "openid"}),
        "temporarily_unavailable",
        503,
    )
    failed(await send("/oidc/par", data=kiosks.asked(client_id="page")), "temporarily_unavailable", 503)
    ok(await push(kiosks, **kiosks.asked()), 201)
    kiosks.centre.clock.advance(60)
    ok(await send("/oidc/par", data=kiosks.asked(client_id="page")), 201)
