"""Two- and three-step flows against the centre's side: the same results as with the PSAM."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apdu.serial.errors import PinEntryCancelledError
from cardlib.codec import CodecError
from cardlib.driver_address import AddressError
from cardlib.hsm_route import chain, fall_back
from hsm.api import HsmError
from hsm.transactions import CryptogramError
from simulators.card import Algorithm
from tests.cardlib.driver_stand import FACTORS, INFO, TERMINAL, card, route, session, steps
from tests.simulators.support import BOTH

PAY = "0.1|0.2|20250316101500|"


def authenticated(text: str) -> str:
    return route().authentication(text, FACTORS)


def secured(text: str) -> str:
    return route().pin_command(text, FACTORS)


@pytest.mark.parametrize("algorithm", BOTH)
def test_basic_information_is_the_same(algorithm: Algorithm) -> None:
    expected = session(card(algorithm)).read_card_bas()
    _, flow = steps(card(algorithm))
    first = flow.read_card_bas_step1()
    assert first[0] == 0
    items = first[1].split("|")
    assert items[:4] == [
        "990100",
        "00FE00000086FE990100000001",
        "03" if algorithm is Algorithm.SM4 else "01",
        "990100D15600000500000001FFFFFFFF",
    ]
    assert [len(item) for item in items[4:]] == [16] * 4 + [0] if algorithm is Algorithm.SM4 else [16, 16, 0, 0, 0]
    assert chain(first, (route().card_bas, flow.read_card_bas_step2)) == expected


@pytest.mark.parametrize("algorithm", BOTH)
def test_reading_and_writing_are_the_same(algorithm: Algorithm) -> None:
    address, chip = "SSSEEF08|$", card(algorithm)
    _, flow = steps(chip)
    expected = session(card(algorithm)).read_card(2, INFO, address)
    first = flow.read_card_step1(INFO, address)
    assert first[0] == 0, first
    assert [len(item) for item in first[1].split("|")[2:]] == [16, 16, 0]
    assert chain(first, (authenticated, flow.read_card_step2)) == expected
    target = "DF01EF06|28|$"
    data = "DF01EF06|01000000009|$"
    write: Callable[[str], tuple[int, str]] = lambda pkey: flow.write_card_step2(pkey, data)  # noqa: E731
    assert chain(flow.write_card_step1(INFO, target), (authenticated, write)) == (0, "")
    readers = session(chip)
    assert readers.read_card(2, INFO, target)[1] == data


def test_free_files_need_no_security_module_and_only_the_first_file_counts() -> None:
    _, flow = steps(card(Algorithm.SM4))
    assert flow.read_card_step1(INFO, "SSSEEF05|07|$")[0] == -2204
    assert flow.read_card_step2("00" * 16)[0] == -23
    first = flow.read_card_step1(INFO, "SSSEEF06|08|$SSSEEF05|07|$")
    assert chain(first, (authenticated, flow.read_card_step2)) == (0, "SSSEEF06|990100199001010012|$")


@pytest.mark.parametrize("algorithm", BOTH)
def test_pin_reload_and_unblock(algorithm: Algorithm) -> None:
    own, flow = steps(card(algorithm), "000000", "1111", "2468", "2468")
    assert own.verify_pin()[0] == own.verify_pin()[0] == -51
    first = flow.unblock_pin_step1(INFO)
    assert first[1].split("|")[1] == "0x1A06"
    second = flow.unblock_pin_step2(authenticated(first[1]))
    assert second[1].split("|")[3:] == ["8424000004", "", ""]
    assert len(secured(second[1])) == 18
    assert flow.unblock_pin_step3(secured(second[1])) == (0, "")
    assert own.opened().pin_tries() == 3
    second = flow.reload_pin_step2(authenticated(flow.reload_pin_step1(INFO)[1]))
    header = "8424000114" if algorithm is Algorithm.SM4 else "842400010C"
    assert second[1].split("|")[3:] == [header, "2468", ""]
    command = secured(second[1])
    assert len(command) == (50 if algorithm is Algorithm.SM4 else 34)
    assert flow.reload_pin_step3(command) == (0, "")
    assert own.verify_pin() == (0, "")


def test_a_cancelled_entry_spends_nothing_and_ends_the_flow() -> None:
    own, flow = steps(card(Algorithm.SM4), PinEntryCancelledError("x"))
    pkey = authenticated(flow.reload_pin_step1(INFO)[1])
    assert flow.reload_pin_step2(pkey)[0] == -31
    assert flow.reload_pin_step2(pkey)[0] == -23
    assert own.opened().pin_tries() == 3


@pytest.mark.parametrize("algorithm", BOTH)
def test_debit_is_the_same(algorithm: Algorithm) -> None:
    expected = session(card(algorithm, pin="")).do_debit(INFO, PAY)
    _, flow = steps(card(algorithm, pin=""))
    first = flow.do_debit_step1(INFO, PAY)
    assert first[0] == 0, first
    assert first[1].split("|")[4:8] == ["0000000A00000014", "32", TERMINAL, "20250316101500"]
    centre = route()
    order = centre.debit(first[1], FACTORS)
    code, text = flow.do_debit_step2(order.pkey)
    mac2, _, own = text.partition("|")
    assert (code, own) == expected
    assert len(mac2) == 8
    centre.check_debit(text, order, FACTORS)
    with pytest.raises(CryptogramError):
        centre.check_debit("00000000|" + own, order, FACTORS)
    assert flow.do_debit_step2(order.pkey)[0] == -23, "no step twice"


def test_wrong_answers_of_the_centre_are_refused() -> None:
    _, flow = steps(card(Algorithm.SM4))
    first = flow.read_card_bas_step1()[1]
    pkey = route().card_bas(first)
    assert flow.read_card_bas_step2("00" * 8 + pkey[16:])[0] == -21
    other = flow.read_card_bas_step1()
    assert flow.read_card_bas_step2(pkey)[0] == -23, "an answer to an older request"
    assert other[0] == 0
    step1 = flow.read_card_step1(INFO, "SSSEEF06|08|$")[1]
    right = authenticated(step1)
    assert flow.read_card_step2("00" * 8 + right[16:])[0] in range(-25551, -25535)
    step1 = flow.read_card_step1(INFO, "SSSEEF06|08|$")[1]
    assert flow.read_card_step2(authenticated(step1)[:-1])[0] == -23


def test_steps_out_of_order_are_refused() -> None:
    _, flow = steps(card(Algorithm.SM4), "2468")
    pkey = authenticated(flow.unblock_pin_step1(INFO)[1])
    assert flow.reload_pin_step2(pkey)[0] == -23
    assert flow.unblock_pin_step2(pkey)[0] == -23
    assert flow.unblock_pin_step3("8424000004" + "00" * 4)[0] == -23
    second = flow.unblock_pin_step2(authenticated(flow.unblock_pin_step1(INFO)[1]))
    assert flow.unblock_pin_step3("8416000004" + secured(second[1])[10:])[0] == -23


def test_the_centre_secures_nothing_else() -> None:
    line = f"03|0x1A02|{'A1' * 8}|"
    for header in ("8416000004", "841E000104", "8424000104", "842400011C"):
        with pytest.raises(AddressError):
            secured(f"{line}{header}|{'1234' if header.startswith('84240001') else ''}|")
    for address in ("0x1A02", "STK", "DPK", "TK", "MK_SSSE"):
        with pytest.raises((AddressError, HsmError)):
            authenticated(f"03|{address}|{'A1' * 8}|{'B2' * 8}|")


@settings(max_examples=100)
@given(st.text(st.sampled_from("0123AF|x甲"), max_size=80))
def test_any_text_is_refused_by_type(text: str) -> None:
    for ask in (route().card_bas, authenticated, secured, lambda step: route().debit(step, FACTORS).pkey):
        with pytest.raises((CodecError, HsmError)):
            ask(text)


def test_fall_back_takes_the_other_way_on_the_documented_codes_only() -> None:
    for code in (-2201, -2202, -2203, -27272, -24, -21, -22, -51, -52, 0):
        answer = fall_back(lambda code=code: (code, "psam"), lambda: (0, "hsm"))  # type: ignore[misc]
        assert answer == ((0, "hsm") if code in {-2201, -2202, -2203, -27272, -24} else (code, "psam"))
    own, flow = steps(card(Algorithm.SM4))
    by_hsm = lambda: chain(flow.read_card_bas_step1(), (route().card_bas, flow.read_card_bas_step2))  # noqa: E731
    assert fall_back(own.read_card_bas, by_hsm) == session(card(Algorithm.SM4)).read_card_bas()


def test_an_error_of_the_centre_is_a_code() -> None:
    _, flow = steps(card(Algorithm.SM4))
    first = flow.read_card_step1(INFO, "SSSEEF06|08|$")
    assert chain(first, (lambda _text: route().authentication("x", FACTORS), flow.read_card_step2))[0] == -23
