"""Log-in by the physical card: its certificate answers the challenge of one page, and nothing else counts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hsm.primitives import default_engine
from issuance.audit.refusals import MinuteLimit
from issuance.clerks.sessions import csrf_of
from issuance.login.card import page_of
from issuance.login.limits import DenyList
from issuance.login.seam import ACR_CARD, ACR_SCAN, Refused, Subject
from issuance.login.ways import is_open, ways_for
from simulators.apps.certificate import certificate as self_signed
from simulators.certificate_authority import CertificateAuthority, pem
from tests.issuance.conftest import both_engines, ok, refused
from tests.issuance.log_ins.cards import DAY, CardLogIns
from tests.issuance.log_ins.stand import NAME, LogIns, refusal_of


@pytest.fixture
def cards(log_ins: LogIns, tmp_path: Path) -> CardLogIns:
    return CardLogIns(log_ins, tmp_path)


@both_engines
async def test_a_card_logs_in(cards: CardLogIns) -> None:
    opened = await cards.log_ins.open()
    for answer in await asyncio.gather(*(cards.challenge(opened) for _ in range(8))):
        ok(answer)  # also when the page asks twice at once
    text = await cards.text(opened)
    for part in (NAME, "jobs.example", "203.0.113.*", opened.id, "姓名 / Name (name)"):
        assert part in text
    assert cards.card_number not in text, "who asks for a challenge has shown no card yet"
    assert (await cards.send(opened, cards.answer(text))).status_code == 204
    subject = await cards.log_ins.outcome(opened)
    assert isinstance(subject, Subject)
    assert (subject.card_number, subject.ecard_no) == (cards.card_number, "")
    assert (subject.acr, subject.amr, subject.claims) == (ACR_CARD, ("sc", "pin"), {"name"})
    assert await cards.log_ins.outcome(opened) is None


async def test_an_answer_counts_once_and_for_the_last_challenge_only(cards: CardLogIns) -> None:
    opened, other = await cards.log_ins.open(), await cards.log_ins.open()
    old, text = cards.answer(await cards.text(opened)), await cards.text(opened)
    refused(await cards.send(opened, old), "SIGNATURE_INVALID", 400)
    elsewhere = cards.answer(await cards.text(other))
    refused(await cards.send(opened, elsewhere), "SIGNATURE_INVALID", 400)
    answer = cards.answer(text)
    assert (await cards.send(opened, answer)).status_code == 204
    refused(await cards.send(opened, answer), "LOGIN_CLOSED", 409)
    refused(await cards.send(other, answer), "SIGNATURE_INVALID", 400)


async def test_another_browser_gets_no_challenge_and_hands_in_no_answer(cards: CardLogIns) -> None:
    opened, other = await cards.log_ins.open(), await cards.log_ins.open()
    answer = cards.answer(await cards.text(opened))
    refused(await cards.challenge(opened, browser=other), "LOGIN_CLOSED", 404)
    refused(await cards.send(opened, answer, browser=other), "LOGIN_CLOSED", 404)
    for headers in ({"Origin": "https://evil.example"}, {"X-CSRF-Token": "x"}, {"Sec-Fetch-Site": "cross-site"}):
        refused(await cards.challenge(opened, headers=headers), "CSRF_REFUSED", 403)
        refused(await cards.send(opened, answer, headers=headers), "CSRF_REFUSED", 403)
    assert await cards.log_ins.outcome(opened) is None


async def test_an_answer_that_another_site_s_page_got_is_none(cards: CardLogIns) -> None:
    """Its text was passed on; the terminal has signed whose page asked."""
    opened = await cards.log_ins.open()
    for page in ("https://evil.example", "", cards.page + "/"):
        refused(await cards.log_in(opened, page=page), "SIGNATURE_INVALID", 400)


async def test_answers_cannot_be_tried_out(cards: CardLogIns) -> None:
    """Each costs this service the verification of several signatures."""
    opened = await cards.log_ins.open()
    answer = cards.answer(await cards.text(opened), page="https://evil.example")
    cards.log_ins.services.login_limits.codes = MinuteLimit(2)
    for _ in range(2):
        refused(await cards.send(opened, answer), "SIGNATURE_INVALID", 400)
    refused(await cards.send(opened, answer), "LOGIN_LIMITED", 429)


@pytest.mark.parametrize(
    ("issuer", "page"),
    [
        ("https://login.example", "https://login.example"),
        ("https://Login.Example:443", "https://login.example"),
        ("http://localhost:80", "http://localhost"),
        ("https://login.example:8443", "https://login.example:8443"),
    ],
)
def test_the_page_s_origin_is_written_as_browsers_do(issuer: str, page: str) -> None:
    assert page_of(issuer) == page


async def test_a_text_that_names_another_site_is_not_what_was_asked(cards: CardLogIns) -> None:
    opened = await cards.log_ins.open()
    text = (await cards.text(opened)).replace(NAME, "别的网站")
    refused(await cards.send(opened, cards.answer(text)), "SIGNATURE_INVALID", 400)
    refused(await cards.log_in(opened, private=default_engine().sm2_generate()[0]), "SIGNATURE_INVALID", 400)


async def test_certificates_that_are_not_accepted(cards: CardLogIns) -> None:
    opened = await cards.log_ins.open()
    strange = CertificateAuthority.new(cards.authority.name, cards.now)
    now = cards.now
    wrong = {
        "self-signed": self_signed("测试", cards.public, cards.private, serial=1, year=2026),
        "of another office with the same name": cards.certified(authority=strange),
        "over": cards.certified(until=now - DAY / 2),
        "not yet": cards.certified(start=now + DAY),
        "an office's": cards.certified(is_authority=True),
        "the office itself": cards.authority.root(),
        "changed": cards.certificate[:-1] + bytes((cards.certificate[-1] ^ 1,)),
        "cut": cards.certificate[:-1],
    }
    for why, certificate in wrong.items():
        answer = await cards.log_in(opened, certificate=certificate)
        assert (answer.status_code, answer.json()["code"]) == (400, "CERTIFICATE_INVALID"), why
    assert (await cards.log_in(opened)).status_code == 204


async def test_another_card_s_key_is_not_this_card(cards: CardLogIns) -> None:
    """Each is certified, for the card it is of: the signature fits one certificate only."""
    other = await cards.log_ins.second_phone()
    private, public = default_engine().sm2_generate()
    theirs = cards.certified(card_number=other.card_number, public=public)
    opened = await cards.log_ins.open()
    refused(await cards.log_in(opened, private=private), "SIGNATURE_INVALID", 400)
    assert (await cards.log_in(opened, private=private, certificate=theirs)).status_code == 204
    subject = await cards.log_ins.outcome(opened)
    assert isinstance(subject, Subject)
    assert subject.card_number == other.card_number


async def test_a_card_that_is_lost_replaced_or_expired(cards: CardLogIns) -> None:
    opened, store = await cards.log_ins.open(), cards.log_ins.centre.store
    old_chip = cards.certified(identification_code="9" * 32)
    refused(await cards.log_in(opened, certificate=old_chip), "LOGIN_CARD_REFUSED", 403)
    unknown = cards.certified(card_number="A99999999", identification_code="9" * 32)
    refused(await cards.log_in(opened, certificate=unknown), "LOGIN_CARD_REFUSED", 403)
    ok(await cards.log_ins.phone.act("loss", "loss", kind="formal"), 200)
    refused(await cards.log_in(opened), "LOGIN_CARD_REFUSED", 403)
    store.sql("UPDATE cards SET state = '1', expiry_date = '2026-01-04'")
    refused(await cards.log_in(opened), "LOGIN_CARD_REFUSED", 403)
    store.sql("UPDATE cards SET expiry_date = '2026-01-05'")
    assert (await cards.log_in(opened)).status_code == 204


async def test_a_revoked_certificate(cards: CardLogIns) -> None:
    opened, now = await cards.log_ins.open(), cards.now
    lists = cards.folder / "revoked.pem"
    cards.log_ins.services.card_certificates.revocations = lists

    def publish(authority: CertificateAuthority, days: float = 7) -> None:
        lists.write_text(pem("X509 CRL", authority.revocations(now - DAY, now + days * DAY)), encoding="ascii")

    publish(cards.authority, days=-0.5)
    refused(await cards.log_in(opened), "CERTIFICATE_INVALID", 400)  # nobody knows what was revoked since
    publish(CertificateAuthority.new(cards.authority.name, now))
    refused(await cards.log_in(opened), "CERTIFICATE_INVALID", 400)  # not the office's list
    cards.authority.revoke(cards.certificate)
    publish(cards.authority)
    refused(await cards.log_in(opened), "CERTIFICATE_INVALID", 400)
    assert (await cards.log_in(opened, certificate=cards.certified())).status_code == 204


async def test_a_challenge_ends_with_its_time_and_with_the_log_in(cards: CardLogIns) -> None:
    opened = await cards.log_ins.open()
    answer = cards.answer(await cards.text(opened))
    cards.log_ins.centre.clock.advance(181)
    refused(await cards.send(opened, answer), "LOGIN_CLOSED", 409)
    asked = await cards.log_ins.scanned(opened)
    answer = cards.answer(await cards.text(opened))
    ok(await cards.log_ins.approve(asked, opened.number))
    refused(await cards.send(opened, answer), "LOGIN_CLOSED", 409)  # the phone was first
    subject = await cards.log_ins.outcome(opened)
    assert isinstance(subject, Subject)
    assert subject.acr == ACR_SCAN


async def test_an_approval_nobody_fetches_is_over_after_a_minute(cards: CardLogIns) -> None:
    opened = await cards.log_ins.open()
    assert (await cards.log_in(opened)).status_code == 204
    cards.log_ins.centre.clock.advance(61)
    assert await cards.log_ins.outcome(opened) == Refused("access_denied")


async def test_challenges_are_limited_by_browser(cards: CardLogIns) -> None:
    opened = await cards.log_ins.open()
    for _ in range(18):
        ok(await cards.challenge(opened))
    assert {(await cards.challenge(opened)).status_code for _ in range(4)} == {200, 429}


async def test_the_relying_party_chooses_the_way(cards: CardLogIns) -> None:
    by_card = await cards.log_ins.open(acr_values=(ACR_CARD,))
    assert await refusal_of(cards.log_ins.code(by_card)) == "LOGIN_CLOSED"
    async with cards.log_ins.browser(by_card) as browser:
        page = (await browser.get(by_card.path)).text
        assert ('id="card"' in page, "oc-qr" in page) == (True, False)
        assert f'data-csrf="{csrf_of(by_card.browser)}"' in page
    by_scan = await cards.log_ins.open(acr_values=(ACR_SCAN,))
    refused(await cards.challenge(by_scan), "LOGIN_CLOSED", 409)
    services = cards.log_ins.services
    assert [way.name for way in ways_for(services, ())][:2] == ["scan", "card"]
    assert [way.name for way in ways_for(services, (ACR_CARD, "urn:other", ACR_SCAN, ACR_CARD))] == ["card", "scan"]
    assert ways_for(services, ("urn:other",)) == ()
    services.card_certificates.anchors = None
    assert not is_open(services, (), ACR_CARD)
    refused(await cards.challenge(await cards.log_ins.open()), "LOGIN_CLOSED", 409)


async def test_a_name_that_would_change_the_text_is_made_harmless(cards: CardLogIns) -> None:
    name = "网站\n网址 / Address: a.example"
    cards.log_ins.centre.store.sql("UPDATE login_relying_parties SET name = :name", name=name)
    opened = await cards.log_ins.open()
    text = await cards.text(opened)
    assert "\n网址 / Address: a.example" not in text
    assert (await cards.send(opened, cards.answer(text))).status_code == 204


async def test_the_deny_list_holds(cards: CardLogIns) -> None:
    opened = await cards.log_ins.open()
    text = await cards.text(opened)
    cards.log_ins.services.login_limits.denied = DenyList.of(["203.0.113.0/24"])
    refused(await cards.challenge(opened), "LOGIN_DENIED", 403)
    refused(await cards.send(opened, cards.answer(text)), "LOGIN_DENIED", 403)
