"""The vectors' secured, authenticated and medical commands, byte for byte, against the vectors' card."""

import pytest

from simulators.card import Algorithm, SimCard, crypto
from tests.simulators.support import BOTH, DF, FixedRandom, Host, algorithm_of, host, of_kind, vector_state


def ids(vector):
    return vector["id"]


def with_challenge(h: Host, vector: dict) -> Host:
    length = len(vector["challenge"]) // 2
    h.card._chip.rng = lambda n: bytes.fromhex(vector["challenge"])[:n]
    assert h(f"00840000{length:02X}") == vector["challenge"] + "9000"
    return h


@pytest.mark.parametrize("vector", of_kind("internal_authentication"), ids=ids)
def test_internal_authentication(vector):
    assert host(algorithm_of(vector))(vector["capdu"]) == vector["response"]


@pytest.mark.parametrize("vector", of_kind("external_authentication"), ids=ids)
def test_external_authentication(vector):
    """Challenges of 4, 8 and 16 bytes, with and without key version, and the master key."""
    kid = vector.get("kid", "00" if "transport" in vector["id"] else "0A")
    plain = f"008200{kid}10{vector['auth_data']}{vector['original']}"
    for command in (vector.get("capdu", plain), vector.get("capdu_with_version", plain)):
        h = host(algorithm_of(vector))
        if kid == "00":
            h.card.state.ssse.master.value = bytes.fromhex(vector["key"])
        h(DF["DF04"])
        assert with_challenge(h, vector)(command) == "9000"


@pytest.mark.parametrize("vector", of_kind("update_record_sm"), ids=ids)
def test_secured_update(vector):
    h = host(algorithm_of(vector))
    h.authenticate(0x04)
    assert with_challenge(h, vector)(vector["capdu"]) == "9000"
    assert h("00B2052806") == "0504202501019000"


@pytest.mark.parametrize("vector", of_kind("pin_reload") + of_kind("pin_unblock"), ids=ids)
def test_pin_unblock(vector):
    h = host(algorithm_of(vector), pin="999999" if "new_pin" in vector else "123456")
    key = next(k for k in h.card.state.ssse.keys if k.kid == 0x02)
    key.value = bytes.fromhex(vector["key"])
    h("0020000003111111")
    h.authenticate(0x06)
    assert with_challenge(h, vector)(vector["capdu"]) == "9000"
    assert h("0020000000") == "63C3"
    pin = vector.get("new_pin", "123456")
    padded = pin + "F" * (len(pin) % 2)
    assert h(f"00200000{len(padded) // 2:02X}{padded}") == "9000"


@pytest.mark.parametrize("vector", of_kind("application_block") + of_kind("card_block"), ids=ids)
def test_blocks(vector):
    h = host(algorithm_of(vector))
    h(DF["DF03"])
    h.authenticate(0x83, "DF03")
    h.authenticate(0x05)
    assert with_challenge(h, vector)(vector["capdu"]) == "9000"
    assert h("00B2012800") in ("9303", "6A81")


@pytest.mark.parametrize("vector", of_kind("change_pin") + of_kind("verify"), ids=ids)
def test_pin_vectors(vector):
    pin = vector.get("old", vector.get("pin", ""))
    assert host(pin=pin or "")(vector["capdu"]) in ("9000", "63C3" if not pin else "9000")


def medical_host(vector: dict, balance: int, account: str) -> Host:
    card = SimCard(vector_state(algorithm_of(vector), pin="", balance=balance), rng=FixedRandom(vector["random"]))
    df04 = next(df for df in card.state.dfs if df.fid == 0xDF04)
    df04.ef(0x0002).content = bytes.fromhex(account)
    h = Host(card)
    h(DF["DF04"])
    return h


LOAD_ACCOUNT = "0001000300001388000000000000000000000101"
PURCHASE_ACCOUNT = "0002000300003A98000007D00000177020250101"


@pytest.mark.parametrize("vector", of_kind("load"), ids=ids)
def test_load(vector):
    h = medical_host(vector, 0, LOAD_ACCOUNT)
    assert h(vector["init_capdu"]) == vector["init_response"]
    assert h(vector["credit_capdu"]) == vector["credit_response"]
    assert h("00B2014400") == "6C1C"
    assert h("00B201441C") == vector["log_record"] + "9000"
    assert h("B026000104") == "00003A989000"
    assert h("B02E0031020001")[8:] == vector["TAC"] + "9000"


@pytest.mark.parametrize("vector", of_kind("purchase"), ids=ids)
def test_purchase(vector):
    """Also cases 21 to 24 of the conformance table."""
    h = medical_host(vector, 0, PURCHASE_ACCOUNT)
    assert h(vector["debit_capdu"]) == "6901"
    assert h("B0280101130100003A99" + "00" * 8 + "990100000001") == "9401"
    assert h("B0280101130400000001" + "00" * 8 + "990100000001") == "9403"
    assert h(vector["init_capdu"]) == vector["init_response"]
    assert h("B02600020000")[:2] == "67", "a failing medical command ends the transaction"
    assert h(vector["debit_capdu"]) == "6901"
    h.card._chip.rng = lambda n: bytes.fromhex(vector["random"])
    h(vector["init_capdu"])
    assert h("B026000100") == "6C04"
    assert h(vector["debit_capdu"]) == vector["debit_response"]
    assert h("00B201441C") == vector["log_record"] + "9000"
    after = vector["state_after"]
    assert h("B026000104") == f"{after['CIA']:08X}9000"
    assert h("B026000206") == f"{after['SPIP']:08X}{after['year']}9000"
    assert h("B026000306") == f"{after['SPFP']:08X}{after['year']}9000"
    assert h(vector["proof_capdu"]) == vector["proof_response"]
    assert h("B02E0032020002") == "9406"


@pytest.mark.parametrize("vector", of_kind("purchase"), ids=ids)
def test_wrong_purchase_mac_and_interruption(vector):
    h = medical_host(vector, 0, PURCHASE_ACCOUNT)
    h(vector["init_capdu"])
    wrong = vector["debit_capdu"][:-10] + "00000000" + "08"
    assert h(wrong) == "9302"
    assert h(vector["debit_capdu"]) == "6901"
    assert h("B026000104") == "00003A989000"
    h(vector["init_capdu"])
    assert h("B02A00000B" + "00" * 11) == "6901", "CREDIT after INITIALIZE FOR PURCHASE"
    assert h(vector["debit_capdu"]) == "6901"
    h(vector["init_capdu"])
    h("0084000008")
    assert h(vector["debit_capdu"]) == "6901"


def purchase(h: Host, time: str) -> str:
    """One settlement of 0.01 + 0.02 + 0.03 at `time`, MACs by the card's own checked cryptography."""
    algorithm = h.card.state.algorithm
    answer = bytes.fromhex(h("B02801011301000000010000000200000003990100000001"))
    sequence, random = answer[14:16], answer[18:22]
    df04 = next(df for df in h.card.state.dfs if df.fid == 0xDF04)
    key = df04.key({2}, 0, 1).value
    session_key = crypto.session_key(algorithm, key, random + sequence + b"\0\x01")
    message = bytes.fromhex(f"00000001000000020000000332990100000001{time}")
    mac = crypto.mac(algorithm, session_key, message).hex()
    return h(f"B02C01000F00000001{time}{mac}")


@pytest.mark.parametrize("algorithm", BOTH)
def test_25_totals_start_again_with_the_settlement_year(algorithm):
    h = medical_host(
        {"alg": "SM4" if algorithm is Algorithm.SM4 else "3DES", "random": "11223344"}, 0, PURCHASE_ACCOUNT
    )
    assert purchase(h, "20251231235959").endswith("9000")
    assert h("B026000206") == "000007D220259000"
    assert purchase(h, "20260101000000").endswith("9000")
    assert h("B026000206") == "0000000220269000"
    assert h("B026000306") == "0000000320269000"


def test_25_starting_day_moves_the_settlement_year():
    h = medical_host({"alg": "3DES", "random": "11223344"}, 0, PURCHASE_ACCOUNT)
    assert h("B0560000020701") == "6982"
    assert h.authenticate(0x87, "DF04") == "9000"
    assert h("B0560000021332") == "6A80"
    assert h("B0560000020701") == "9000"
    assert h("B056010002") == "07019000"
    assert purchase(h, "20260630120000").endswith("9000")
    assert h("B026000206") == "000007D220259000"
    assert purchase(h, "20260701120000").endswith("9000")
    assert h("B026000206") == "0000000220269000"


def test_30_log_keeps_the_last_thirty():
    h = medical_host({"alg": "3DES", "random": "11223344"}, 0, PURCHASE_ACCOUNT)
    for day in range(31):
        assert purchase(h, f"202503{day % 28 + 1:02d}101112").endswith("9000")
    assert h("00B201441C")[:4] == f"{3 + 30:04X}"
    assert h("00B21E441C")[:4] == f"{3 + 1:04X}"
    assert h("00B21F441C") == "6A83"


def test_medical_commands_need_their_application():
    assert host()("B026000104") == "6985"
    h = medical_host({"alg": "3DES", "random": "11223344"}, 0, PURCHASE_ACCOUNT)
    assert h("00DC004305" + "00" * 5) == "6982", "the log is written by the card alone"
