"""The lock-out guard: no last try is spent unasked, no wrong PIN goes twice, no card is confused with another."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from apdu.channel import CountingChannel
from apdu.errors import AuthenticationFailedError, KeyLockedError, PinWrongError
from cardlib.codec import CodecError
from cardlib.errors import LastKeyTryError, LastTryError, RepeatedPinError
from cardlib.failures import FailureCode, failure_of
from cardlib.guard import KeyTries
from cardlib.session import SocialSecurityCard
from hsm.api import CardFactors, KeyRef
from simulators.card import CardState, SimCard
from simulators.factory import build_card
from simulators.personas import load
from tests.cardlib.support import key_service, roots

PIN = "123456"


class WrongKeys:
    """An authenticator whose roots are not this card's."""

    def authentication_value(self, key: KeyRef, factors: CardFactors, challenge: bytes, original: bytes) -> bytes:
        return bytes(8)


def state(tries: int = 15) -> CardState:
    found = build_card(load("adult-3.0"), roots())
    key = next(key for key in found.dfs[0].keys if key.kid == 0x0A)
    key.retry_max, key.retry_left = max(tries, 3), tries
    return found


def opened(card: CardState, guard: KeyTries, *, use_last_try: bool = False) -> SocialSecurityCard:
    chip = SimCard(card)
    session = SocialSecurityCard(chip, chip.power_on(), tries=guard, use_last_try=use_last_try)
    session.open()
    return session


def tries_of(card: CardState) -> int:
    return next(key.retry_left for key in card.dfs[0].keys if key.kid == 0x0A)


# -- keys -------------------------------------------------------------------------------------------------------------


def test_the_last_try_of_a_key_is_kept_in_every_later_session() -> None:
    card, guard = state(3), KeyTries()
    for left in (2, 1):
        with pytest.raises(AuthenticationFailedError) as failed:
            opened(card, guard).authenticate("RK_SSSE", WrongKeys())
        assert failed.value.attempts_remaining == left
    for authenticator in (WrongKeys(), key_service()):
        with pytest.raises(LastKeyTryError) as kept:
            opened(card, guard).authenticate("RK_SSSE", authenticator)
        assert failure_of(kept.value) is FailureCode.KEY_LAST_TRY
    assert tries_of(card) == 1


def test_an_operator_may_spend_it_and_success_forgets() -> None:
    card, guard = state(2), KeyTries()
    with pytest.raises(AuthenticationFailedError):
        opened(card, guard).authenticate("RK_SSSE", WrongKeys())
    opened(card, guard, use_last_try=True).authenticate("RK_SSSE", key_service())
    assert tries_of(card) == 3
    opened(card, guard).authenticate("RK_SSSE", key_service())


def test_a_spent_key_is_told_as_locked_and_costs_nothing_more() -> None:
    card, guard = state(1), KeyTries()
    with pytest.raises(KeyLockedError):
        opened(card, guard, use_last_try=True).authenticate("RK_SSSE", WrongKeys())
    with pytest.raises(KeyLockedError):
        opened(card, guard).authenticate("RK_SSSE", key_service())


def test_cards_and_keys_are_kept_apart() -> None:
    guard = KeyTries()
    guard.failed(b"card 1", "RK_SSSE", 1)
    guard.require(b"card 2", "RK_SSSE", use_last_try=False)
    guard.require(b"card 1", "UK_SSSE", use_last_try=False)
    guard.failed(b"card 1", "UK_SSSE", 14)
    guard.require(b"card 1", "UK_SSSE", use_last_try=False)
    with pytest.raises(LastKeyTryError):
        guard.require(b"card 1", "RK_SSSE", use_last_try=False)


def test_a_guard_with_a_file_outlives_its_process(tmp_path: Path) -> None:
    path = tmp_path / "tries.json"
    KeyTries(path).failed(b"card", "RK_SSSE", 1)
    assert KeyTries(path).left(b"card", "RK_SSSE") == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    KeyTries(path).succeeded(b"card", "RK_SSSE")
    assert KeyTries(path).left(b"card", "RK_SSSE") is None
    for junk in ("", "[1]", '{"a": "b"}', "\ud800".encode("utf-16", "surrogatepass").decode("latin-1")):
        path.write_text(junk, encoding="latin-1")
        assert KeyTries(path).left(b"card", "RK_SSSE") is None


# -- the PIN ----------------------------------------------------------------------------------------------------------


def test_a_wrong_pin_is_never_sent_twice() -> None:
    card = state()
    session = opened(card, KeyTries())
    with pytest.raises(PinWrongError):
        session.verify_pin("0000")
    for again in (lambda: session.verify_pin("0000"), lambda: session.change_pin("0000", "111111")):
        with pytest.raises(RepeatedPinError) as refused:
            again()
        assert failure_of(refused.value) is FailureCode.PIN_WRONG
    assert session.pin_tries() == 2
    session.verify_pin(PIN)
    assert session.pin_tries() == 3


def test_changing_the_pin() -> None:
    card = state()
    session = opened(card, KeyTries())
    with pytest.raises(PinWrongError):
        session.change_pin("222222", "654321")
    session.change_pin(PIN, "222222")
    assert session.is_pin_verified
    session.verify_pin("222222")
    with pytest.raises(CodecError, match="old PIN"):
        session.change_pin("", "111111")
    session.change_pin("222222", "")
    assert session.pin_tries() is None
    with pytest.raises(CodecError, match="no PIN yet"):
        session.change_pin("222222", "111111")
    session.change_pin("", "12345")
    assert not session.is_pin_verified
    session.verify_pin("12345")


def test_changing_keeps_the_last_try_too() -> None:
    card = state()
    session = opened(card, KeyTries())
    for wrong in ("0000", "1111"):
        with pytest.raises(PinWrongError):
            session.change_pin(wrong, "654321")
    with pytest.raises(LastTryError):
        session.change_pin(PIN, "654321")
    session.change_pin(PIN, "654321", use_last_try=True)


def test_refusals_cost_no_command() -> None:
    chip = SimCard(state())
    count = CountingChannel(chip)
    guard = KeyTries()
    session = SocialSecurityCard(count, chip.power_on(), tries=guard)
    session.open()
    guard.failed(session.reset_information, "RK_SSSE", 1)
    before = count.apdus
    with pytest.raises(LastKeyTryError):
        session.authenticate("RK_SSSE", key_service())
    assert count.apdus == before
