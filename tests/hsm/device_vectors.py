"""Our card vectors through the sessions of a device: roots adopted, everything else computed where the keys are."""

from __future__ import annotations

from typing import Any

from hsm import card_rules
from hsm.api import Algorithm, CardFactors
from hsm.device import DeviceKey, OpenSession
from hsm.primitives import default_engine
from hsm.soft_device import SoftKey
from tests.hsm.vector_files import own, unhex

CARD = own("vectors_card_crypto.json")
FACTORS = CardFactors(CARD["meta"]["region"], unhex(CARD["meta"]["L3"]))
_BLOCKS = bytes(range(32))


def adopted(session: OpenSession, algorithm: Algorithm, value: bytes) -> DeviceKey:
    return session.key(algorithm, len(value), session.adopt(algorithm, value))


def check_diversification(session: OpenSession, algorithm: Algorithm) -> None:
    for case in _cases(algorithm, "diversify"):
        first, root = next((name, value) for name, value in case["steps"].items() if value)
        card_key = unhex(case["card_key"])
        parts = card_rules.factors_of_level(int(first[len("level")]), FACTORS)
        key = adopted(session, algorithm, unhex(root))
        assert card_rules.diversified_value(key, parts) == card_key, case["id"]
        expected = SoftKey(default_engine(), algorithm, card_key).ecb(_BLOCKS)
        assert card_rules.diversified(key, parts).ecb(_BLOCKS) == expected
        session.end_operation()


def check_messages(session: OpenSession, algorithm: Algorithm) -> None:
    for case in _cases(algorithm, "internal_authentication", "external_authentication"):
        challenge = unhex(case.get("challenge") or case["factor"])
        expected = unhex(case["auth_data"]) if "auth_data" in case else unhex(case["response"])[:-2]
        key = adopted(session, algorithm, unhex(case["key"]))
        assert card_rules.authentication_value(key, challenge, unhex(case["original"])) == expected
    for case in _cases(algorithm, "update_record_sm", "pin_unblock", "application_block", "card_block"):
        command, key = unhex(case["capdu"]), adopted(session, algorithm, unhex(case["key"]))
        data = card_rules.secured_data(key, unhex(case["challenge"]), command[:4], command[5:-4])
        assert command[5:] == data, case["id"]
    for case in _cases(algorithm, "rcp_write_key"):
        command, master = unhex(case["capdu"]), adopted(session, algorithm, unhex(case["master_key"]))
        data = card_rules.key_load_data(master, unhex(case["challenge"]), command[:4], unhex(case["plain"]))
        assert command[5:] == data, case["id"]
    session.end_operation()


def _cases(algorithm: Algorithm, *kinds: str) -> list[dict[str, Any]]:
    is_sm4 = algorithm is Algorithm.SM4
    found = [case for case in CARD["vectors"] if case["kind"] in kinds and (case["alg"] == "SM4") is is_sm4]
    assert found
    return found
