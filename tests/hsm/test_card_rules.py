"""The card's rules against our vectors (card_commands.md §8, psam.md §8, transit purse), on every engine."""

from __future__ import annotations

from typing import Any

import pytest

from hsm import card_rules
from hsm.api import Algorithm, BadInputError, CardFactors
from hsm.device import DeviceKey
from hsm.primitives import Engine
from hsm.soft_device import SoftKey
from tests.hsm.vector_files import own, unhex

CARD = own("vectors_card_crypto.json")
PSAM = own("vectors_psam.json")
TRANSIT = own("vectors_transit.json")
META = CARD["meta"]
FACTORS = CardFactors(META["region"], unhex(META["L3"]))
SECURED = {"update_record_sm", "pin_reload", "pin_unblock", "application_block", "card_block"}
NOT_CRYPTO = {"verify", "change_pin", "card_number_check", "citizen_id_check", "org_code_check"}
TDES, SM4 = Algorithm.TDES, Algorithm.SM4


def algorithm_of(case: dict[str, Any]) -> Algorithm:
    return SM4 if case["alg"] == "SM4" else TDES


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    found = [case for case in CARD["vectors"] if case["kind"] in kinds]
    assert found
    return found


def value_of(key: DeviceKey) -> bytes:
    assert isinstance(key, SoftKey)
    return key.value


def chain(root: SoftKey, level: int) -> bytes:
    """By both ways to the card's key."""
    parts = card_rules.factors_of_level(level, FACTORS)
    value = value_of(card_rules.diversified(root, parts))
    assert not parts or card_rules.diversified_value(root, parts) == value
    return value


def tac(engine: Engine, algorithm: Algorithm, value: bytes, message: bytes) -> bytes:
    return card_rules.mac(SoftKey(engine, algorithm, card_rules.tac_key(algorithm, value)), message)


def test_every_kind_of_vector_is_used() -> None:
    used = SECURED | NOT_CRYPTO | {"diversify", "internal_authentication", "external_authentication"}
    assert {case["kind"] for case in CARD["vectors"]} == used | {"load", "purchase", "rcp_write_key"}


def test_factors() -> None:
    assert card_rules.region_factors(META["region"]) == (unhex(META["L1"]), unhex(META["L2"]))
    lengths = [len(card_rules.factors_of_level(level, FACTORS)) for level in range(4)]
    assert lengths == [0, 3, 2, 1]
    for level in (-1, 4):
        with pytest.raises(BadInputError):
            card_rules.factors_of_level(level, FACTORS)


@pytest.mark.parametrize("case", of_kind("diversify"), ids=lambda case: case["id"])
def test_diversification(engine: Engine, case: dict[str, Any]) -> None:
    algorithm, steps = algorithm_of(case), [step for step in case["steps"].items() if step[1]]
    level, root = int(steps[0][0][len("level")]), unhex(steps[0][1])
    card_key = unhex(case["card_key"])
    assert chain(SoftKey(engine, algorithm, root), level) == card_key
    key = root
    for factor, (_, expected) in zip(card_rules.factors_of_level(level, FACTORS), steps[1:], strict=True):
        key = value_of(card_rules.diversify(SoftKey(engine, algorithm, key), factor))
        assert key == unhex(expected)


def test_authentication(engine: Engine) -> None:
    for case in of_kind("internal_authentication", "external_authentication"):
        algorithm, key = algorithm_of(case), unhex(case["key"])
        challenge = unhex(case.get("challenge") or case["factor"])
        expected = unhex(case["auth_data"]) if "auth_data" in case else unhex(case["response"])[:-2]
        if "session_key" in case:
            assert value_of(card_rules.session_key(SoftKey(engine, algorithm, key), challenge)) == unhex(
                case["session_key"]
            )
        value = card_rules.authentication_value(SoftKey(engine, algorithm, key), challenge, unhex(case["original"]))
        assert value == expected


def test_secured_commands(engine: Engine) -> None:
    for case in of_kind(*SECURED):
        command = unhex(case["capdu"])
        encrypt = case["kind"] == "pin_reload"
        plain = unhex(case["plain_block"])[1 : 1 + unhex(case["plain_block"])[0]] if encrypt else command[5:-4]
        data = card_rules.secured_data(
            SoftKey(engine, algorithm_of(case), unhex(case["key"])),
            unhex(case["challenge"]),
            command[:4],
            plain,
            encrypt=encrypt,
        )
        assert command[:4] + bytes((len(data),)) + data == command, case["id"]


def test_load_and_purchase(engine: Engine) -> None:
    for case in of_kind("load", "purchase"):
        algorithm = algorithm_of(case)
        name, session_name = ("DLK", "SESLK") if case["kind"] == "load" else ("DPK", "SESPK")
        session = value_of(
            card_rules.session_key(SoftKey(engine, algorithm, unhex(case[name])), unhex(case["session_input"]))
        )
        assert session == unhex(case[session_name])
        for number in "12":
            value = card_rules.mac(SoftKey(engine, algorithm, session), unhex(case[f"mac{number}_data"]))
            assert value == unhex(case[f"MAC{number}"])
        assert tac(engine, algorithm, unhex(case["DTK"]), unhex(case["tac_data"])) == unhex(case["TAC"])


def test_write_key(engine: Engine) -> None:
    for case in of_kind("rcp_write_key"):
        command, plain = unhex(case["capdu"]), unhex(case["plain"])
        assert card_rules.key_record(plain[:8], plain[8:]) == plain
        data = card_rules.key_load_data(
            SoftKey(engine, algorithm_of(case), unhex(case["master_key"])), unhex(case["challenge"]), command[:4], plain
        )
        assert command[:4] + bytes((len(data),)) + data == command, case["id"]


def test_psam_session_keys_and_authentication(engine: Engine) -> None:
    cases = [case for case in PSAM["vectors"] if "auth_data" in case]
    assert len(cases) == 10
    for case in cases:
        algorithm = algorithm_of(case)
        level = 4 - case["N"]
        key = chain(SoftKey(engine, algorithm, unhex(case["root_key"])), level)
        assert key == unhex(case["card_key"])
        process, original = unhex(case["process_factor"]), unhex(case["cipher_capdu"])[5:13]
        assert value_of(card_rules.session_key(SoftKey(engine, algorithm, key), process[:8])) == unhex(
            case["session_key"]
        )
        value = card_rules.authentication_value(SoftKey(engine, algorithm, key), process[:8], original)
        assert value == unhex(case["auth_data"])


def test_psam_secured_commands(engine: Engine) -> None:
    cases = [case for case in PSAM["vectors"] if "card_capdu" in case]
    assert len(cases) == 6
    for case in cases:
        command, session = unhex(case["card_capdu"]), unhex(case["session_key"])
        assert card_rules.mac(SoftKey(engine, algorithm_of(case), session), command[:-4]) == command[-4:]
        if "encrypt_capdu" in case:
            block = unhex(case["encrypt_capdu"])[5:]
            encrypted = card_rules.encrypt_data(SoftKey(engine, algorithm_of(case), session), block[1 : 1 + block[0]])
            assert encrypted == unhex(case["encrypt_response"])[:-2]


def test_psam_purchase(engine: Engine) -> None:
    cases = [case for case in PSAM["vectors"] if "SESPK" in case]
    assert len(cases) == 2
    for case in cases:
        algorithm, command = algorithm_of(case), unhex(case["init_sam_capdu"])
        key = chain(SoftKey(engine, algorithm, unhex(case["root_key_level3"])), 3)
        counter = unhex(case["init_sam_response"])[:4]
        session = value_of(card_rules.session_key(SoftKey(engine, algorithm, key), command[5:11] + counter[2:]))
        amounts = command[11:23]
        assert session == unhex(case["SESPK"])
        message = amounts + command[23:24] + unhex(PSAM["meta"]["terminal_number"]) + command[24:31]
        assert card_rules.mac(SoftKey(engine, algorithm, session), message) == unhex(case["MAC1"])
        assert card_rules.mac(SoftKey(engine, algorithm, session), amounts) == unhex(case["MAC2"])


def test_psam_key_loading(engine: Engine) -> None:
    cases = [case for case in PSAM["vectors"] if "adf_master_key" in case]
    assert len(cases) == 5
    for case in cases:
        command = unhex(case["capdu"])
        data = card_rules.key_load_data(
            SoftKey(engine, SM4 if case["alg"] == "SM4" else TDES, unhex(case["adf_master_key"])),
            unhex(case["challenge"]),
            command[:4],
            unhex(case["plain"]),
        )
        assert command[:4] + bytes((len(data),)) + data == command, case["id"]


@pytest.mark.parametrize("name", ["3DES", "SM4"])
def test_transit_purse_follows_the_same_rules(engine: Engine, name: str) -> None:
    algorithm, cases, meta = Algorithm(name), TRANSIT["vectors"][name], TRANSIT["meta"]
    keys = {}
    for key_name, steps in cases["diversification"].items():
        issuer = value_of(
            card_rules.diversify(SoftKey(engine, algorithm, unhex(steps["root"])), unhex(meta["issuer_id"]))
        )
        keys[key_name] = value_of(
            card_rules.diversify(SoftKey(engine, algorithm, issuer), unhex(meta["serial_factor"]))
        )
        assert (issuer, keys[key_name]) == (unhex(steps["level_issuer"]), unhex(steps["card_key"]))
    for kind in ("purchase", "entry", "exit", "load", "torn"):
        case = cases[kind]
        key, session_name = (keys["DLK"], "SESLK") if kind == "load" else (keys["DPK"], "SESPK")
        session = value_of(card_rules.session_key(SoftKey(engine, algorithm, key), unhex(case["session_input"])))
        assert session == unhex(case[session_name])
        assert card_rules.mac(SoftKey(engine, algorithm, session), unhex(case["mac1_input"])) == unhex(case["MAC1"])
        assert card_rules.mac(SoftKey(engine, algorithm, session), unhex(case["mac2_input"])) == unhex(case["MAC2"])
        assert tac(engine, algorithm, keys["DTK"], unhex(case["tac_input"])) == unhex(case["TAC"])


def test_padding_at_the_edges(engine: Engine) -> None:
    """Aligned data to encrypt get no padding, aligned data to authenticate a whole block of it."""
    for algorithm, size in ((TDES, 8), (SM4, 16)):
        key = bytes(range(size))
        assert len(card_rules.encrypt_data(SoftKey(engine, algorithm, key), bytes(size - 1))) == size
        assert len(card_rules.encrypt_data(SoftKey(engine, algorithm, key), bytes(size))) == 2 * size
        padded = bytes(size) + b"\x80" + bytes(size - 1)
        cbc = engine.sm4_cbc if algorithm is SM4 else engine.des_cbc
        last = cbc(key, bytes(size), padded)[-size:]
        words = [int.from_bytes(last[at : at + 4]) for at in range(0, size, 4)]
        expected = words[0] ^ words[1] ^ words[2] ^ words[3] if algorithm is SM4 else words[0]
        assert card_rules.mac(SoftKey(engine, algorithm, key), bytes(size)) == expected.to_bytes(4)


@pytest.mark.parametrize(
    "call",
    [
        lambda _: card_rules.check_key_length(SM4, 8),
        lambda _: card_rules.check_key_length(TDES, 24),
        lambda e: card_rules.diversify(SoftKey(e, TDES, bytes(16)), bytes(7)),
        lambda e: card_rules.session_key(SoftKey(e, TDES, bytes(16)), bytes(16)),
        lambda e: card_rules.session_key(SoftKey(e, SM4, bytes(16)), bytes(5)),
        lambda e: card_rules.session_key(SoftKey(e, SM4, bytes(16)), b""),
        lambda e: card_rules.authentication_value(SoftKey(e, SM4, bytes(16)), bytes(8), bytes(16)),
        lambda e: card_rules.encrypt_data(SoftKey(e, SM4, bytes(16)), bytes(256)),
        lambda e: card_rules.secured_data(SoftKey(e, SM4, bytes(16)), bytes(8), bytes.fromhex("80D60000"), b""),
        lambda e: card_rules.secured_data(SoftKey(e, SM4, bytes(16)), bytes(8), bytes.fromhex("04D600"), b""),
        lambda e: card_rules.secured_data(SoftKey(e, SM4, bytes(16)), bytes(8), bytes.fromhex("04D60000"), bytes(252)),
        lambda e: card_rules.load_mac(SoftKey(e, TDES, bytes(16)), bytes(3), bytes.fromhex("84EE0000")),
        lambda e: card_rules.tac_key(TDES, bytes(8)),
        lambda e: card_rules.key_record(bytes(7), bytes(16)),
        lambda e: card_rules.key_record(bytes(8), bytes(9)),
    ],
)
def test_inputs_outside_the_contract(engine: Engine, call) -> None:
    with pytest.raises(BadInputError):
        call(engine)
