"""The key contract against the PSAM in the reader, as far as a PSAM has it; the rest it refuses by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from cardlib.psam import PsamAlgorithmError, PsamAuthenticator, PsamKeyMissingError, PsamReadKeyMissingError
from cardlib.psam_keys import PsamOperationError, psam_keys
from cardlib.spec import Generation, KeySpec, KeyType, load
from hsm.api import Algorithm, BadInputError, HsmError, KeyPurposeError, KeyRef, KeyService
from hsm.transactions import TransactionKeys, transaction_keys
from simulators.card import Algorithm as Cipher
from simulators.psam import KeyRecord, SimPsam
from tests.cardlib.driver_stand import TERMINAL, keys
from tests.hsm import contract_checks as checks
from tests.simulators.support import vector_roots

CIPHERS = {Algorithm.TDES: Cipher.TRIPLE_DES, Algorithm.SM4: Cipher.SM4}
GENERATIONS = {Algorithm.TDES: Generation.V2, Algorithm.SM4: Generation.V3}
SERVED = {
    "authentication_value",
    "authentication_value_batch",
    "check_purchase",
    "purchase_mac1",
    "random",
    "secured_data",
    "secured_data_batch",
    "versions",
}
CONTRACT = sorted({name for of in (KeyService, TransactionKeys) for name in dir(of) if not name.startswith("_")})

algorithms = pytest.mark.parametrize("algorithm", list(CIPHERS))
every_level = pytest.mark.parametrize("level", [1, 2, 3], ids="psam-level-{}".format)


def held(algorithm: Algorithm) -> list[KeySpec]:
    return [key for key in load(GENERATIONS[algorithm]).keys if key.psam is not None]


def chip(level: int = 3, *, counter: int = 0, **options: object) -> SimPsam:
    """`level`: how many diversifications are left to the PSAM at most. Its message keys encrypt too."""
    levels = {key.name: min(level, 4 - key.root_level) for key in held(Algorithm.SM4)}
    psam = SimPsam(vector_roots(), "990100", TERMINAL, levels=levels, counter=counter, **options)
    for algorithm, cipher in CIPHERS.items():
        if cipher not in options.get("algorithms", (cipher,)):
            continue
        for key in held(algorithm):
            if key.type is KeyType.MESSAGE:
                value = vector_roots().root(key.name, algorithm.value)
                psam.add_key(cipher, KeyRecord(0x28, key.psam.id, value))
    psam.power_on()
    return psam


def service(level: int = 3, **options: object) -> KeyService:
    return psam_keys(PsamAuthenticator(chip(level, **options)))


@every_level
@algorithms
def test_contract_vectors(level: int, algorithm: Algorithm) -> None:
    checks.check_authentications(service(level), algorithm)
    checks.check_messages(service(level), algorithm)


@every_level
@algorithms
def test_contract_every_key_on_several_cards(level: int, algorithm: Algorithm) -> None:
    """As the key service at the centre computes it; a root with its region in it serves that region only."""
    psam, soft, checked = service(level), keys(), 0
    for key in held(algorithm):
        ref = KeyRef(key.name, algorithm)
        for card in checks.SAME_REGION + ([checks.OTHER] if level >= 4 - key.root_level else []):
            if key.type is KeyType.AUTHENTICATION:
                asked = (ref, card, card.card, bytes(range(8)))
                assert psam.authentication_value(*asked) == soft.authentication_value(*asked), key
            elif key.type is KeyType.MESSAGE:
                for size, encrypt in ((0, False), (6, True), (130, False), (100, True)):
                    said = (ref, card, card.card[:4], bytes.fromhex("84DC0128"), bytes(range(size)))
                    assert psam.secured_data(*said, encrypt=encrypt) == soft.secured_data(*said, encrypt=encrypt), key
            checked += 1
    assert checked > 100


@every_level
@algorithms
def test_contract_settlement(level: int, algorithm: Algorithm) -> None:
    key = KeyRef("DPK", algorithm)
    for purchase, mac1, mac2, _ in checks.purchase_vectors(algorithm):
        numbered = {"counter": int.from_bytes(purchase.number, "big")}
        checks.check_purchase(transaction_keys(service(level, **numbered)), key, purchase, mac1, mac2)
        checks.check_false_mac2(transaction_keys(service(level, **numbered)), key, purchase, mac1)


@algorithms
@pytest.mark.parametrize("backend", ["psam"])
def test_contract_batches_refusals_random(algorithm: Algorithm, backend: str) -> None:
    psam = service()
    checks.check_batches(psam, algorithm, checks.SAME_REGION)
    checks.check_refusals(psam, algorithm)
    checks.check_random(psam)
    assert psam.versions("IRK", algorithm) == [1]


@pytest.mark.parametrize("name", [name for name in CONTRACT if name not in SERVED], ids="psam-{}".format)
def test_contract_what_a_psam_lacks_is_refused(name: str) -> None:
    with pytest.raises(PsamOperationError) as refused:
        getattr(service(), name)(KeyRef("IRK", Algorithm.SM4))
    assert isinstance(refused.value, HsmError)
    assert refused.value.failure == "PSAM_KEY_LEVEL"


@algorithms
def test_contract_psam_settles_its_own_purchases_once(algorithm: Algorithm) -> None:
    """Whatever is refused before uses up no number."""
    (purchase, mac1, mac2, _), *_ = checks.purchase_vectors(algorithm)
    number = int.from_bytes(purchase.number, "big")
    psam = PsamAuthenticator(chip(counter=number))
    account, key = transaction_keys(psam_keys(psam)), KeyRef("DPK", algorithm)
    other, elsewhere = replace(purchase, number=bytes(4)), replace(purchase, terminal=bytes(6))
    refusals: list[tuple[type[HsmError], Callable[[], object]]] = [
        (BadInputError, lambda: account.purchase_mac1(key, checks.FACTORS, other)),
        (BadInputError, lambda: account.purchase_mac1(key, checks.FACTORS, elsewhere)),
        (KeyPurposeError, lambda: account.purchase_mac1(KeyRef("UK2DF04", algorithm), checks.FACTORS, purchase)),
        (PsamKeyMissingError, lambda: account.purchase_mac1(KeyRef("DLK", algorithm), checks.FACTORS, purchase)),
        (PsamKeyMissingError, lambda: account.purchase_mac1(KeyRef("DPK", algorithm, 3), checks.FACTORS, purchase)),
        (PsamOperationError, lambda: account.check_purchase(key, checks.FACTORS, purchase, mac2)),
    ]
    for error, act in refusals:
        with pytest.raises(error):
            act()
        assert psam.next_number(algorithm) == number
    assert account.purchase_mac1(key, checks.FACTORS, purchase) == mac1
    with pytest.raises(PsamOperationError):
        account.check_purchase(key, checks.OTHER, purchase, mac2)
    with pytest.raises(PsamOperationError):
        account.check_purchase(key, checks.FACTORS, purchase, mac2)


def test_contract_psam_without_the_key_or_the_algorithm() -> None:
    refused = {
        PsamAlgorithmError: (service(algorithms=(Cipher.TRIPLE_DES,)), "IRK"),
        PsamReadKeyMissingError: (service(without=frozenset({"RK_SSSE"})), "RK_SSSE"),
        PsamKeyMissingError: (service(without=frozenset({"PUK"})), "PUK"),
    }
    for error, (psam, name) in refused.items():
        with pytest.raises(error):
            psam.authentication_value(KeyRef(name, Algorithm.SM4), checks.FACTORS, bytes(8), bytes(8))
