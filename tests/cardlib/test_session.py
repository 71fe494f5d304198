"""Reading and writing by name, the command budgets, and what a bad card or channel does to them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from apdu.channel import Channel, CountingChannel
from apdu.errors import ApduError, KeyLockedError, PinWrongError, StatusWordError
from cardlib.codec import CodecError
from cardlib.driver import error_answer, read_card_bas
from cardlib.failures import FailureCode, describe, failure_of
from cardlib.psam import PsamAbsentError, PsamAlgorithmError, PsamAuthenticator, PsamReadKeyMissingError
from cardlib.session import (
    CardBlankError,
    CardDataError,
    CardNotGenuineError,
    CardUnsupportedError,
    LastTryError,
    SocialSecurityCard,
)
from cardlib.spec import Generation
from hsm.api import Algorithm
from simulators.card import Algorithm as ChipAlgorithm
from simulators.card import SimCard
from simulators.factory import build_card
from simulators.personas import load
from simulators.psam import SimPsam
from tests.cardlib.support import blank, key_service, roots


def sim(name: str) -> SimCard:
    persona = load(name)
    return SimCard(build_card(persona, roots()), faults=persona.faults())


def opened(card: SimCard, channel: Channel | None = None) -> SocialSecurityCard:
    return SocialSecurityCard(channel or card, card.power_on())


def psam() -> PsamAuthenticator:
    chip = SimPsam(roots(), region="990100")
    chip.power_on()
    return PsamAuthenticator(chip)


# -- budgets (targets.md, row 13) -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adult-1.0", "adult-2.0"])
def test_basic_information_of_old_cards_takes_three_commands(name: str) -> None:
    card = sim(name)
    count = CountingChannel(card)
    basic = opened(card, count).read_basic()
    # The 1.0 file is shorter than the 2.0 one: its table knows, so no 6Cxx is spent.
    assert count.apdus == 3
    assert (basic.algorithm, basic.genuine) == (Algorithm.TDES, None)


@pytest.mark.parametrize("name", ["adult-3.0", "child-3.0", "rare-name-3.0"])
def test_basic_information_of_3_0_with_psam_takes_seven_commands(name: str) -> None:
    card = sim(name)
    count = CountingChannel(card)
    basic = opened(card, count).read_basic(psam())
    assert count.apdus == 7
    assert (basic.generation, basic.algorithm, basic.genuine) == (Generation.V3, Algorithm.SM4, True)


# -- values -----------------------------------------------------------------------------------------------------------


def test_values_are_the_personas() -> None:
    basic = opened(sim("adult-2.0")).read_basic(key_service())
    assert basic.name == "测试甲"
    assert basic.card_number == "A10000015"
    assert basic.region == "990100"
    assert basic.birth_date == "19900101"


def test_rare_and_long_names_come_back_whole() -> None:
    assert opened(sim("rare-name-3.0")).read_basic(psam()).name == "测试䶮·艾克拜尔·示例·阿卜杜热合曼"


def test_psam_and_key_service_agree() -> None:
    card = sim("adult-3.0")
    assert opened(card).read_basic(psam()) == opened(card).read_basic(key_service())


def test_an_item_is_written_by_name_and_read_back() -> None:
    card = sim("adult-3.0")
    session = opened(card)
    session.open()
    session.write_item("telephone", "01000000000", key_service())
    assert opened(card).read_item("telephone", key_service()) == "01000000000"


def test_a_bad_value_is_refused_before_any_command() -> None:
    session = opened(sim("adult-3.0"))
    session.open()
    count = CountingChannel(session._channel)
    session._channel = count  # type: ignore[assignment]
    with pytest.raises(CodecError):
        session.write_item("issue_date", "20261399", key_service())
    assert count.apdus == 0


def test_local_keys_find_their_application() -> None:
    session = opened(sim("adult-3.0"))
    session.open()
    session.authenticate("RK1DF04", key_service())
    session.authenticate("RK1DF03", key_service())


# -- the holder's PIN -------------------------------------------------------------------------------------------------


def test_wrong_pins_are_counted_and_the_last_try_is_kept() -> None:
    session = opened(sim("adult-2.0"))
    session.open()
    assert session.pin_tries() == 3
    with pytest.raises(PinWrongError) as wrong:
        session.verify_pin("0000")
    assert wrong.value.attempts_remaining == 2
    with pytest.raises(PinWrongError):
        session.verify_pin("1111")
    with pytest.raises(LastTryError) as kept:
        session.verify_pin("2222")
    assert kept.value.attempts_remaining == session.pin_tries() == 1
    session.verify_pin(load("adult-2.0").pin, use_last_try=True)
    assert session.pin_tries() == 3


@pytest.mark.parametrize("pin", ["", "123", "1234567890123", "12a4", "１２３４"])
def test_what_is_no_pin_never_reaches_the_card(pin: str) -> None:
    session = opened(sim("adult-2.0"))
    session.open()
    with pytest.raises(CodecError):
        session.verify_pin(pin)
    assert session.pin_tries() == 3


# -- cards that are not right -----------------------------------------------------------------------------------------


def test_3_0_without_psam_says_so() -> None:
    with pytest.raises(PsamAbsentError):
        opened(sim("adult-3.0")).read_basic()


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("garbage", FailureCode.CARD_DATA_INVALID),
        ("truncated-records", FailureCode.CARD_DATA_INVALID),
        ("blocked-2.0", FailureCode.CARD_BLOCKED),
        ("blank-3.0", FailureCode.CARD_STATE),
        ("chip-3.0", FailureCode.CARD_STATE),
        ("unknown-atr", FailureCode.NOT_SOCIAL_SECURITY_CARD),
    ],
)
def test_each_bad_card_has_its_failure(name: str, failure: FailureCode) -> None:
    card = sim(name)
    with pytest.raises((ApduError, CardDataError, CardBlankError, CardUnsupportedError, ValueError)) as error:
        opened(card).read_basic(key_service())
    assert failure_of(error.value) is failure
    code, text = error_answer(error.value)
    assert code < 0
    assert text


def test_a_card_of_other_roots_is_not_genuine() -> None:
    state = build_card(load("adult-2.0"), roots())
    next(key for key in state.dfs[0].keys if key.kid == 0).value = bytes(16)
    with pytest.raises(CardNotGenuineError):
        opened(SimCard(state)).read_basic(key_service())


def test_a_locked_key_is_told_from_a_wrong_one() -> None:
    state = build_card(load("adult-3.0"), roots())
    key = next(key for key in state.dfs[0].keys if key.kid == 0x0A)
    key.retry_left = 0
    with pytest.raises(KeyLockedError):
        opened(SimCard(state)).read_basic(key_service())


def test_every_flipped_answer_is_noticed_or_harmless() -> None:
    """Flip one bit of each answer in turn: never another exception than a typed one, never another person's number."""
    card = sim("adult-3.0")
    right = opened(card).read_basic(key_service())
    for position in range(7):

        class Flip:
            def __init__(self, target: int) -> None:
                self.target, self.count = target, 0

            def transmit(self, command: bytes) -> bytes:
                answer = card.transmit(command)
                self.count += 1
                return bytes((answer[0] ^ 0x40,)) + answer[1:] if self.count == self.target + 1 else answer

        code, text = read_card_bas(Flip(position), card.power_on(), authenticator=key_service())
        assert code != describe(FailureCode.INTERNAL).driver_code, text
        assert code < 0 or text.split("|")[1] == right.social_security_number


class Noise:
    """A card that answers anything."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = list(answers)

    def transmit(self, command: bytes) -> bytes:
        return self._answers.pop(0) if self._answers else b"\x6f\x00"


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@example([b"\x00\x00"])
@given(st.lists(st.binary(max_size=80).map(lambda b: b + b"\x90\x00") | st.binary(max_size=4), max_size=12))
def test_noise_ends_in_a_typed_failure(answers: list[bytes]) -> None:
    atr = bytes.fromhex("3B6D000000FE00000086FE990100000001")
    code, text = read_card_bas(Noise(answers), atr, authenticator=None)
    assert code < 0
    assert "未知错误" not in text


# -- driver and PSAM --------------------------------------------------------------------------------------------------


def test_the_driver_string_has_eleven_fields() -> None:
    card = sim("adult-3.0")
    reader = psam()
    code, text = read_card_bas(
        card,
        card.power_on(),
        authenticator=reader,
        terminal_number=reader.terminal_number,
        device_number="TEST00000001",
    )
    fields = text.split("|")
    assert (code, len(fields), fields[-1]) == (0, 12, "")
    assert fields[:3] == ["990100", "990101198808080048", "A10000023"]
    assert fields[4:9] == ["测试丙", "00FE00000086FE990103000001", "3.00", "20250101", "20350101"]
    assert fields[9] == reader.terminal_number
    assert fields[10] == "TEST00000001"


@pytest.mark.parametrize(("name", "code"), [("adult-3.0", -2201), ("blocked-2.0", -27265)])
def test_driver_codes_of_failures(name: str, code: int) -> None:
    card = sim(name)
    assert read_card_bas(card, card.power_on(), authenticator=None)[0] == code


def test_a_psam_without_the_environment_says_so() -> None:
    chip = SimPsam(roots(), region="990100", algorithms=(ChipAlgorithm.TRIPLE_DES,))
    chip.power_on()
    with pytest.raises(PsamAlgorithmError):
        opened(sim("adult-3.0")).read_basic(PsamAuthenticator(chip))


def test_a_psam_without_the_read_key_says_so() -> None:
    chip = SimPsam(roots(), region="990100", without=frozenset({"RK_SSSE"}))
    chip.power_on()
    with pytest.raises(PsamReadKeyMissingError):
        opened(sim("adult-3.0")).read_basic(PsamAuthenticator(chip))


def test_a_psam_with_roots_of_another_level_is_served() -> None:
    """A city PSAM may hold level-2 or level-3 roots (draft P9 §8); the number of factors is found by trying."""
    chip = SimPsam(roots(), region="990100", levels={"IRK": 2, "RK_SSSE": 1})
    chip.power_on()
    assert opened(sim("adult-3.0")).read_basic(PsamAuthenticator(chip)).genuine


def test_a_card_in_the_psam_slot_is_no_psam() -> None:
    card = sim("adult-2.0")
    card.power_on()
    with pytest.raises(PsamAbsentError):
        PsamAuthenticator(card)


def test_a_blank_is_not_read_as_a_card() -> None:
    with pytest.raises(CardBlankError):
        opened(SimCard(blank())).read_basic(key_service())


def test_status_words_become_driver_codes() -> None:
    session = opened(sim("adult-3.0"))
    session.open()
    with pytest.raises(StatusWordError) as refused:
        session.read_file("DF04EF06", key_service())
    assert error_answer(refused.value)[0] == -0x6982
