"""The simulated purse against vectors_transit.json and the conformance cases of transit_card.md 12.1."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.apps import transit_crypto as crypto
from simulators.card import CardGone, CardState, CardStore, Faults, SimCard
from tests.simulators.support import FixedRandom, Host, vectors
from tests.simulators.transit import ENVIRONMENT, META, NAMES, RECORDS, SELECT, card, of, sam, selected, state

STEPS = ("purchase", "entry", "exit", "load", "torn")


def code(name: str) -> int:
    return int(of(name)["algorithm_id"], 16)


def hexed(value: bytes) -> str:
    return value.hex().upper()


def challenge(step: dict) -> str:
    return step["init_rapdu"][22:30] if "sam_init_capdu" in step else step["init_rapdu"][16:24]


@pytest.mark.parametrize("name", NAMES)
def test_card_keys_follow_from_the_roots(name):
    issuer, factor = (bytes.fromhex(META[key]) for key in ("issuer_id", "serial_factor"))
    for vector in of(name)["diversification"].values():
        level = crypto.card_key(code(name), bytes.fromhex(vector["root"]), issuer)
        assert hexed(level) == vector["level_issuer"]
        assert hexed(crypto.card_key(code(name), level, factor)) == vector["card_key"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", STEPS)
def test_macs_and_session_keys(name, step):
    vector, keys = of(name)[step], {k: bytes.fromhex(v["card_key"]) for k, v in of(name)["diversification"].items()}
    key = keys["DLK" if step == "load" else "DPK"]
    session = crypto.session_key(code(name), key, bytes.fromhex(vector["session_input"]))
    assert hexed(session) == vector.get("SESPK", vector.get("SESLK"))
    for mac in ("1", "2"):
        assert hexed(crypto.mac(code(name), session, bytes.fromhex(vector[f"mac{mac}_input"]))) == vector[f"MAC{mac}"]
    assert hexed(crypto.tac(code(name), keys["DTK"], bytes.fromhex(vector["tac_input"]))) == vector["TAC"]


@pytest.mark.parametrize("step", STEPS)
def test_the_other_reading_of_sm4_macs(step):
    """alt_left4, on the card (and the PSAM) that is switched to it."""
    vector, other = of("SM4")[step], of("SM4")[step]["alt_left4"]
    init = vector["init_rapdu"]
    offline, online = (int(init[8:12], 16), 3) if step != "load" else (16, int(init[8:12], 16))
    values = {"balance": int(init[:8], 16), "offline": offline, "online": online, "is_mac_folded": False}
    host = selected("SM4", challenge(vector), **values)
    answer = host(vector["init_capdu"])
    for update in vector.get("update_cache", []):
        assert host(update["capdu"]) == "9000"
    if step == "load":
        assert answer == init[:24] + other["MAC1"] + "9000"
        assert host(vector["credit_capdu"].replace(vector["MAC2"], other["MAC2"])) == other["TAC"] + "9000"
        return
    number = int(vector["debit_capdu"][10:18], 16)
    psam = Host(sam("SM4", "T2" if step == "exit" else "T1", number, is_mac_folded=False))
    psam(ENVIRONMENT["SM4"])
    psam("00A40000028011")
    assert psam(vector["sam_init_capdu"])[8:] == other["MAC1"] + "9000"
    assert host(vector["debit_capdu"].replace(vector["MAC1"], other["MAC1"])) == other["TAC"] + other["MAC2"] + "9000"
    assert psam("8072000004" + other["MAC2"]) == "9000"


@pytest.mark.parametrize("name", NAMES)
def test_a_day_of_the_card(name):
    """All worked exchanges in their order on one card, and on the PSAM of the terminal each belongs to."""
    day = [of(name)[step] for step in STEPS]
    host = selected(name, *(challenge(step) for step in day))
    terminals = {"T1": Host(sam(name)), "T2": Host(sam(name, "T2", sequence=0x777))}
    for terminal in terminals.values():
        terminal(ENVIRONMENT[name])
        assert terminal("00A40000028011") == "6F0484028011" + "9000"
    for step in day:
        assert host(step["init_capdu"]) == step["init_rapdu"]
        terminal = terminals["T2" if step["id"] == "composite-exit" else "T1"]
        if "sam_init_capdu" in step:
            assert terminal(step["sam_init_capdu"]) == step["sam_init_rapdu"]
        for update in step.get("update_cache", []):
            assert host(update["capdu"]) == update["rapdu"]
        assert host(step.get("debit_capdu", step.get("credit_capdu"))) == step.get(
            "debit_rapdu", step.get("credit_rapdu")
        )
        if "sam_credit_capdu" in step:
            assert terminal(step["sam_credit_capdu"]) == "9000"
        assert host("00B201C417") == step["log_ef18"] + "9000"
        assert host("805C000204") == f"{step['balance_after']:08X}9000"
        assert host(step["prove_capdu"]) == step["prove_rapdu"]
    assert host("00B201D480") == RECORDS["ef1a_exit"] + "9000"
    assert [host(f"00B20{n}F430")[:-4] for n in (1, 2, 3)] == [
        RECORDS["ef1e_bus"],
        RECORDS["ef1e_exit"],
        RECORDS["ef1e_entry"],
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_executed", [True, False])
def test_torn_ride_is_told_by_the_proof(name, is_executed):
    """case_a and case_b of the vectors: power is lost when DEBIT has, or has not, been carried out."""
    step = of(name)["torn"]
    chip = card(name, challenge(step), balance=14500, offline=0x0013)
    host = Host(chip)
    host(SELECT)
    assert host(step["init_capdu"]) == step["init_rapdu"]
    for update in step["update_cache"]:
        host(update["capdu"])
    if is_executed:
        chip.faults = Faults(tear_after=1)
        with pytest.raises(CardGone):
            host(step["debit_capdu"])
    host.reset()
    host(SELECT)
    case = step["case_a_debit_done" if is_executed else "case_b_debit_not_done"]
    assert host(case["capdu"]) == case["rapdu"]
    assert host("805C000204") == f"{case['balance']:08X}9000"
    assert host("00B201F430") == (RECORDS["ef1e_bus"] + "9000" if is_executed else "6A83")


@pytest.mark.parametrize("name", NAMES)
def test_block_and_unblock(name):
    block = of(name)["app_block"]
    psam = Host(sam(name))
    psam(ENVIRONMENT[name])
    psam("00A40000028011")
    host = selected(name, *[block["challenge"]] * 3)
    for action, before in (("block", "9000"), ("unblock", "9000")):
        host("0084000004")
        assert psam(block["sam_init"]) == "9000"
        assert psam(block[action]["sam_calc"]) == block[action]["MAC"] + "9000"
        assert host(block[action]["card"]) == before
        if action == "block":
            assert host(SELECT) == "6283"
            assert host("00C0000033") == META["fci"]
            assert host("805C000204") == "6A81"
    assert host("805C000204") == "000027109000"
    host("0084000004")
    assert host(block["block_permanent"]["card"]) == "9000"
    assert host(SELECT) == "6A81"
    assert host("805C000204") == "9303"
    assert host("00A404000F7378312E73682EC9E7BBE1B1A3D5CF").startswith("6F"), "the social security part stays open"


def test_overdraft_vectors():
    first, second, third = vectors("vectors_transit")["overdraft"]
    host = selected("3DES", balance=first["actual"], overdraft_limit=first["limit"])
    asked = {f"P1_0{n}": f"805C0{n}0204" for n in range(4)}
    assert {key: host(command)[:8] for key, command in asked.items()} == {key: first[key] for key in asked}
    pay(host, 500)
    assert {key: host(command)[:8] for key, command in asked.items()} == {key: second[key] for key in asked}
    assert host(f"805001020B01{801:08X}0999000000010F") == third["sw"]


def pay(host: Host, amount: int, kind: int = 6, caches: tuple[str, ...] = (), number: int = 1) -> str:
    """A purchase with the card's own key, as a PSAM would compute it."""
    purse = host.card.state.neighbours.transit
    p1 = {6: 1, 9: 3}[kind]
    answer = host(f"8050{p1:02X}020B01{amount:08X}0999000000010F")
    assert answer.endswith("9000")
    for cache in caches:
        assert host(cache) == "9000"
    seed = bytes.fromhex(answer[22:30] + answer[8:12] + "0001")
    session = crypto.session_key(purse.algorithm, purse.dpk, seed)
    moment = f"20250316{number % 24:02d}0000"
    message = bytes.fromhex(f"{amount:08X}{kind:02X}099900000001{moment}")
    mac1 = crypto.mac(purse.algorithm, session, message)
    return host(f"805401000F00000001{moment}{mac1.hex()}08")


# ---- conformance cases of section 12.1, by number


def test_case_1_to_4_states():
    host = selected("3DES")
    debit, credit = "805401000F" + "00" * 15 + "08", "805200000B" + "00" * 11 + "04"
    init = "8050{}020B01000000C80999000000010F"
    assert (host(debit), host(credit)) == ("6901", "6901")
    host(init.format("01"))
    assert host(credit) == "6901"
    host(init.format("01"))
    assert host("805C000204") == "000027109000"
    assert host(debit) == "6901", "GET BALANCE ends the transaction (OPEN X2)"
    host(init.format("03"))
    assert host(debit) == "6901", "composite without trip data"
    host(init.format("01"))
    assert host("80DC00F030" + RECORDS["ef1e_bus"]) == "6901"
    assert host("805C000204") == "000027109000"


def test_case_5_cached_data_die_with_the_power():
    host = selected("3DES")
    before = host("00B201D480")
    host("805003020B01000000000999000000010F")
    assert host("80DC01D080" + RECORDS["ef1a_entry"]) == "9000"
    assert host("80DC00F030" + RECORDS["ef1e_entry"]) == "9000"
    host.reset()
    host(SELECT)
    assert (host("00B201D480"), host("00B201F430"), host("805A000902001108")) == (before, "6A83", "9406")


def test_case_6_wrong_mac1_changes_nothing():
    host = selected("SM4")
    before = host.card.state.to_json()
    host("805001020B01000000C80999000000010F")
    assert host("805401000F0000010020250316080500" + "00000000" + "08") == "9302"
    assert host.card.state.to_json() == before


def test_case_7_and_8_amount_and_key_index():
    host = selected("3DES")
    assert host("805001020B01000027110999000000010F") == "9401"
    assert host("805001020B09000000010999000000010F") == "9403"
    assert host("805001020B01000027100999000000010F").endswith("9000")
    assert host("805000020B017FFFFFFF09990000009910") == "6985"
    full = selected("3DES", offline=0xFFFF, online=0xFFFF)
    assert full("805001020B01000000010999000000010F") == "9402"
    assert full("805000020B010000000109990000009910") == "9402"


def test_case_9_proof_survives_power():
    host = selected("3DES")
    answer = pay(host, 200)
    host.reset()
    host(SELECT)
    assert host("805A000602001108") == answer[8:16] + answer[:8] + "9000"
    assert (host("805A000602001008"), host("805A000902001108")) == ("9406", "9406")


def test_case_10_and_11_cyclic_files():
    host = selected("3DES")
    for number in range(11):
        pay(host, 1, number=number)
    assert host("00B201C417").startswith("001B")
    assert host("00B20AC417").startswith("0012")
    assert host("00B20BC417") == "6A83"
    for number in range(31):
        pay(host, 0, kind=9, caches=(f"80DC00F030{number:02X}" + "00" * 47,))
    assert host("00B21EF430").startswith("01")
    assert host("00B21FF430") == "6A83"


def test_case_12_three_wrong_macs_lock():
    host = selected("3DES")
    for expected in ("6988", "6988", "9303"):
        host("0084000004")
        assert host("841E00000400000000") == expected
    assert host("805C000204") == "9303"


def test_cache_refusals_end_the_transaction():
    init = "805003020B01000000000999000000010F"
    host = selected("3DES")
    bad = {
        "80DC00A830" + "00" * 48: "6A82",
        "80DC03D080" + "00" * 128: "6A83",
        "80DC01D07F" + "00" * 127: "6700",
        "80DC01D080" + "2702" + "00" * 126: "6A80",
        "80DC00F02F" + "00" * 47: "6700",
    }
    for command, expected in bad.items():
        host(init)
        assert host(command) == expected
        assert host("80DC00F030" + "00" * 48) == "6901"


def test_files_and_their_refusals():
    host = selected("3DES")
    assert host("00B095001E") == META["ef15"] + "9000"
    assert host("00B0950A0A") == META["app_serial"] + "9000"
    assert host("00B097003C") == META["ef17"] + "9000"
    assert host("00B0950000") == "6C1E"
    refusals = {
        "00B0960037": "6982", "00B0980001": "6981", "00B0810001": "6A82", "00B0951F01": "6B00",
        "00B2019C17": "6A82", "00B201AC17": "6981", "00B201C418": "6A83", "00D695000100": "6987",
        "805C040204": "6A86", "805C000304": "6A86", "805C000205": "6C04", "80FE000000": "6D00", "B026000104": "6E00",
    }  # fmt: skip
    assert {command: host(command) for command in refusals} == refusals


def test_maintenance_writes_under_its_mac():
    host = selected("3DES")
    purse = host.card.state.neighbours.transit

    def secured(header: str, body: str) -> str:
        iv = bytes.fromhex(host("0084000004")[:8])
        start = bytes.fromhex(f"{header}{len(body) // 2 + 4:02X}{body}")
        return host((start + crypto.secured_mac(purse.algorithm, purse.damk, iv, start)).hex())

    assert secured("04D6970A", "03") == "9000"
    assert host("00B0970A01") == "039000"
    assert secured("04DC01D4", RECORDS["ef1a_entry"]) == "9000"
    assert host("00B201D480") == RECORDS["ef1a_entry"] + "9000"
    assert secured("04DC02D4", RECORDS["ef1a_entry"]) == "6A80"
    assert secured("04DC01C4", "00" * 23) == "6982"
    assert host("04D6970A0503DEADBEEF") == "6988"
    assert host("04D6970A0503DEADBEEF") == "6984", "a challenge is good for one command"


@pytest.mark.parametrize("name", NAMES)
def test_overdraft_limit_is_changed_by_its_key(name):
    host = selected(name, balance=300)
    purse = host.card.state.neighbours.transit
    answer = host("80500402070109990000009913")
    assert answer[:18] == "0000012C0003000000"
    seed = bytes.fromhex(answer[22:30] + "00038000")
    session = crypto.session_key(purse.algorithm, purse.duk, seed)
    mac1 = crypto.mac(purse.algorithm, session, bytes.fromhex("0000012C00000007099900000099"))
    assert answer[30:38] == hexed(mac1)
    mac2 = crypto.mac(purse.algorithm, session, bytes.fromhex("0003E80709990000009920250316090000"))
    assert host(f"805800000E0003E820250316090000{mac2.hex()}04").endswith("9000")
    assert host("805C000204") == "000005149000"
    assert host("00B201C417") == "00040003E8" + "000003E8" + "07" + "099900000099" + "20250316090000" + "9000"


# ---- beside the social security part


def test_selection_beside_the_ssse():
    host = Host(card("3DES"))
    assert host("00A404000E325041592E5359532E444446303100") == META["ppse_rapdu"]
    assert host("00A4040005A000000632") == META["fci"], "a partial name is enough"
    assert host("00A4040005A000000999") == "6A82"
    assert host("805C000204") == "000027109000", "a failed SELECT leaves the purse selected"
    assert host("00A40000023F00").startswith("6F")
    assert host("805C000204") == "6D00"
    assert host("00A4000002DF04").startswith("6F")


def test_leaving_the_ssse_loses_local_keys_only():
    host = Host(card("3DES"))
    host("00A404000F7378312E73682EC9E7BBE1B1A3D5CF")
    assert host.authenticate(0x0A) == "9000"
    host("00A4040006D15600000503")
    assert host.authenticate(0x84, "DF04") == "9000"
    assert host("00B28F2803").endswith("9000")
    host(SELECT)
    host("00A4040006D15600000503")
    assert host("00B28F2803") == "6982"
    host("00A404000F7378312E73682EC9E7BBE1B1A3D5CF")
    assert host("00B2083014").endswith("9000"), "RK_SSSE is a global key"


def test_card_block_shuts_the_purse_and_an_application_block_does_not():
    blocked = state("3DES")
    blocked.is_blocked = True
    assert Host(SimCard(blocked))(SELECT) == "6A81"
    one = state("3DES")
    one.dfs[1].is_blocked = True
    assert Host(SimCard(one))(SELECT) == META["fci"]


def test_images_of_the_first_release_still_load(tmp_path):
    import json

    old = json.loads(state("3DES").to_json())
    del old["neighbours"]
    assert CardState.from_json(json.dumps(old)).neighbours.transit is None
    store = CardStore(tmp_path / "card.json")
    purse_card = SimCard(state("SM4"), store=store, rng=FixedRandom())
    host = Host(purse_card)
    host(SELECT)
    pay(host, 700)
    assert store.load() == purse_card.state
    assert store.load().neighbours.transit.balance == 9300


def test_a_failed_write_leaves_the_money(tmp_path, monkeypatch):
    store = CardStore(tmp_path / "card.json")
    host = Host(SimCard(state("3DES"), store=store))
    host(SELECT)
    monkeypatch.setattr(store, "save", lambda image: (_ for _ in ()).throw(OSError("full")))
    assert pay(host, 700) == "6581"
    host(SELECT)
    assert host("805C000204") == "000027109000"


# ---- PSAM


def test_sam_refusals():
    psam = Host(sam("3DES"))
    assert psam("00B0960006") == META["terminals"]["T1"] + "9000"
    psam("00A40000028011")
    init = of("3DES")["purchase"]["sam_init_capdu"]
    assert psam("00B0970001") == "019000"
    assert psam("00B0980004") == "000001009000"
    assert psam("80720000040000" + "0000") == "6901"
    assert psam("80FA050010" + "00" * 16) == "6901"
    assert psam(init.replace("0001000100", "0009000100")) == "6A88"
    assert psam(init.replace("0001000100", "0001040100")) == "6985", "SM4 in the 3DES environment"
    assert psam("807000001C" + init[10:66]) == "6700", "a two-level root wants the issuer too"
    assert psam("00B0980004") == "000001009000"
    assert psam(init) == of("3DES")["purchase"]["sam_init_rapdu"]
    assert psam("807200000400000000") == "9302"
    assert psam("80720000046E2B639A") == "6901"
    assert psam("801A450310" + "00" * 16) == "6A88"
    assert psam("801A250208" + "00" * 8) == "6700"
    assert psam("BFEC000001" + "99") == "6E00"


def test_sam_with_one_level_root():
    psam = Host(sam("SM4", levels=1))
    psam(ENVIRONMENT["SM4"])
    psam("00A40000028011")
    vector = of("SM4")["purchase"]
    assert psam("807000001C" + vector["sam_init_capdu"][10:66] + "08") == vector["sam_init_rapdu"]


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=20) | st.binary(max_size=14).map(lambda b: b"\x80\x50\x01\x02" + b), max_size=6))
def test_any_bytes_get_a_status_word(commands):
    chip, psam = card("3DES"), sam("3DES")
    Host(chip)(SELECT)
    Host(psam)("00A40000028011")
    for command in commands:
        assert len(chip.transmit(command)) >= 2
        assert len(psam.transmit(command)) >= 2
    assert chip.state.neighbours.transit.balance == 10000
