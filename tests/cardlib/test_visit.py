"""A card in use worked on from the centre: the same work as at a reader, one command a batch, rebuilt by replay."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import replace

import pytest

from apdu.channel import T0Channel
from apdu.errors import PinLockedError, PinWrongError
from apdu.response import ResponseApdu
from cardlib.codec import CodecError
from cardlib.errors import CardNotGenuineError
from cardlib.personalization import personalize
from cardlib.script import Script, ScriptError, ScriptStep, run
from cardlib.session import SocialSecurityCard
from cardlib.spec import Generation
from cardlib.visit import VisitOrder, free_pin, reset_pin, rewrite
from simulators.card import SimCard
from tests.cardlib.support import blank, key_service, key_service_of, order, roots

GENERATIONS = pytest.mark.parametrize("generation", [Generation.V2, Generation.V3])


def issued(generation: Generation = Generation.V3) -> tuple[SimCard, VisitOrder]:
    card = SimCard(blank(generation))
    atr = card.power_on()
    made = order(atr, generation)
    run(personalize(made, key_service()), T0Channel(card))
    visit = VisitOrder(
        seed=secrets.token_bytes(16),
        atr=atr,
        card_number=made.card_number,
        identification_code=str(made.identification_code),
    )
    card.power_off()
    card.power_on()
    return card, visit


def at_reader(card: SimCard) -> SocialSecurityCard:
    card.power_off()
    session = SocialSecurityCard(card, card.power_on())
    session.open()
    return session


@GENERATIONS
def test_changed_items_are_on_the_card_afterwards(generation: Generation) -> None:
    card, visit = issued(generation)
    name = "测试·很长的名字" * 3
    changes = replace(visit, changes={"name": name, "ethnic_group": "11", "birthplace": "990200"})
    done = run(rewrite(changes, key_service()), T0Channel(card))
    assert done.result == {"outcome": "rewritten", "items": "birthplace,ethnic_group,name"}
    assert done.batches <= 40
    basic = at_reader(card).read_basic(key_service())
    assert (basic.name, basic.ethnic_group, basic.birthplace, basic.sex) == (name, "11", "990200", "1")


@GENERATIONS
def test_a_new_pin_and_all_its_tries(generation: Generation) -> None:
    card, visit = issued(generation)
    with_pin = replace(visit, pin="246810")
    assert "246810" not in repr(with_pin) + json.dumps(with_pin.to_json())
    done = run(reset_pin(with_pin, key_service()), T0Channel(card))
    assert done.result["outcome"] == "pin_reset"
    at_reader(card).verify_pin("246810")


def test_a_locked_pin_gets_its_tries_back() -> None:
    card, visit = issued()
    run(reset_pin(replace(visit, pin="246810"), key_service()), T0Channel(card))
    session = at_reader(card)
    left = session.pin_tries()
    assert left is not None
    for wrong in range(left):
        with pytest.raises((PinWrongError, PinLockedError)):
            session.verify_pin(f"{100000 + wrong}", use_last_try=True)
    assert at_reader(card).pin_tries() == 0
    card.power_off()
    card.power_on()
    done = run(free_pin(visit, key_service()), T0Channel(card))
    assert done.result == {"outcome": "pin_unblocked", "pin_tries": str(left)}
    at_reader(card).verify_pin("246810")


def test_every_command_of_a_pin_is_secret_and_none_carries_it() -> None:
    card, visit = issued()
    steps: list[ScriptStep] = []
    script = reset_pin(replace(visit, pin="246810"), key_service())
    run(script, T0Channel(card), on_step=steps.append)
    commands = [command for step in steps for command in step.commands]
    assert all(len(step.commands) == 1 for step in steps)
    assert not [command for command in commands if "246810" in command.apdu]
    assert [command.is_secret for command in commands if command.apdu[2:4] == "24"] == [True]


def test_a_rebuilt_script_asks_for_the_same_commands() -> None:
    """Replay of the stored answers at any point comes to the same next command."""
    card, visit = issued()
    changes = replace(visit, changes={"name": "测试乙"})
    first, answers = rewrite(changes, key_service()), []
    step = next(first)
    channel = T0Channel(card)
    while True:
        rebuilt = rewrite(VisitOrder.from_json(changes.to_json()), key_service())
        again = next(rebuilt)
        for answer in answers:
            again = rebuilt.send([answer])
        assert again == step
        rebuilt.close()
        answers.append(ResponseApdu.from_bytes(channel.transmit(bytes.fromhex(step.commands[0].apdu))))
        try:
            step = first.send([answers[-1]])
        except StopIteration:
            break
    assert len(answers) > 8


@pytest.mark.parametrize(
    ("change", "failure"),
    [({"card_number": "A00000020"}, "CARD_MISMATCH"), ({"identification_code": "0" * 32}, "CARD_MISMATCH")],
)
def test_another_card_is_not_touched(change: dict[str, str], failure: str) -> None:
    card, visit = issued()
    with pytest.raises(ScriptError) as refused:
        run(rewrite(replace(visit, changes={"name": "测试乙"}, **change), key_service()), T0Channel(card))
    assert refused.value.failure == failure
    assert at_reader(card).read_basic(key_service()).name == "测试甲"


def test_a_card_of_other_keys_is_not_genuine() -> None:
    card, visit = issued()
    strangers = key_service_of(type(roots()).generate())
    with pytest.raises(CardNotGenuineError):
        run(free_pin(visit, strangers), T0Channel(card))


@pytest.mark.parametrize("make", [rewrite, free_pin])
def test_a_card_that_leaves_ends_the_script(make: Callable[..., Script]) -> None:
    _, visit = issued()
    script = make(visit, key_service())
    next(script)
    with pytest.raises(ScriptError) as gone:
        script.send([])
    assert gone.value.failure == "CARD_REMOVED"


def test_a_rebuilt_order_has_no_pin() -> None:
    _, visit = issued()
    stored = VisitOrder.from_json(replace(visit, pin="246810").to_json())
    with pytest.raises(ScriptError):
        reset_pin(stored, key_service())


@pytest.mark.parametrize("change", [{"seed": "xy"}, {"atr": 7}, {"more": 1}])
def test_what_is_no_order_is_refused(change: dict[str, object]) -> None:
    _, visit = issued()
    with pytest.raises(CodecError):
        VisitOrder.from_json(visit.to_json() | change)
