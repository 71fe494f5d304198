"""Phishing and the like (RFC 10027, BCP 247): each is refused, and by the measure that is meant to."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from issuance.audit.refusals import MinuteLimit
from issuance.login.denials import KNOWN_FOR, DenialEntry, demand_not_denied
from issuance.login.limits import DenyList, LoginLimits
from issuance.login.seam import Refused, Subject
from issuance.login.transactions import link_code
from issuance.login.unit import login_unit
from tests.issuance.conftest import START, both_engines, ok, refused
from tests.issuance.log_ins.stand import AT_HOME, LogIns, refusal_of

OTHER_BROWSER = "A" * 43


@both_engines
async def test_a_second_phone_with_a_stolen_code_gets_nothing(log_ins: LogIns) -> None:
    opened, thief = await log_ins.open(), await log_ins.second_phone()
    code = await log_ins.code(opened)
    asked = ok(await log_ins.scan(code), 201)
    refused(await log_ins.scan(code, thief), "LOGIN_LINK_TAKEN", 409)
    refused(await log_ins.approve(asked, opened.number, phone=thief), "NOT_FOUND", 404)
    refused(await thief.get(f"log-ins/{asked['id']}"), "NOT_FOUND", 404)
    refused(await thief.post(f"log-ins/{asked['id']}/refuse"), "NOT_FOUND", 404)
    assert ok(await log_ins.phone.get(f"log-ins/{asked['id']}")) == asked
    ok(await log_ins.approve(asked, opened.number))


async def test_a_claim_is_one_row_though_the_code_store_forgets(log_ins: LogIns) -> None:
    """Redis that was emptied takes the same code again; the table does not."""
    opened, thief = await log_ins.open(), await log_ins.second_phone()
    code = await log_ins.code(opened)
    before = await log_ins.look(opened)
    ok(await log_ins.scan(code), 201)
    log_ins.centre.restart()
    await link_code(log_ins.services, before, opened.browser)
    refused(await log_ins.scan(code, thief), "LOGIN_LINK_TAKEN", 409)


async def test_a_code_is_the_first_phone_s_though_nothing_came_of_it(log_ins: LogIns) -> None:
    thief = await log_ins.second_phone()
    code = await log_ins.code(await log_ins.open())
    log_ins.services.login_limits.denied = DenyList.of(["jobs"])
    refused(await log_ins.scan(code), "LOGIN_DENIED", 403)
    log_ins.services.login_limits.denied = DenyList.of([])
    refused(await log_ins.scan(code, thief), "LOGIN_LINK_TAKEN", 409)


async def test_the_same_phone_may_lose_the_answer_and_scan_again(log_ins: LogIns) -> None:
    opened = await log_ins.open()
    code = await log_ins.code(opened)
    first = ok(await log_ins.scan(code), 201)
    assert ok(await log_ins.scan(code), 201) == first


async def test_another_browser_gets_neither_page_nor_outcome(log_ins: LogIns) -> None:
    """Who approves a log-in of his own and sends its address to somebody logs nobody in."""
    opened = await log_ins.open()
    asked = await log_ins.scanned(opened)
    ok(await log_ins.approve(asked, opened.number))
    for browser in (OTHER_BROWSER, "", (await log_ins.open()).browser):
        assert await refusal_of(log_ins.look(opened, browser)) == "NOT_FOUND"
        assert await refusal_of(log_ins.outcome(opened, browser)) == "NOT_FOUND"
    assert isinstance(await log_ins.outcome(opened), Subject)


async def test_a_wrong_number_ends_the_log_in(log_ins: LogIns) -> None:
    """Who was sent a code by somebody else does not see the number: one guess, not as many as there are choices."""
    opened = await log_ins.open()
    asked = await log_ins.scanned(opened)
    wrong = next(choice for choice in asked["choices"] if choice != opened.number)
    refused(await log_ins.approve(asked, wrong), "LOGIN_NUMBER_WRONG", 403)
    refused(await log_ins.approve(asked, opened.number), "LOGIN_CLOSED", 409)
    assert await log_ins.outcome(opened) == Refused("access_denied")


async def test_the_signature_covers_the_number(log_ins: LogIns) -> None:
    opened = await log_ins.open()
    asked = await log_ins.scanned(opened)
    wrong = next(choice for choice in asked["choices"] if choice != opened.number)
    signature = log_ins.phone.sign(f"{asked['text']}{wrong}".encode()).hex()
    refused(await log_ins.approve(asked, opened.number, signature=signature), "SIGNATURE_INVALID", 400)


async def test_a_signature_over_another_log_in_is_none(log_ins: LogIns) -> None:
    opened, other = await log_ins.open(), await log_ins.open()
    asked, wanted = await log_ins.scanned(opened), await log_ins.scanned(other)
    signature = log_ins.phone.sign(f"{asked['text']}{other.number}".encode()).hex()
    refused(await log_ins.approve(wanted, other.number, signature=signature), "SIGNATURE_INVALID", 400)
    assert await log_ins.outcome(other) is None


async def test_a_signature_of_another_phone_is_none(log_ins: LogIns) -> None:
    opened, thief = await log_ins.open(), await log_ins.second_phone()
    asked = await log_ins.scanned(opened)
    signature = thief.sign(f"{asked['text']}{opened.number}".encode()).hex()
    refused(await log_ins.approve(asked, opened.number, signature=signature), "SIGNATURE_INVALID", 400)


async def test_an_approval_needs_the_password_given_for_a_log_in(log_ins: LogIns) -> None:
    opened = await log_ins.open()
    asked = await log_ins.scanned(opened)
    payment = await log_ins.phone.busi_seq("consent")
    refused(await log_ins.approve(asked, opened.number, busi_seq=payment), "BUSI_SEQ_INVALID", 403)
    assert await log_ins.outcome(opened) is None


@both_engines
async def test_an_approval_sent_again_logs_nobody_in_twice(log_ins: LogIns) -> None:
    opened = await log_ins.open()
    asked = await log_ins.scanned(opened)
    busi_seq = await log_ins.phone.busi_seq("login")
    sent = {"busi_seq": busi_seq, "signature": log_ins.phone.sign(f"{asked['text']}{opened.number}".encode()).hex()}
    ok(await log_ins.approve(asked, opened.number, key="approve-1", **sent))
    assert isinstance(await log_ins.outcome(opened), Subject)
    ok(await log_ins.approve(asked, opened.number, key="approve-1", **sent))  # its answer was lost
    assert await log_ins.outcome(opened) is None
    refused(await log_ins.approve(asked, opened.number, key="approve-2", **sent), "LOGIN_CLOSED", 409)
    other = await log_ins.open()
    ok(await log_ins.approve(await log_ins.scanned(other), other.number))
    outcomes = await asyncio.gather(*(log_ins.outcome(other) for _ in range(4)))
    assert sum(isinstance(outcome, Subject) for outcome in outcomes) == 1, "of those who come at once, one has it"


async def test_an_approval_of_one_log_in_is_none_for_another(log_ins: LogIns) -> None:
    opened, other = await log_ins.open(), await log_ins.open()
    asked = await log_ins.scanned(opened)
    ok(await log_ins.approve(asked, opened.number))
    unclaimed = replace(other, number=opened.number)
    refused(await log_ins.approve(asked, opened.number, login=unclaimed.id), "NOT_FOUND", 404)
    assert await log_ins.outcome(other) is None


async def test_an_approval_without_the_phone_s_proof_is_refused(log_ins: LogIns) -> None:
    """Whatever another site lets a browser send: no cookie and no client's key makes up for the phone's."""
    opened = await log_ins.open()
    asked = await log_ins.scanned(opened)
    body = {"number": opened.number, "signature": "00" * 64, "busi_seq": "x" * 20}
    path = f"log-ins/{asked['id']}/approve"
    refused(await log_ins.phone.post(path, body, proof=""), "DEVICE_PROOF_INVALID", 401)
    old = log_ins.phone.proof("POST", log_ins.phone.path(f"log-ins/{asked['id']}/refuse"), b"{}")
    refused(await log_ins.phone.post(path, body, proof=old), "DEVICE_PROOF_INVALID", 401)


async def test_everything_ends_with_its_time(log_ins: LogIns) -> None:
    clock, opened = log_ins.centre.clock, await log_ins.open()
    code = await log_ins.code(opened)
    clock.advance(61)
    refused(await log_ins.scan(code), "LOGIN_LINK_INVALID", 404)
    asked = await log_ins.scanned(opened)
    clock.advance(121)
    refused(await log_ins.approve(asked, opened.number), "LOGIN_CLOSED", 409)
    assert (await log_ins.look(opened)).stage == "over"
    assert await refusal_of(log_ins.code(opened)) == "LOGIN_CLOSED", "a claim that was let pass opens nothing again"


async def test_an_approval_nobody_fetches_is_over_after_a_minute(log_ins: LogIns) -> None:
    opened = await log_ins.open()
    asked = await log_ins.scanned(opened)
    ok(await log_ins.approve(asked, opened.number))
    log_ins.centre.clock.advance(61)
    assert await log_ins.outcome(opened) == Refused("access_denied")


async def test_an_electronic_card_that_cannot_be_used_logs_in_nowhere(log_ins: LogIns) -> None:
    opened = await log_ins.open()
    asked = await log_ins.scanned(opened)
    ok(await log_ins.phone.act("loss", "loss", kind="formal"), 200)
    refused(await log_ins.approve(asked, opened.number), "ECARD_NOT_USABLE", 409)
    refused(await log_ins.scan(await log_ins.code(await log_ins.open())), "ECARD_NOT_USABLE", 409)


async def test_log_ins_are_limited_by_network_and_by_relying_party(log_ins: LogIns) -> None:
    limits = log_ins.services.login_limits
    limits.of_network, limits.of_client = MinuteLimit(2), MinuteLimit(3)
    for _ in range(2):
        await log_ins.open()
    assert await refusal_of(log_ins.open(replace(AT_HOME, address="203.0.113.250"))) == "LOGIN_LIMITED"
    await log_ins.open(replace(AT_HOME, address="198.51.100.1"))
    assert await refusal_of(log_ins.open(replace(AT_HOME, address="198.51.100.2"))) == "LOGIN_LIMITED"
    log_ins.centre.clock.advance(61)
    await log_ins.open()


async def test_link_codes_are_limited_by_browser(log_ins: LogIns) -> None:
    log_ins.services.login_limits.codes = MinuteLimit(2)
    first = await log_ins.open()
    same = replace(AT_HOME, secret=first.browser)
    pages = [first, await log_ins.open(same), await log_ins.open(same)]
    for opened in pages[:2]:
        await log_ins.code(opened)
        await log_ins.code(opened)  # the same code drawn again counts once
    assert await refusal_of(log_ins.code(pages[2])) == "LOGIN_LIMITED"
    await log_ins.code(await log_ins.open())


async def test_the_deny_list_holds_at_every_stage(log_ins: LogIns) -> None:
    opened, later = await log_ins.open(), await log_ins.open()
    asked = await log_ins.scanned(opened)
    for denied in ("203.0.113.0/24", "jobs"):
        log_ins.services.login_limits.denied = DenyList.of([denied])
        assert await refusal_of(log_ins.open()) == "LOGIN_DENIED"
        refused(await log_ins.approve(asked, opened.number), "LOGIN_DENIED", 403)
        refused(await log_ins.scan(await log_ins.code(later)), "LOGIN_DENIED", 403)
    log_ins.services.login_limits.denied = DenyList.of(["198.51.100.0/24", "other"])
    ok(await log_ins.approve(asked, opened.number))


async def test_an_operator_denies_while_the_service_runs(log_ins: LogIns) -> None:
    """At once where it was told, at another replica within two seconds; the trail knows who did it and why."""
    operator, clock = log_ins.centre.as_("operator"), log_ins.centre.clock
    asked = await log_ins.scanned(await log_ins.open())
    elsewhere = log_ins.services
    log_ins.centre.restart()
    operator = log_ins.centre.as_("operator")
    for entry in ("203.0.113.7", "203.0.113.0/24", "jobs"):
        told = ok(await operator.post("/v1/login-denials", json={"entry": entry, "reason": "钓鱼"}), 201)
        again = ok(await operator.post("/v1/login-denials", json={"entry": entry, "reason": "another"}), 201)
        assert again == told, "what is listed already stays as it is"
        assert await refusal_of(log_ins.open()) == "LOGIN_DENIED"
        refused(await log_ins.approve(asked, 10), "LOGIN_DENIED", 403)
        async with login_unit(elsewhere) as unit:
            clock.advance(2)
            unit.now = clock()
            assert await refusal_of(demand_not_denied(unit, "jobs", "203.0.113.7")) == "LOGIN_DENIED"
        ok(await operator.post("/v1/login-denials/remove", json={"entry": entry}))
        await log_ins.open()
    refused(await operator.post("/v1/login-denials/remove", json={"entry": "jobs"}), "NOT_FOUND", 404)
    trail = "SELECT act, subject, reason FROM audit_entries WHERE act IN ('login.deny', 'login.allow')"
    acts = log_ins.centre.store.sql(trail)
    assert len(acts) == 6
    assert ("login.deny", "login-denial:203.0.113.7/32", "钓鱼") in acts


async def test_who_keeps_the_deny_list(log_ins: LogIns) -> None:
    body = {"entry": "jobs", "reason": "钓鱼"}
    await log_ins.centre.register("hebei", ("operator",), "130000")
    refused(await log_ins.centre.as_("hebei").post("/v1/login-denials", json=body), "CLIENT_FORBIDDEN", 403)
    refused(await log_ins.centre.as_("wallet").post("/v1/login-denials", json=body), "CLIENT_FORBIDDEN", 403)
    operator = log_ins.centre.as_("operator")
    for entry in ("203.0.113.7/24", "203.0.113.0/33", "两", "a/b", ""):
        refused(await operator.post("/v1/login-denials", json=body | {"entry": entry}), "INPUT_INVALID", 422)
    assert ok(await operator.get("/v1/login-denials")) == []


async def test_an_ipv4_address_is_denied_in_ipv6_s_clothes_too(log_ins: LogIns) -> None:
    log_ins.services.login_limits.denied = DenyList.of(["203.0.113.0/24"])
    assert await refusal_of(log_ins.open(replace(AT_HOME, address="::ffff:203.0.113.7"))) == "LOGIN_DENIED"
    for entry in ("::ffff:203.0.113.7", "::ffff:203.0.113.0/120", "203.0.113.7"):
        log_ins.services.login_limits.denied = DenyList.of([entry])
        assert await refusal_of(log_ins.open(replace(AT_HOME, address="203.0.113.7"))) == "LOGIN_DENIED"
    assert DenialEntry(entry="::ffff:203.0.113.7").entry == "203.0.113.7/32"


def test_what_was_read_before_a_change_is_not_kept() -> None:
    limits = LoginLimits(DenyList.of([]), MinuteLimit(1), MinuteLimit(1))
    before = limits.changes
    limits.forget_stored()
    limits.keep_stored(DenyList.of([]), START, before)
    assert limits.stored_at(START, KNOWN_FOR) is None
    limits.keep_stored(DenyList.of([]), START, limits.changes)
    assert limits.stored_at(START, KNOWN_FOR) is not None


async def test_nobody_logs_in_to_a_party_that_is_not_registered_or_suspended(log_ins: LogIns) -> None:
    assert await refusal_of(log_ins.open(client_id="jobs-portal")) == "LOGIN_DENIED"
    log_ins.centre.store.sql("UPDATE login_relying_parties SET status = 'suspended'")
    assert await refusal_of(log_ins.open()) == "LOGIN_DENIED"


async def test_the_name_shown_is_the_registered_one_on_one_line(log_ins: LogIns) -> None:
    """A name with a line of its own, or one that turns the direction of writing, adds nothing to what is signed."""
    name = "好网站\n核对数字 / Number on the screen: 47\u202e"
    log_ins.centre.store.sql("UPDATE login_relying_parties SET name = :name", name=name)
    asked = await log_ins.scanned(await log_ins.open())
    assert asked["text"].count("\n核对数字") == 1
    assert "\u202e" not in asked["text"] + asked["name"]
