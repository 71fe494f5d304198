"""Conformance cases of card_commands.md 8.1 and 8.2; the numbers are those of the table."""

import pytest

from simulators.card import Algorithm, SimCard, crypto
from tests.simulators.support import BOTH, DF, SSSE, FixedRandom, Host, host, vector_state, vectors

UPDATE_DATE = "0504" + "20260202"


def test_session_read_3_0():
    """8.1: every byte of the worked 3.0 read."""
    rng = FixedRandom("0F0E0D0C0B0A0908", "A1A2A3A4A5A6A7A8")
    card = SimCard(vector_state(Algorithm.SM4), rng=rng)
    for step in vectors()["session_read_3_0"]:
        answer = card.power_on() if step["c"] == "reset" else card.transmit(bytes.fromhex(step["c"]))
        assert answer.hex().upper() == step["r"], step["c"]


def test_01_challenge_length():
    h = host()
    assert h("0084000005") == "6700"
    assert h("0084000010") == "6700"
    assert len(host(Algorithm.SM4)("0084000010")) == 36


@pytest.mark.parametrize("algorithm", BOTH)
def test_02_03_authentication_needs_a_fresh_challenge(algorithm):
    h = host(algorithm)
    h(SSSE)
    value = "0082000410" + "00" * 8 + "01" * 8
    assert h(value) == "6984"
    assert h.card.state.ssse.key({7}, 4).retry_left == 15
    assert h.authenticate(0x04) == "9000"
    session_key = crypto.session_key(algorithm, h.key(0x04), bytes.fromhex("A1A2A3A4A5A6A7A8"))
    again = crypto.authentication_value(algorithm, session_key, b"\x01" * 8).hex()
    h("0084000008")
    assert h(f"0082000410{again}{'01' * 8}") == "9000"
    assert h(f"0082000410{again}{'01' * 8}") == "6984"


def test_04_unknown_key():
    assert host().authenticate(0x0E, key=bytes(range(16))) == "6A88"


def test_05_key_locks_after_fifteen_failures():
    h = host()
    for left in range(14, -1, -1):
        assert h.authenticate(0x0A, key=bytes(range(16))) == f"63C{left:X}"
    assert h.authenticate(0x0A) == "6983"


def test_05_block_key_never_locks():
    h = host()
    for _ in range(20):
        assert h.authenticate(0x05, key=bytes(range(16))) == "63CF"
    assert h.authenticate(0x05) == "9000"


def test_06_local_key_is_lost_with_its_df():
    h = host()
    h(DF["DF04"])
    assert h.authenticate(0x84, "DF04") == "9000"
    assert h("00B2010500") == "6986"
    assert h("00B28F2803") == "8F01329000"
    h(DF["DF03"])
    h(DF["DF04"])
    assert h("00B28F2803") == "6982"


def test_07_global_key_outlives_a_df():
    h = host()
    assert h.authenticate(0x04) == "9000"
    h(DF["DF01"])
    h(SSSE)
    assert h(f"00DC052806{UPDATE_DATE}") == "9000"
    assert h("00B2052806") == f"{UPDATE_DATE}9000"


def test_08_reselection_keeps_security_state():
    h = host()
    h(DF["DF04"])
    h.authenticate(0x84, "DF04")
    h(DF["DF04"])
    assert h("00B28F2803").endswith("9000")


def test_09_no_current_file():
    assert host()("00B2010400") == "6986"


def test_10_absent_records():
    h = host()
    assert h("00B2082C00") == "6A83"
    assert h("00B27F2800") == "6A83"


def test_11_wrong_structure():
    h = host()
    h("00A4020002EF05")
    assert h("00B0000004") == "6981"
    h.authenticate(0x0A)
    h("00A4020002EF08")
    assert h("00B2010400") == "6981"


def test_12_offset_beyond_the_file():
    h = host()
    h.authenticate(0x0A)
    h("00A4020002EF08")
    assert h("00B0100001") == "6B00"
    assert h("00B00FFF05") == "6C01"


def test_13_14_update_checks():
    h = host()
    assert h(f"00DC052806{UPDATE_DATE}") == "6982"
    h.authenticate(0x04)
    assert h("00DC052806" + "0503202501") == "6700"
    assert h("00DC052806" + "050320250101") == "6A85"
    assert h("00DC052806" + "070420250101") == "6A85", "tag is not the identifier"
    assert h("00DC082C06" + "110420250101") == "6A84", "an eighth record has no room"
    assert h("00DC092C06" + "110420250101") == "6A83", "a gap in the numbers"


def test_15_secured_update():
    h = host()
    h(SSSE)
    h.authenticate(0x04)
    assert h(f"04DC05280A{UPDATE_DATE}00000000") == "6984"
    h("0084000008")
    assert h(f"04DC05280A{UPDATE_DATE}00000000") == "6988"
    h("0084000008")
    assert h(f"04DC052806{UPDATE_DATE}") == "6987"
    assert h.secured("04DC0528", UPDATE_DATE, h.key(0x02)) == "9000"


def test_16_17_pin_locks():
    h = host()
    assert [h("0020000003111111") for _ in range(3)] == ["63C2", "63C1", "63C0"]
    assert h("0020000003123456") == "6983"
    assert h("0020000000") == "63C0"


@pytest.mark.parametrize("algorithm", BOTH)
def test_18_19_pin_reload(algorithm):
    h = host(algorithm)
    h("0020000003111111")
    stk = h.key(0x02)
    session_key = crypto.session_key(algorithm, stk, bytes.fromhex("A1A2A3A4A5A6A7A8"))
    plain = bytes.fromhex("03654321") + b"\x80"
    cipher = crypto.ecb(algorithm, session_key, plain.ljust(algorithm.block, b"\0")).hex()
    assert h.secured("84240001", cipher, stk) == "6982"
    assert h.authenticate(0x06) == "9000"
    assert h.secured("84240001", cipher, stk) == "9000"
    assert h("0020000003654321") == "9000"
    assert h.secured("84240001", cipher, stk) == "6982"


def test_20_change_pin():
    h = host()
    assert h("805E010007111111FF654321") == "63C2"
    assert h("805E010007123456FF654321") == "9000"
    assert h("0020000000") == "63C3"
    assert h("0020000003654321") == "9000"


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("805E010006123456654321", "6A80"),
        ("805E010005123456FF65", "6A80"),
        ("805E01000712345AFF654321", "6A80"),
        ("805E010004FF123456", "63C2"),
        ("805E010001FF", "6700"),
        ("805E010007123456FF65432F", "9000"),
        ("805E010004123456FF", "9000"),
    ],
)
def test_20_change_pin_forms(command, sw):
    assert host()(command) == sw


def test_first_pin_and_removal():
    h = host(pin="")
    assert h("0020000000") == "9000"
    assert h("0020000003123456") == "63C3"
    assert h("805E010004FF123456") == "9000"
    assert h("0020000000") == "63C3"
    h(DF["DF01"])
    assert h("00B2202804") == "6982", "setting a first PIN does not verify it"
    h("0020000003123456")
    assert h("805E010004123456FF") == "9000"
    assert h("0020000000") == "9000"


def test_pin_digit_above_nine_is_a_wrong_pin():
    h = host()
    assert h("002000000412345" + "6FF") == "63C2"


def test_26_application_block():
    h = host()
    h(DF["DF03"])
    key = h.key(0x82, "DF03")
    assert h.secured("841E0001", "", key) == "6982"
    h.authenticate(0x83, "DF03")
    assert h.secured("841E0001", "", key) == "9000"
    assert h("841E000104" + "00" * 4) == "9000"
    assert h(DF["DF03"]) == "9303"
    assert h("00B2012C00") == "9303"
    assert h(SSSE).endswith("9000")
    assert h("841E000104" + "00" * 4) == "6985"


def test_27_card_block_survives_reset():
    h = host()
    h.authenticate(0x05)
    assert h.secured("84160000", "", h.key(0x02)) == "9000"
    h.reset()
    for command in ("00A4000000", "0084000008", "00C0000008", "80F200000A", "B026000104", "0100000000"):
        assert h(command) == "6A81"


def test_28_le_of_a_record():
    h = host()
    h("00A4020002EF05")
    assert h("00B2010500") == "6C40"
    assert h("00B20105FF") == "6C40"
    assert h("00B2010512") == vectors()["session_read_3_0"][5]["r"][:36] + "9000"


def test_pin_state_ends_with_power():
    h = host()
    h("0020000003123456")
    h(DF["DF01"])
    assert h("00B2202804").endswith("9000")
    h.reset()
    h(DF["DF01"])
    assert h("00B2202804") == "6982"


def test_order_of_checks():
    h = host()
    assert h("FFA4000000") == "6D00"
    assert h("00A5000000") == "6D00"
    assert h("0060000000") == "6D00"
    assert h("01A4000000") == "6E00"
    assert h("0002000000") == "6D00"
    assert h("80A4000000") == "6E00"
    assert h("00A4030000") == "6A86"
    assert h("00A4020003EF0501") == "6700"
    assert h("00A40000") == h("00A4000000")
    assert h("00C0000001") == "6F00"


def test_get_response_reads_once_and_in_parts():
    card = host().card
    assert card.transmit(bytes.fromhex(SSSE)).hex() == "6118"
    assert card.transmit(bytes.fromhex("00C0000000")).hex() == "6c18"
    assert card.transmit(bytes.fromhex("00C0000004")).hex() == "6f16840f6114"
    assert len(card.transmit(bytes.fromhex("00C0000014"))) == 22
    assert card.transmit(bytes.fromhex("00C0000001")).hex() == "6f00"
    card.transmit(bytes.fromhex(SSSE))
    card.transmit(bytes.fromhex("0084000008"))
    assert card.transmit(bytes.fromhex("00C0000018")).hex() == "6f00"


def test_direct_answers():
    h = Host(SimCard(vector_state(Algorithm.SM4), direct=True))
    assert h.card.transmit(bytes.fromhex(SSSE))[-2:].hex() == "9000"


def test_selection_by_identifier_and_partial_name():
    h = host()
    assert h("00A4000002DF01") == "6F088406D156000005009000"
    assert h("00A4000002DF02") == "6F088406D156000005019000"
    assert h("00A40000023F00") == h(SSSE)
    assert h("00A4000002EF05") == "9000"
    assert h("00A4000002DF09") == "6A82"
    found = [h("00A4040005D156000005")]
    while found[-1] != "6A82":
        found.append(h("00A4040205D156000005"))
    assert [answer[8:20] for answer in found[:-1]] == [f"D156000005{i:02X}" for i in (0, 1, 2, 3, 4)]


def test_record_pointer():
    h = host()
    h("00A4020002EF05")
    tags = [h(f"00B20002{length:02X}")[:2] for length in (0x12, 3, 6, 0x0E)]
    assert tags == ["01", "02", "03", "04"]
    assert h("00B2000300") == "6C06", "previous; refused for its length, the pointer stays"
    assert h("00B2000306")[:2] == "03"
    assert h("00B2070404") == "070941309000", "number 7, which does not move the pointer"
    assert h("00B2000503")[:2] == "03"
    assert h("00B2070004")[:2] == "07", "identifier 07, which does"
    assert h("00B200050B")[:2] == "07"
    assert h("00B2052D06") == "050420250101" + "9000", "from number 5 to the last, cut to Le"


def test_wrong_reload_macs_lock_the_unblocking_key():
    """OPEN C6: failures of PIN CHANGE/UNBLOCK count against the PUK."""
    h = host()
    h.authenticate(0x06)
    for left in (2, 1, 0):
        assert h.secured("84240000", "", bytes(8)) == "6988"
        assert h.card.state.ssse.key({7}, 6).retry_left == left
    assert h.secured("84240000", "", h.key(0x02)) == "6983"
    assert h.authenticate(0x06) == "6983"
    assert h.secured("84240001", "00" * 4, h.key(0x02)) == "6700"


def test_failed_authentication_takes_back_an_earlier_one():
    """OPEN C20."""
    h = host()
    h.authenticate(0x04)
    h.authenticate(0x04, key=bytes(range(16)))
    assert h(f"00DC052806{UPDATE_DATE}") == "6982"
    h("0020000003123456")
    h("0020000003111111")
    h(DF["DF01"])
    assert h("00B2202804") == "6982"


def test_challenge_is_lost_with_the_df():
    h = host()
    h("0084000008")
    h(DF["DF01"])
    assert h("0082000410" + "00" * 16) == "6984"
    h("0084000008")
    h(DF["DF01"])
    assert h("0082000410" + "00" * 16) == "63CE", "the current DF again: kept"


def test_photo_needs_its_reading_key():
    h = host()
    assert h("00B0880004") == "6982"
    h.authenticate(0x0A)
    assert h("00B0880004") == "000000009000"


def test_block_needs_the_block_key():
    h = host()
    assert h.secured("84160000", "", h.key(0x02)) == "6982"
    h.authenticate(0x05)
    assert h("8416000004" + "00" * 4) == "6984"
    assert h.secured("84160000", "", bytes(8)) == "6988"
    assert h(SSSE).endswith("9000")


def test_account_needs_the_pin_once_one_is_set():
    init = "B028010113010000000000000000000000009901000000" + "01"
    h = host()
    h(DF["DF04"])
    assert h(init) == "6982"
    assert h("B02800010B010000000199010000000110") == "6982"
    assert h("B026000104") == "6982"
    assert h("00B2014400") == "6982"
    h("0020000003123456")
    assert h(init).endswith("9000")
    assert h("B026000104") == "000000009000"


def test_cyclic_files_are_appended_to_only():
    """6.12: overwriting record P1 (mode 100) of a log the host writes is not supported; nobody writes DF04/EF08."""
    h = host()
    h(DF["DF02"])
    h.authenticate(0x85, "DF02")
    record = "00" * h.card.state.dfs[2].ef_by_sfi(0x07).record_length
    header = f"{len(record) // 2:02X}{record}"
    assert h(f"00DC013C{header}") == "6A81"
    assert h(f"00DC0138{header}") == "6981", "by identifier"
    assert h(f"00DC003B{header}") == "9000"
    h(DF["DF02"])
    h(SSSE)
    h(DF["DF02"])
    assert h(f"00DC013C{header}") == "6982", "the key comes first"
    h(DF["DF04"])
    assert {h(f"00DC01{8 << 3 | mode:02X}{header}") for mode in (0, 3, 4)} == {"6982"}
