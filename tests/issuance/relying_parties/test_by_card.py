"""Log-ins of a card without an electronic one: tokens, what ends them, and the strength a relying party asks for."""

from __future__ import annotations

from pathlib import Path

from issuance.login.seam import ACR_CARD, Subject
from tests.issuance.conftest import ok
from tests.issuance.relying_parties.stand import ISSUER, Stand, failed, query_of


def by_card(stand: Stand) -> Subject:
    return Subject(
        card_number=stand.phone.card_number,
        acr=ACR_CARD,
        amr=("sc", "pin"),
        auth_time=stand.centre.clock(),
        claims=frozenset({"name"}),
    )


async def test_tokens_of_a_card_count_as_long_as_the_card_does(stand: Stand) -> None:
    verifier = "v" * 43
    login = await stand.authorize(stand.asked(verifier, scope="openid profile"))
    code = query_of(await stand.approved(login, by_card(stand)))["code"]
    tokens = ok(await stand.exchange(code, verifier))
    claims = await stand.claims(tokens["id_token"])
    assert (claims["acr"], claims["amr"]) == (ACR_CARD, ["sc", "pin"])
    scanned = await stand.claims((await stand.log_in())["id_token"])
    assert scanned["sub"] == claims["sub"], "one person, however known"
    told = ok(await stand.user_info(tokens["access_token"]))
    assert (told["acr"], "*" in told["name"]) == (ACR_CARD, False)
    later = ok(await stand.refresh(tokens["refresh_token"]))
    stand.centre.store.sql("UPDATE cards SET expiry_date = '2026-01-04'")
    assert (await stand.user_info(later["access_token"])).status_code == 401
    stand.centre.store.sql("UPDATE cards SET expiry_date = '2026-01-05'")
    ok(await stand.user_info(later["access_token"]))
    ok(await stand.phone.act("loss", "loss", kind="formal"), 200)
    assert (await stand.user_info(later["access_token"])).status_code == 401
    failed(await stand.refresh(later["refresh_token"]), "invalid_grant")


async def test_a_strength_that_cannot_be_had_is_refused(stand: Stand, tmp_path: Path) -> None:
    stand.services.card_certificates.anchors = None
    for wanted in (ACR_CARD, "urn:other:loa3"):
        back = query_of((await stand.authorize(stand.asked(acr_values=wanted))).headers["location"])
        assert (back["error"], back["iss"]) == ("unmet_authentication_requirements", ISSUER)
    published = "acr_values_supported"
    assert ACR_CARD not in ok(await stand.browser().get("/.well-known/openid-configuration"))[published]
    stand.services.card_certificates.anchors = tmp_path / "offices.pem"
    assert (await stand.authorize(stand.asked(acr_values=f"urn:other:loa3 {ACR_CARD}"))).status_code == 303
    assert ACR_CARD in ok(await stand.browser().get("/.well-known/openid-configuration"))[published]
