"""Checks of the key contract that every backend passes; the PSAM in the reader too (tests/cardlib)."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from hsm.api import (
    Algorithm,
    Authentication,
    BadInputError,
    CardFactors,
    KeyNotFoundError,
    KeyPurposeError,
    KeyRef,
    KeyService,
    SecuredMessage,
)
from hsm.transactions import CryptogramError, Load, Purchase, TransactionKeys
from tests.hsm.backends import CARD, META
from tests.hsm.vector_files import unhex

FACTORS = CardFactors(META["region"], unhex(META["L3"]))
OTHER = CardFactors("990200", bytes(range(8)))
SAME_REGION = [CardFactors(META["region"], bytes((n,)) * 8) for n in range(4)]


class Service(KeyService, TransactionKeys, Protocol): ...


def _algorithm(case: dict[str, Any]) -> Algorithm:
    """Single DES keys belong to the 3DES environment."""
    return Algorithm.SM4 if case.get("alg") == "SM4" else Algorithm.TDES


def vectors(algorithm: Algorithm, *kinds: str) -> list[dict[str, Any]]:
    return [case for case in CARD["vectors"] if case["kind"] in kinds and _algorithm(case) is algorithm]


def check_authentications(service: KeyService, algorithm: Algorithm) -> None:
    cases = [
        case for case in vectors(algorithm, "external_authentication") if case.get("key_name") in META["root_keys"]
    ]
    assert cases
    for case in cases:
        key = KeyRef(case["key_name"], algorithm)
        value = service.authentication_value(key, FACTORS, unhex(case["challenge"]), unhex(case["original"]))
        assert value == unhex(case["auth_data"]), case["id"]


def message_vectors(algorithm: Algorithm) -> list[tuple[KeyRef, bytes, bytes, bytes, bool]]:
    """Key, challenge, command, plain data and whether they are encrypted."""
    found = []
    for case in CARD["vectors"]:
        is_ours = "mac_padded" in case and case.get("key_name") in ("STK", "STKDF03")
        if not is_ours or _algorithm(case) is not algorithm:
            continue
        command, block = unhex(case["capdu"]), unhex(case.get("plain_block", ""))
        plain = block[1 : 1 + block[0]] if block else command[5:-4]
        found.append((KeyRef(case["key_name"], algorithm), unhex(case["challenge"]), command, plain, bool(block)))
    assert {encrypt for *_, encrypt in found} == {False, True}
    return found


def check_messages(service: KeyService, algorithm: Algorithm) -> None:
    for key, challenge, command, plain, encrypt in message_vectors(algorithm):
        assert service.secured_data(key, FACTORS, challenge, command[:4], plain, encrypt=encrypt) == command[5:]


def purchase_vectors(algorithm: Algorithm) -> list[tuple[Purchase, bytes, bytes, bytes]]:
    """Settlement, MAC1, MAC2 and TAC."""
    found = []
    for case in vectors(algorithm, "purchase"):
        transaction = transaction_of(case)
        assert isinstance(transaction, Purchase)
        found.append((transaction, *(unhex(case[name]) for name in ("MAC1", "MAC2", "TAC"))))
    assert found
    return found


def transaction_of(case: dict[str, str]) -> Load | Purchase:
    """Taken apart from what the vector says the session key and the TAC are over."""
    session, tac = unhex(case["session_input"]), unhex(case["tac_data"])
    random, sequence = session[:4], int.from_bytes(session[4:6], "big")
    if case["kind"] == "load":
        after, amount = int.from_bytes(tac[:4], "big"), int.from_bytes(tac[6:10], "big")
        return Load(random, sequence, after - amount, amount, tac[11:17], tac[17:24])
    amounts = [int.from_bytes(tac[at : at + 4], "big") for at in (0, 4, 8)]
    return Purchase(random, sequence, *amounts, tac[13:19], tac[19:23], tac[23:30])


def check_purchase(keys: TransactionKeys, key: KeyRef, purchase: Purchase, mac1: bytes, mac2: bytes) -> None:
    assert keys.purchase_mac1(key, FACTORS, purchase) == mac1
    keys.check_purchase(key, FACTORS, purchase, mac2)


def check_false_mac2(keys: TransactionKeys, key: KeyRef, purchase: Purchase, mac1: bytes) -> None:
    assert keys.purchase_mac1(key, FACTORS, purchase) == mac1
    with pytest.raises(CryptogramError):
        keys.check_purchase(key, FACTORS, purchase, bytes(4))


def check_batches(service: KeyService, algorithm: Algorithm, cards: list[CardFactors]) -> None:
    irk, stk = KeyRef("IRK", algorithm), KeyRef("STK", algorithm)
    asked = [Authentication(card, bytes((n,)) * 8, bytes(8)) for n, card in enumerate(cards)]
    messages = [SecuredMessage(card, bytes(8), unhex("84D60000"), b"data", n % 2 == 0) for n, card in enumerate(cards)]
    assert service.authentication_value_batch(irk, asked) == [
        service.authentication_value(irk, item.factors, item.challenge, item.original) for item in asked
    ]
    assert service.secured_data_batch(stk, messages) == [
        service.secured_data(stk, m.factors, m.challenge, m.header, m.data, encrypt=m.encrypt) for m in messages
    ]
    with pytest.raises(BadInputError):
        service.authentication_value_batch(irk, [*asked, Authentication(OTHER, bytes(3), bytes(8))])


def check_refusals(service: KeyService, algorithm: Algorithm) -> None:
    """Another purpose, a wrong length, a key that is not there."""
    irk, stk, header = KeyRef("IRK", algorithm), KeyRef("STK", algorithm), unhex("84D60000")
    for wrong in (
        lambda: service.secured_data(irk, FACTORS, bytes(8), header, b""),
        lambda: service.authentication_value(stk, FACTORS, bytes(8), bytes(8)),
    ):
        with pytest.raises(KeyPurposeError):
            wrong()
    too_long = 24 if algorithm is Algorithm.SM4 else 16
    for wrong in (
        lambda: service.authentication_value(irk, FACTORS, bytes(7), bytes(8)),
        lambda: service.authentication_value(irk, FACTORS, bytes(too_long), bytes(8)),
        lambda: service.authentication_value(irk, FACTORS, bytes(8), bytes(7)),
        lambda: service.secured_data(stk, FACTORS, bytes(5), header, b""),
        lambda: service.secured_data(stk, FACTORS, bytes(8), header[:3], b""),
        lambda: service.secured_data(stk, FACTORS, bytes(8), unhex("80D60000"), b""),
        lambda: service.secured_data(stk, FACTORS, bytes(8), header, bytes(252)),
        lambda: service.secured_data(stk, FACTORS, bytes(8), header, bytes(256), encrypt=True),
        lambda: service.random(0),
        lambda: service.random(1 << 17),
    ):
        with pytest.raises(BadInputError):
            wrong()
    for missing in (KeyRef("IRK", algorithm, 9), KeyRef("NOBODY", algorithm)):
        with pytest.raises(KeyNotFoundError):
            service.authentication_value(missing, FACTORS, bytes(8), bytes(8))


def check_random(service: KeyService) -> None:
    assert [len(service.random(length)) for length in (1, 8, 16, 21)] == [1, 8, 16, 21]
    assert len({service.random(16) for _ in range(50)}) == 50
