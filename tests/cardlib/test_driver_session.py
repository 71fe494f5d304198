"""The driver functions with a PSAM: documented strings and codes, and never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apdu.errors import CardRemovedError
from apdu.serial.errors import PinEntriesDifferError, PinEntryCancelledError, PinEntryTimeoutError, PinLengthError
from apdu.sw import error as tries_left
from cardlib.driver_session import DriverSession
from cardlib.spec import Generation, Structure, load
from simulators.card import Algorithm, SimCard
from simulators.factory import build_card
from simulators.personas import load as persona
from tests.cardlib.driver_stand import INFO, TERMINAL, Holder, card, session
from tests.cardlib.support import key_service, roots
from tests.simulators.support import BOTH

BAS = (
    "990100|990100199001010012|A00000011|990100D15600000500000001FFFFFFFF|测试甲|00FE00000086FE990100000001|3.00|"
    f"20250101|20350101|{TERMINAL}|TEST00000001|"
)


@pytest.mark.parametrize("algorithm", BOTH)
def test_basic_information_is_the_documented_string(algorithm: Algorithm) -> None:
    code, text = session(card(algorithm)).read_card_bas()
    assert code == 0
    if algorithm is Algorithm.SM4:
        assert text == BAS
    assert text.count("|") == 11


@pytest.mark.parametrize("algorithm", BOTH)
def test_values_stand_in_the_order_asked_for(algorithm: Algorithm) -> None:
    driver = session(card(algorithm))
    asked = "SSSEEF05|07|05|$MFEF06|09|08|4E|$DF04EF05|8F|$"
    answer = "SSSEEF05|A00000011|20250101|$MFEF06|测试甲|990100199001010012||$DF04EF05|2|$"
    assert driver.read_card(2, INFO, asked) == (0, answer)


def test_every_item_of_every_file_is_read_and_written_back() -> None:
    state = build_card(persona("adult-2.0"), roots())
    chip = SimCard(state)
    driver = _with_keys(chip)
    info = _info(driver)
    assert driver.verify_pin() == (0, "")
    spec = load(Generation.V2)
    for ef in (ef for df in spec.dfs if not df.is_optional for ef in df.efs):
        if not ef.name.startswith("EF") or ef.structure not in (
            Structure.LINEAR_FIXED,
            Structure.LINEAR_VARIABLE,
            Structure.CYCLIC,
            Structure.TRANSPARENT,
        ):
            continue
        is_linear = ef.structure in (Structure.LINEAR_FIXED, Structure.LINEAR_VARIABLE)
        tags = [
            f"{item.tag:02X}" + (f":{n}" if item.count > 1 else "")
            for item in ef.items
            for n in range(1, item.count + 1)
            if item.tag is not None
        ]
        address = "|".join([ef.path, *(tags if is_linear else [])]) + "|$"
        code, text = driver.read_card(2, info, address)
        assert code == 0, (ef.path, text)
        if is_linear and ef.write.names_key and "||" not in text:
            assert driver.write_card(info, address, text) == (0, ""), ef.path
            assert driver.read_card(2, info, address) == (0, text)


def test_written_values_are_on_the_card_and_bad_ones_change_nothing() -> None:
    driver = _with_keys(SimCard(build_card(persona("adult-2.0"), roots())))
    info = _info(driver)
    address = "DF01EF06|28|$"
    assert driver.write_card(info, address, "DF01EF06|01000000009|$") == (0, "")
    assert driver.read_card(2, info, address) == (0, "DF01EF06|01000000009|$")
    both = "DF01EF06|28|$SSSEEF06|0D|$"
    assert driver.write_card(info, both, "DF01EF06|01000000007|$SSSEEF06|19901340|$")[0] == -23
    assert "a file is named like" in driver.read_card(2, info, "SSSEEF|08|$")[1], "what to mend"
    assert driver.read_card(2, info, address) == (0, "DF01EF06|01000000009|$")
    name = "SSSEEF06|4E|09|$"
    assert driver.write_card(info, name, "SSSEEF06||测试辛|$") == (0, "")
    assert driver.read_card(2, info, name) == (0, "SSSEEF06||测试辛|$")


def test_cyclic_records() -> None:
    driver = _with_keys(SimCard(build_card(persona("adult-2.0"), roots())))
    info = _info(driver)
    code, text = driver.read_card(2, info, "DF02EF07|$")
    assert code == 0
    newest = text.split("|")[1]
    assert driver.read_card(2, info, "DF02EF07:1|$") == (0, f"DF02EF07:01|{newest}|$")
    assert driver.write_card(info, "DF02EF07|$", f"DF02EF07|{newest}|$") == (0, "")
    assert driver.read_card(2, info, "DF02EF07|$")[1].startswith(f"DF02EF07|{newest}|{newest}|")
    assert driver.read_card(2, info, "DF02EF07:200|$")[0] == -27267
    assert driver.write_card(info, "DF02EF07|$", f"DF02EF07|{newest[2:]}|$")[0] == -23


@pytest.mark.parametrize(
    ("info", "code"),
    [
        ("990100D15600000500000002FFFFFFFF|A00000011|", -22),
        ("990100D15600000500000001FFFFFFFF|A00000012|", -22),
        ("990100D1560000050000000|A00000011|", -20),
        ("", -23),
    ],
)
def test_another_card_is_refused_by_every_function_that_names_one(info: str, code: int) -> None:
    driver = session(card(Algorithm.SM4), "123456")
    assert driver.read_card(2, info, "SSSEEF05|07|$")[0] == code
    assert driver.write_card(info, "DF01EF06|28|$", "DF01EF06|1|$")[0] == code
    assert driver.reload_pin(info)[0] == code
    assert driver.unblock_pin(info)[0] == code
    assert driver.do_debit(info, "0.1|0.2|20250316101500|")[0] == code


def test_wrong_parameters_have_their_codes() -> None:
    driver = session(card(Algorithm.SM4))
    assert driver.read_card(3, INFO, "SSSEEF05|07|$")[0] == -14
    for address in ("SSSEEF05", "SSSEEF05|$", "SSSEEF05|7F|$", "DF09EF05|07|$", "SSSEEF05|07:2|$", "SSSEEF05:1|$"):
        assert driver.read_card(2, INFO, address)[0] == -23, address
    assert driver.do_debit(INFO, "a|b|c|")[0] == -23


def test_without_psam_the_codes_lead_to_the_security_module() -> None:
    driver = session(card(Algorithm.SM4), by="none")
    assert driver.read_card_bas()[0] == -2201
    assert driver.read_card(2, INFO, "SSSEEF06|08|$")[0] == -2201
    assert driver.write_card(INFO, "DF01EF06|28|$", "DF01EF06|1|$")[0] == -2201
    assert driver.do_debit(INFO, "0.1|0.2|20250316101500|")[0] == -2201
    assert driver.reload_pin(INFO)[0] == driver.unblock_pin(INFO)[0] == -2201
    with_psam = session(card(Algorithm.SM4), "123456")
    assert with_psam.reload_pin(INFO)[0] == -24
    assert with_psam.terminal.pin_entry.asked == [], "the holder is not asked in vain"  # type: ignore[union-attr]


# -- the PIN ----------------------------------------------------------------------------------------------------------


def test_pin_opens_what_either_pin_or_key_opens() -> None:
    driver = session(card(Algorithm.TRIPLE_DES), "123456", by="none")
    address = next(
        f"{ef.path}|{item.tag:02X}|$"
        for df in load(Generation.V2).dfs
        for ef in df.efs
        if ef.read.kind.name == "PIN_OR_KEY" and not df.is_optional
        for item in ef.items[:1]
        if item.tag is not None
    )
    assert driver.read_card(1, INFO, address)[0] == -27010
    assert driver.read_card(2, INFO, address)[0] == -27010
    assert driver.verify_pin() == (0, "")
    assert driver.read_card(1, INFO, address)[0] == 0


def test_wrong_pins_count_down_and_the_last_try_is_kept() -> None:
    driver = session(card(Algorithm.SM4), "000000", "111111", "123456")
    assert driver.verify_pin()[0] == -51
    code, text = driver.verify_pin()
    assert code == -51
    assert "还可尝试1次" in text
    assert driver.verify_pin()[0] in (-51, -52)


def test_change_pin() -> None:
    chip = card(Algorithm.SM4)
    driver = session(chip, "123456", "654321", "654321")
    assert driver.change_pin() == (0, "")
    holder = driver.terminal.pin_entry
    assert isinstance(holder, Holder)
    assert holder.asked == [False, True]
    assert driver.verify_pin() == (0, "")
    fresh = session(card(Algorithm.SM4, pin=""), "2468")
    assert fresh.verify_pin() == (0, "")
    assert fresh.change_pin() == (0, "")
    assert fresh.terminal.pin_entry.asked == [True]  # type: ignore[union-attr]


@pytest.mark.parametrize("by", ["keys", "message psam"])
@pytest.mark.parametrize("algorithm", BOTH)
def test_reload_and_unblock_with_message_keys(algorithm: Algorithm, by: str) -> None:
    driver = session(card(algorithm), "000000", "86421357", "86421357", by=by)
    assert driver.verify_pin()[0] == -51
    assert driver.unblock_pin(INFO) == (0, "")
    assert driver.opened().pin_tries() == 3
    assert driver.reload_pin(INFO) == (0, "")
    assert driver.verify_pin() == (0, "")


def test_a_psam_with_a_mac_key_unblocks() -> None:
    driver = session(card(Algorithm.TRIPLE_DES), "000000")
    assert driver.verify_pin()[0] == -51
    assert driver.unblock_pin(INFO) == (0, "")
    assert driver.opened().pin_tries() == 3


def test_the_last_try_of_puk_is_kept() -> None:
    driver = session(card(Algorithm.SM4))
    driver.opened().remember_failure("PUK", tries_left(0x63C1, 0x82))
    assert driver.unblock_pin(INFO)[0] == -25537


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PinEntryCancelledError("x"), -31),
        (PinEntryTimeoutError("x"), -32),
        (PinLengthError("x"), -33),
        (PinEntriesDifferError("x"), -34),
    ],
)
def test_failed_entries_cost_no_try(error: Exception, code: int) -> None:
    driver = session(card(Algorithm.SM4), error, error, error, by="keys")
    assert driver.verify_pin()[0] == driver.change_pin()[0] == driver.reload_pin(INFO)[0] == code
    assert driver.opened().pin_tries() == 3


def test_a_terminal_without_pin_pad_does_not_have_the_pin_functions() -> None:
    driver = session(card(Algorithm.SM4), by="keys")
    assert [driver.verify_pin()[0], driver.change_pin()[0], driver.reload_pin(INFO)[0]] == [-13] * 3


# -- settlement -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", BOTH)
def test_debit_and_its_record(algorithm: Algorithm) -> None:
    driver = session(card(algorithm), "123456")
    assert driver.verify_pin() == (0, "")
    code, text = driver.do_debit(INFO, "0.1|0.2|20250316101500|")
    assert code == 0, text
    identifier = "03" if algorithm is Algorithm.SM4 else "01"
    assert text.startswith(f"{identifier}|0x1B01|0000000A00000014|32|{TERMINAL}|")
    assert text.split("|")[6] == "20250316101500"
    assert len(text.split("|")[7]) == 8
    code, records = driver.read_debit_record()
    assert code == 0
    assert TERMINAL + "20250316101500" in records.split("|")[0]


def test_a_debit_without_the_holders_pin_is_refused() -> None:
    code, text = session(card(Algorithm.SM4)).do_debit(INFO, "0.1|0.2|20250316101500|")
    assert code == -27010
    assert text


# -- never an exception -----------------------------------------------------------------------------------------------


class Gone:
    def transmit(self, command: bytes) -> bytes:
        raise CardRemovedError("gone")


def test_a_lost_card_is_a_code() -> None:
    driver = session(card(Algorithm.SM4), "1234")
    driver = DriverSession(Gone(), card(Algorithm.SM4).power_on(), driver.terminal)
    codes = {
        call[0]
        for call in (
            driver.read_card_bas(),
            driver.read_card(2, INFO, "SSSEEF05|07|$"),
            driver.verify_pin(),
            driver.change_pin(),
            driver.read_debit_record(),
        )
    }
    assert codes == {-2}


@settings(max_examples=60)
@given(st.binary(max_size=40))
def test_whatever_a_card_answers_is_a_code_or_text(answer: bytes) -> None:
    class Odd:
        def transmit(self, command: bytes) -> bytes:
            return answer

    sane = session(card(Algorithm.SM4), "1234")
    driver = DriverSession(Odd(), bytes.fromhex("3B6D000000FE00000086FE990100000001"), sane.terminal)
    for code, _text in (driver.read_card_bas(), driver.read_card(2, INFO, "SSSEEF05|07|$"), driver.read_debit_record()):
        assert code < 0


def _with_keys(chip: SimCard) -> DriverSession:
    driver = session(card(Algorithm.TRIPLE_DES), "123456", by="keys")
    object.__setattr__(driver.terminal, "authenticator", key_service())
    return DriverSession(chip, chip.power_on(), driver.terminal)


def _info(driver: DriverSession) -> str:
    found = driver.opened()
    return f"{found.identification_code}|{found.card_number}|"
