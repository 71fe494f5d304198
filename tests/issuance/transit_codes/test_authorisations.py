"""A phone that the centre authorised opens a gate without a network, once a code; nobody else does."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image

import issuance.rules
from cardlib.transit_code import TransitCodeError
from hsm.primitives import default_engine
from issuance.settings import Settings
from onecard_ui.code_picture import codes_in, picture_of
from simulators import wallet_code
from tests.issuance.conftest import ok, refused
from tests.issuance.phone import Phone, signed_phone
from tests.issuance.transit_codes.conftest import ISSUER, TransitStand, use

SHIPPED = Path(issuance.rules.__file__).parent
HOURS, VALIDITY_S, LIMIT_FEN = 24, 60, 2000
ASK = "transit-authorisation"


def refusal(stand: TransitStand, code: bytes, amount_fen: int = 0) -> str:
    with pytest.raises(TransitCodeError) as caught:
        stand.gate().verify(code, amount_fen)
    return caught.value.failure


async def test_a_gate_without_a_network_opens_once(stand: TransitStand) -> None:
    told = ok(await stand.phone.post(ASK), 201)
    assert (told["profile"], told["validity_s"], told["amount_limit_fen"]) == ("a_c", VALIDITY_S, LIMIT_FEN)
    code = stand.show(bytes.fromhex(told["authorisation"]))
    picture = Image.open(io.BytesIO(picture_of(code).png(200)))
    (scanned,) = codes_in(picture)
    assert bytes(scanned.bytes) == code
    gate = stand.gate()
    fields = gate.verify(code, LIMIT_FEN).authorisation.fields
    with pytest.raises(TransitCodeError) as again:
        gate.verify(code, LIMIT_FEN)
    assert again.value.failure == "TRANSIT_CODE_DUPLICATE"
    assert fields.user_key == stand.phone.public_key
    assert (fields.issuer, fields.platform.hex()) == (ISSUER, "99010000")
    assert fields.authorised_until == stand.now() + HOURS * 3600
    assert stand.phone.sign_no.startswith(fields.payment_account)
    assert stand.phone.ecard_no not in code.hex()


async def test_the_card_account_is_the_same_on_every_phone_the_payment_account_is_not(stand: TransitStand) -> None:
    centre = stand.centre
    await centre.register("second", ("wallet",))
    ((number,),) = centre.store.sql("SELECT card_number FROM ecards")
    other = Phone(centre, "second")
    await other.sign_up(1, number)
    first = stand.gate().verify(stand.show(await stand.authorised())).authorisation.fields
    raw = bytes.fromhex(ok(await other.post(ASK), 201)["authorisation"])
    second = stand.gate().verify(wallet_code.finish(raw, stand.now(), other.private)).authorisation.fields
    assert first.card_account == second.card_account
    assert first.payment_account != second.payment_account


async def test_it_dies_at_its_hour(stand: TransitStand) -> None:
    kept = await stand.authorised()
    stand.centre.clock.advance(HOURS * 3600)
    stand.gate().verify(stand.show(kept))
    stand.centre.clock.advance(1)
    assert refusal(stand, stand.show(kept)) == "TRANSIT_CODE_AUTHORISATION_EXPIRED"
    stand.gate().verify(stand.show(await stand.authorised()))


async def test_after_a_loss_there_is_no_new_one(stand: TransitStand) -> None:
    kept = await stand.authorised()
    ok(await stand.phone.act("loss", "loss", kind="formal"))
    refused(await stand.phone.post(ASK), "ECARD_NOT_USABLE", 409)
    stand.gate().verify(stand.show(kept))
    stand.centre.clock.advance(HOURS * 3600 + 1)
    assert refusal(stand, stand.show(kept)) == "TRANSIT_CODE_AUTHORISATION_EXPIRED"


async def unlinked(stand: TransitStand) -> httpx.Response:
    stand.centre.store.sql("UPDATE ecard_links SET state = 'unlinked' WHERE sign_no = :no", no=stand.phone.sign_no)
    return await stand.phone.post(ASK)


async def locked_password(stand: TransitStand) -> httpx.Response:
    for _ in range(6):
        await stand.phone.post("password-checks", {"password": "000000", "purpose": "payment"})
    return await stand.phone.post(ASK)


async def lost_card(stand: TransitStand) -> httpx.Response:
    stand.centre.store.sql("UPDATE cards SET state = '2'")
    return await stand.phone.post(ASK)


async def other_holder(stand: TransitStand) -> httpx.Response:
    other = await signed_phone(stand.centre, 2)
    return await other.post(f"/v1/ecards/{stand.phone.ecard_no}/{ASK}")


async def stolen_proof(stand: TransitStand) -> httpx.Response:
    """Made for another path."""
    proof = stand.phone.proof("POST", stand.phone.path("codes"), b"{}")
    return await stand.phone.post(ASK, proof=proof)


async def replayed_proof(stand: TransitStand) -> httpx.Response:
    proof = stand.phone.proof("POST", stand.phone.path(ASK), b"{}")
    ok(await stand.phone.post(ASK, proof=proof), 201)
    return await stand.phone.post(ASK, proof=proof)


async def too_often(stand: TransitStand) -> httpx.Response:
    for _ in range(6):
        ok(await stand.phone.post(ASK), 201)
    return await stand.phone.post(ASK)


async def no_certificate(stand: TransitStand) -> httpx.Response:
    stand.file.unlink()
    return await stand.phone.post(ASK)


async def not_a_certificate(stand: TransitStand) -> httpx.Response:
    stand.file.write_bytes(stand.file.read_bytes()[:-1])
    return await stand.phone.post(ASK)


async def anothers_certificate(stand: TransitStand) -> httpx.Response:
    other, _ = default_engine().sm2_generate()
    issued = stand.ca.issue(
        stand.ca.root(7), ISSUER, "1228", key=None, public_key=default_engine().sm2_public_key(other)
    )
    stand.file.write_bytes(issued.certificate.encode())
    return await stand.phone.post(ASK)


async def retired_key(stand: TransitStand) -> httpx.Response:
    key = stand.ca.issuer_key(is_new=True)
    stand.certify(key=key)
    ok(await stand.phone.post(ASK), 201)
    stand.ca.office.service.retire(key)
    return await stand.phone.post(ASK)


async def certificate_over(stand: TransitStand) -> httpx.Response:
    ok(await stand.phone.post(ASK), 201)
    stand.certify("0126")
    stand.centre.clock.advance(27 * 86_400)
    return await stand.phone.post(ASK)


ATTACKS: list[tuple[Callable[[TransitStand], Awaitable[httpx.Response]], str, int]] = [
    (other_holder, "NOT_FOUND", 404),
    (stolen_proof, "DEVICE_PROOF_INVALID", 401),
    (replayed_proof, "DEVICE_PROOF_REPLAYED", 409),
    (too_often, "REQUEST_LIMIT", 429),
    (no_certificate, "TRANSIT_ISSUER_MISSING", 503),
    (not_a_certificate, "TRANSIT_ISSUER_MISSING", 503),
    (anothers_certificate, "TRANSIT_ISSUER_MISSING", 503),
    (retired_key, "TRANSIT_ISSUER_MISSING", 503),
    (certificate_over, "TRANSIT_ISSUER_EXPIRED", 503),
    (locked_password, "ECARD_PASSWORD_LOCKED", 423),
    (lost_card, "ECARD_NOT_USABLE", 409),
    (unlinked, "ECARD_UNLINKED", 403),
]


async def test_each_refusal_has_its_own_failure_and_entry(stand: TransitStand) -> None:
    for attack, failure, status in ATTACKS:
        stand.certify()
        stand.centre.clock.advance(61)
        refused(await attack(stand), failure, status)
        ((act, outcome),) = stand.centre.store.sql("SELECT act, outcome FROM audit_entries ORDER BY id DESC LIMIT 1")
        assert (act.rpartition("/")[2], outcome) == (ASK, failure), attack.__name__


async def test_without_the_setting_there_is_none(stand: TransitStand) -> None:
    use(stand.centre, Settings(database_url=stand.centre.url))
    refused(await stand.phone.post(ASK), "TRANSIT_ISSUER_MISSING", 503)


async def test_an_honest_one_is_recorded_and_nothing_personal_with_it(stand: TransitStand) -> None:
    await stand.authorised()
    ((subject, outcome, detail),) = stand.centre.store.sql(
        "SELECT subject, outcome, detail FROM audit_entries WHERE act = 'transit.authorise'"
    )
    assert (subject, outcome) == (f"ecard:{stand.phone.ecard_no}", "ok")
    assert "until" in detail
    assert stand.phone.public_key.hex() not in detail


async def test_forged_by_another_phone_or_issuer(stand: TransitStand) -> None:
    kept = await stand.authorised()
    thief, _ = default_engine().sm2_generate()
    assert refusal(stand, wallet_code.finish(kept, stand.now(), thief)) == "TRANSIT_CODE_USER_FORGED"
    richer = kept.replace(
        LIMIT_FEN.to_bytes(3, "big") + stand.phone.public_key, b"\xff\xff\xff" + stand.phone.public_key
    )
    assert richer != kept
    assert refusal(stand, stand.show(richer), LIMIT_FEN + 1) == "TRANSIT_CODE_AUTHORISATION_FORGED"
    assert refusal(stand, stand.show(kept), LIMIT_FEN + 1) == "TRANSIT_CODE_AMOUNT"


async def test_the_next_certificate_counts_at_once_and_the_old_codes_go_on(stand: TransitStand) -> None:
    before = await stand.authorised()
    stand.certify(key=stand.ca.issuer_key(is_new=True))
    after = await stand.authorised()
    assert before[3:120] != after[3:120]
    stand.centre.clock.advance(1)
    gate = stand.gate()
    for kept in (before, after):
        gate.verify(stand.show(kept))


async def test_none_outlives_its_certificate(stand: TransitStand, caplog: pytest.LogCaptureFixture) -> None:
    stand.certify("0126")
    stand.centre.clock.advance(26 * 86_400)
    fields = stand.gate().verify(stand.show(await stand.authorised())).authorisation.fields
    assert fields.authorised_until == fields.certificate.ends_at - 1
    await stand.authorised()
    assert caplog.text.count("transit_certificate_ends_soon") == 1, "a day"


async def test_the_region_chooses_reading_and_limits(stand: TransitStand, tmp_path: Path) -> None:
    pack = (SHIPPED / "110000.toml").read_text(encoding="utf-8")
    for old, new in (
        ('transit_code_profile = "a_c"', 'transit_code_profile = "b"'),
        ("transit_code_hours = 24", "transit_code_hours = 2"),
        ("transit_limit_fen = 2000", "transit_limit_fen = 700"),
        ("transit_code_validity_s = 60", "transit_code_validity_s = 30"),
    ):
        assert old in pack
        pack = pack.replace(old, new)
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "110000.toml").write_text(pack, encoding="utf-8")
    use(stand.centre, Settings(database_url=stand.centre.url, transit_certificate_path=stand.file, rules_path=folder))
    told = ok(await stand.phone.post(ASK), 201)
    code = stand.show(bytes.fromhex(told["authorisation"]), "b")
    fields = stand.gate("b").verify(code, 700).authorisation.fields
    assert (told["profile"], fields.validity_s, fields.amount_limit_fen) == ("b", 30, 700)
    assert fields.authorised_until == stand.now() + 2 * 3600
    assert refusal(stand, code) == "TRANSIT_CODE_MALFORMED"
