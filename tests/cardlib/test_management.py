"""PIN unblock and reload, application and card block: the vectors' bytes through host code, then the life of a card."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from apdu.errors import CardBlockedError, PinLockedError, PinWrongError, SecureMessagingError
from cardlib.codec import CodecError
from cardlib.management import block_application, block_card, reload_pin, remove_pin, unblock_pin
from cardlib.session import SocialSecurityCard
from hsm.soft import SoftKeyService
from simulators.card import Algorithm, SimCard
from tests.cardlib.support import key_service_of
from tests.simulators.support import BOTH, FixedRandom, algorithm_of, of_kind, vector_roots, vector_state


@cache
def keys() -> SoftKeyService:
    return key_service_of(vector_roots())


def opened(card: SimCard) -> SocialSecurityCard:
    session = SocialSecurityCard(card, card.power_on())
    session.open()
    return session


VECTORS = [
    vector
    for kind in ("pin_reload", "pin_unblock", "application_block", "card_block")
    for vector in of_kind(kind)
    if vector["key_name"] != "STK16"  # a variant with a key no card of ours has
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_vectors(vector: dict[str, Any]) -> None:
    algorithm = algorithm_of(vector)
    card = SimCard(vector_state(algorithm), rng=FixedRandom())
    sent: list[str] = []

    class Line:
        def transmit(self, command: bytes) -> bytes:
            sent.append(command.hex().upper())
            return card.transmit(command)

    session = SocialSecurityCard(Line(), card.power_on())
    session.open()
    match vector["kind"]:
        case "pin_reload":
            reload_pin(session, keys(), vector["new_pin"])
        case "pin_unblock":
            unblock_pin(session, keys())
        case "application_block":
            block_application(session, "DF03", keys())
        case _:
            block_card(session, keys())
    assert sent[-1] == vector["capdu"]


@pytest.mark.parametrize("algorithm", BOTH)
def test_a_locked_pin_comes_back(algorithm: Algorithm) -> None:
    card = SimCard(vector_state(algorithm))
    session = opened(card)
    for wrong in ("0000", "1111"):
        with pytest.raises(PinWrongError):
            session.verify_pin(wrong)
    with pytest.raises(PinLockedError):
        session.verify_pin("2222", use_last_try=True)
    unblock_pin(session, keys())
    session.verify_pin("123456")
    reload_pin(session, keys(), "654321")
    assert not session.is_pin_verified
    session.verify_pin("654321")
    for bad in ("", "123", "12a4"):
        with pytest.raises(CodecError):
            reload_pin(session, keys(), bad)


def test_a_first_pin_is_loaded() -> None:
    card = SimCard(vector_state(Algorithm.SM4, pin=""))
    session = opened(card)
    assert session.pin_tries() is None
    reload_pin(session, keys(), "123456")
    assert session.pin_tries() == 3


@pytest.mark.parametrize("algorithm", BOTH)
def test_a_pin_is_removed_by_reload(algorithm: Algorithm) -> None:
    """LD 00 (P5 §6.8.3)."""
    session = opened(SimCard(vector_state(algorithm)))
    remove_pin(session, keys())
    assert session.pin_tries() is None
    session.change_pin("", "2468")


@pytest.mark.parametrize("df", ["DF01", "DF02", "DF03", "DF04", "DF07"])
def test_each_application_is_blocked_alone(df: str) -> None:
    card = SimCard(vector_state(Algorithm.SM4, pin=""))
    session = opened(card)
    block_application(session, df, keys())
    card.power_off()
    session = opened(card)
    refused = session.read_all(keys()).refused
    assert {path[:4] for path in refused} == {df}
    with pytest.raises(CodecError):
        block_application(session, "SSSE", keys())


def test_a_blocked_card_answers_nothing_more() -> None:
    card = SimCard(vector_state(Algorithm.TRIPLE_DES))
    block_card(opened(card), keys())
    card.power_off()
    with pytest.raises(CardBlockedError):
        opened(card)


def test_a_wrong_mac_takes_the_authentication_back() -> None:
    """The card asks for PUK anew; the session must not believe it still has it."""
    card = SimCard(vector_state(Algorithm.SM4))
    session = opened(card)
    stk = next(key for key in card.state.dfs[0].keys if key.kid == 0x02)
    right, stk.value = stk.value, bytes(16)
    with pytest.raises(SecureMessagingError):
        unblock_pin(session, keys())
    stk.value = right
    unblock_pin(session, keys())
