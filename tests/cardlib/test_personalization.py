"""Stages 2 and 4 against the simulated card, whose cryptography and file system are code of their own."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from apdu.channel import CountingChannel, T0Channel
from cardlib.codec import CodecError
from cardlib.initialization import initialize
from cardlib.personalization import PersonalizationOrder, check_items, personalize
from cardlib.script import ScriptError, run
from cardlib.session import SocialSecurityCard
from cardlib.spec import Generation
from simulators.card import CardGone, CardState, Faults, Life, SimCard
from tests.cardlib.support import blank, chip, initialization_order, key_service, order

GENERATIONS = [Generation.V2, Generation.V3]


def issue(card: SimCard, what: PersonalizationOrder) -> str:
    return run(personalize(what, key_service()), T0Channel(card)).result["outcome"]


def contents(state: CardState) -> list[tuple[int, list[bytes], bytes]]:
    return [(ef.fid, ef.records, ef.content) for df in state.dfs for ef in df.efs]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_chip_becomes_an_issued_card_that_reads_back(generation: Generation) -> None:
    card = SimCard(chip(generation))
    atr = card.power_on()
    done = run(initialize(initialization_order(atr, generation), key_service()), T0Channel(card))
    assert done.result["outcome"] == "initialized"
    assert card.state.life is Life.PRE_PERSONALISED
    card.power_off()
    card.power_on()
    what = order(atr, generation)
    assert issue(card, what) == "issued"
    assert card.state.life is Life.ISSUED
    card.power_off()
    basic = SocialSecurityCard(card, card.power_on()).read_basic(key_service())
    assert (basic.card_number, basic.name, basic.genuine) == (what.card_number, what.name, True)
    assert basic.social_security_number == what.social_security_number
    assert basic.generation is generation


@pytest.mark.parametrize("generation", GENERATIONS)
def test_batches_are_the_challenges_plus_one(generation: Generation) -> None:
    """With the request that starts the session: network round trips = challenges + 2."""
    challenges = []

    class Watch(CountingChannel):
        def transmit(self, command: bytes) -> bytes:
            if command[:2] == b"\x00\x84":
                challenges.append(command)
            return super().transmit(command)

    card = SimCard(blank(generation))
    watch = Watch(card)
    done = run(personalize(order(card.power_on(), generation), key_service()), T0Channel(watch))
    assert done.batches == len(challenges) + 1
    assert watch.apdus <= 260


@pytest.mark.parametrize("generation", GENERATIONS)
def test_progress_ends_at_its_total(generation: Generation) -> None:
    """Fresh chip, fresh blank, and an issued card that is only verified."""
    card, seen = SimCard(chip(generation)), []
    atr = card.power_on()
    run(initialize(initialization_order(atr, generation), key_service()), T0Channel(card), on_step=seen.append)
    assert len(seen) == seen[-1].steps
    for _ in ("fresh", "issued"):
        seen.clear()
        card.power_on()
        what = order(atr, generation)
        run(personalize(what, key_service()), T0Channel(card), on_step=seen.append)
        assert len(seen) == seen[-1].steps


def test_an_order_survives_json() -> None:
    what = order(SimCard(blank()).power_on())
    assert PersonalizationOrder.from_json(what.to_json()) == what


def test_torn_after_every_command_the_card_ends_issued_once() -> None:
    reference = SimCard(blank())
    what = order(reference.power_on())
    counter = CountingChannel(reference)
    run(personalize(what, key_service()), T0Channel(counter))
    for torn_after in range(1, counter.apdus + 1):
        card = SimCard(blank(), faults=Faults(tear_after=torn_after))
        card.power_on()
        with pytest.raises(CardGone):
            issue(card, what)
        card.power_on()
        # A new seed, as a new session would have.
        assert issue(card, dataclasses.replace(what, seed=bytes(16))) in ("issued", "already"), torn_after
        assert card.state.life is Life.ISSUED, torn_after
        assert contents(card.state) == contents(reference.state), torn_after


@pytest.mark.parametrize("generation", GENERATIONS)
def test_torn_before_commands_the_card_ends_issued_once(generation: Generation) -> None:
    for torn_before in range(1, 250, 13):
        card = SimCard(blank(generation), faults=Faults(tear_before=torn_before))
        what = order(card.power_on(), generation)
        with pytest.raises(CardGone):
            issue(card, what)
        card.power_on()
        assert issue(card, what) == "issued", torn_before


def test_initialization_torn_anywhere_starts_again() -> None:
    for torn_after in [*range(1, 30, 3), *range(30, 220, 19), *range(210, 221)]:
        card = SimCard(chip(), faults=Faults(tear_after=torn_after))
        what = initialization_order(card.power_on())
        with pytest.raises(CardGone):
            run(initialize(what, key_service()), T0Channel(card))
        card.power_on()
        done = run(initialize(what, key_service()), T0Channel(card))
        assert done.result["outcome"] in ("initialized", "already"), torn_after
        assert card.state.life is Life.PRE_PERSONALISED, torn_after


def test_a_card_with_other_data_is_refused_and_unchanged() -> None:
    card = SimCard(blank())
    atr = card.power_on()
    issue(card, order(atr))
    before = copy.deepcopy(contents(card.state))
    with pytest.raises(ScriptError) as refused:
        issue(card, order(atr, number="B0000002"))
    assert refused.value.failure == "CARD_MISMATCH"
    assert contents(card.state) == before


def test_a_card_of_other_keys_loses_no_try() -> None:
    """Internal authentication comes first: a wrong key set is found before any counted authentication."""
    state = blank()
    irk = next(key for key in state.dfs[0].keys if key.kid == 0x00)
    irk.value = bytes(16)
    card = SimCard(state)
    tries = [key.retry_left for df in state.dfs for key in df.keys]
    with pytest.raises(ScriptError) as refused:
        issue(card, order(card.power_on()))
    assert refused.value.failure == "CARD_NOT_GENUINE"
    assert [key.retry_left for df in state.dfs for key in df.keys] == tries


@pytest.mark.parametrize("life", [Life.CHIP, Life.ACTIVATED])
def test_a_card_in_another_state_is_told_apart(life: Life) -> None:
    card = SimCard(CardState() if life is Life.CHIP else chip())
    with pytest.raises(ScriptError) as refused:
        issue(card, order(card.power_on()))
    assert refused.value.failure in ("CARD_STATE", "FILE_NOT_FOUND")


def test_initialization_refuses_issued_cards_and_chips() -> None:
    issued = SimCard(blank())
    atr = issued.power_on()
    issue(issued, order(atr))
    for card, failure in ((issued, "ALREADY_ISSUED"), (SimCard(CardState()), "CARD_STATE")):
        atr = card.power_on()
        with pytest.raises(ScriptError) as refused:
            run(initialize(initialization_order(atr), key_service()), T0Channel(card))
        assert refused.value.failure == failure


def test_a_read_back_that_differs_is_an_error() -> None:
    """A memory fault between writing and reading must not end in an issued card."""
    card = SimCard(blank())

    class Flip:
        def transmit(self, command: bytes) -> bytes:
            answer = card.transmit(command)
            if command[:4] == bytes.fromhex("00B20135") and len(answer) > 4:
                return answer[:4] + bytes((answer[4] ^ 1,)) + answer[5:]
            return answer

    with pytest.raises(ScriptError) as refused:
        run(personalize(order(card.power_on()), key_service()), T0Channel(Flip()))
    assert refused.value.failure == "CARD_DATA_INVALID"
    assert card.state.life is Life.PRE_PERSONALISED


@pytest.mark.parametrize(
    "items",
    [
        {"DF01EF06": {"99": "x"}},
        {"DF06EF05": {"C0": "1"}},
        {"SSSEEF06": {"09": "别人"}},
        {"DF02EF07": {}},
        {"DF01EF08": {"2B": "7"}},
        {"DF03EF19": {"79": [{}] * 5}},
        {"nowhere": {}},
    ],
    ids=lambda items: next(iter(items)),
)
def test_items_a_card_cannot_take_never_reach_one(items: dict[str, dict[str, Any]]) -> None:
    with pytest.raises(CodecError):
        check_items(Generation.V3, items)
    with pytest.raises(CodecError):
        personalize(dataclasses.replace(order(SimCard(blank()).power_on()), items=items), key_service())


def test_repeated_items_are_written_in_order() -> None:
    card = SimCard(blank())
    issue(card, order(card.power_on()))
    session = SocialSecurityCard(card, card.power_on())
    session.open()
    vouchers = session.read_file("DF03EF19", key_service())["insurance_voucher"]
    assert [voucher["scheme"] for voucher in vouchers] == ["110", "310", "", ""]
