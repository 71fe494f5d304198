"""One contract, every backend: vectors, cross-checks against other code, refusals, threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from hsm.api import (
    Algorithm,
    BadInputError,
    CardFactors,
    KeyExistsError,
    KeyExpiredError,
    KeyNotFoundError,
    KeyPurposeError,
    KeyRef,
    KeyState,
    Purpose,
)
from hsm.primitives import AuthenticationFailed, portable_engine
from hsm.service import StoreKeyService
from hsm.transactions import CryptogramError, Load
from tests.hsm import contract_checks as checks
from tests.hsm.backends import BACKENDS, needs, opened, put, put_roots
from tests.hsm.vector_files import unhex

FACTORS = checks.FACTORS
TDES, SM4, SM2, P256, RSA = Algorithm.TDES, Algorithm.SM4, Algorithm.SM2, Algorithm.P256, Algorithm.RSA
USER = b"contract"


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreKeyService]:
    with opened(request.param, tmp_path) as service:
        yield service


@pytest.fixture(params=[TDES, SM4])
def algorithm(request: pytest.FixtureRequest, service: StoreKeyService) -> Algorithm:
    found: Algorithm = request.param
    needs(service, found)
    put_roots(service, found)
    return found


def test_contract_vectors_of_cards(service: StoreKeyService, algorithm: Algorithm) -> None:
    checks.check_authentications(service, algorithm)
    checks.check_messages(service, algorithm)
    for key, challenge, command, plain, encrypt in checks.message_vectors(algorithm):
        if encrypt:
            assert service.decrypted_data(key, FACTORS, challenge, command[5:-4]) == plain
    for case in checks.vectors(algorithm, "rcp_write_key"):
        command, plain = unhex(case["capdu"]), unhex(case["plain"])
        data = service.wrap_value(
            plain[8:],
            plain[:8],
            under=KeyRef("TMK_SSSE", algorithm),
            under_factors=FACTORS,
            challenge=unhex(case["challenge"]),
            header=command[:4],
        )
        assert data == command[5:], case["id"]
    zeros, engine = bytes(16 if algorithm is SM4 else 8), portable_engine()
    for case in checks.vectors(algorithm, "diversify"):
        key = KeyRef(case.get("key_name", ""), algorithm)
        if key.name and service.info(key).level:
            card_key = unhex(case["card_key"])
            expected = engine.sm4_ecb(card_key, zeros) if algorithm is SM4 else engine.des_ecb(card_key, zeros)
            assert service.card_kcv(key, FACTORS) == expected[:3]


def test_contract_medical_account(service: StoreKeyService, algorithm: Algorithm) -> None:
    for case in checks.vectors(algorithm, "load"):
        load = checks.transaction_of(case)
        assert isinstance(load, Load)
        assert service.load_mac2(KeyRef("DLK", algorithm), FACTORS, load, unhex(case["MAC1"])) == unhex(case["MAC2"])
        with pytest.raises(CryptogramError):
            service.load_mac2(KeyRef("DLK", algorithm), FACTORS, load, bytes(4))
    for purchase, mac1, mac2, _ in checks.purchase_vectors(algorithm):
        checks.check_purchase(service, KeyRef("DPK", algorithm), purchase, mac1, mac2)
        checks.check_false_mac2(service, KeyRef("DPK", algorithm), purchase, mac1)
    for case in checks.vectors(algorithm, "load", "purchase"):
        transaction = checks.transaction_of(case)
        service.check_tac(KeyRef("DTK", algorithm), FACTORS, transaction, unhex(case["TAC"]))
        with pytest.raises(CryptogramError):
            service.check_tac(KeyRef("DTK", algorithm), FACTORS, transaction, bytes(4))


def test_contract_batches_equal_single_calls(service: StoreKeyService, algorithm: Algorithm) -> None:
    irk = KeyRef("IRK", algorithm)
    cards = [CardFactors(region, bytes((n,)) * 8) for n, region in enumerate(("990100", "990200", "990100", "120000"))]
    checks.check_batches(service, algorithm, cards)
    assert service.card_kcv_batch(irk, cards) == [service.card_kcv(irk, card) for card in cards]
    assert service.card_kcv_batch(irk, []) == []


def test_contract_diversification_explains_itself(service: StoreKeyService, algorithm: Algorithm) -> None:
    key = KeyRef("IRK", algorithm)
    steps = service.diversification(key, FACTORS)
    assert [step.name for step in steps] == ["root", "province", "city", "card"]
    assert steps[0].kcv == service.info(key).kcv
    assert steps[-1].kcv == service.card_kcv(key, FACTORS)
    assert steps[-1].factor == FACTORS.card


def test_contract_roots_of_regions(service: StoreKeyService, algorithm: Algorithm) -> None:
    """Nation, province, city: a card cannot tell which of the three gave its key; nor a service that was sent one."""
    nation = KeyRef("IRK", algorithm)
    province, city = (KeyRef("IRK", algorithm, region=FACTORS.region), KeyRef("IRK", algorithm, 2, FACTORS.region))
    service.derive_root(province, nation, level=2)
    service.derive_root(city, province, level=3)
    kcvs = {service.card_kcv(key, FACTORS) for key in (nation, province, city)}
    assert len(kcvs) == 1
    assert service.card_kcv(city, CardFactors("990200", FACTORS.card)) in kcvs, "the city is in the root already"
    kek = KeyRef("KEK", algorithm)
    service.generate(kek, Purpose.TRANSPORT)
    wrapped, kcv = service.wrap_root(nation, region=FACTORS.region, level=3, kek=kek)
    arrived = KeyRef("IRK", algorithm, 3, FACTORS.region)
    with pytest.raises(BadInputError):
        service.import_wrapped(arrived, Purpose.AUTHENTICATION, wrapped, kek=kek, kcv=bytes(3), level=3)
    assert service.import_wrapped(arrived, Purpose.AUTHENTICATION, wrapped, kek=kek, kcv=kcv, level=3).kcv == kcv
    assert service.card_kcv(arrived, FACTORS) in kcvs
    for wrong in (
        lambda: service.derive_root(KeyRef("X", algorithm, region="990100"), city, level=3),
        lambda: service.derive_root(KeyRef("X", algorithm, region="990100"), nation, level=1),
        lambda: service.wrap_root(nation, region="990100", level=4, kek=kek),
        lambda: service.import_wrapped(KeyRef("X", algorithm), Purpose.MASTER, wrapped[:-1], kek=kek, kcv=kcv),
    ):
        with pytest.raises(BadInputError):
            wrong()
    with pytest.raises(KeyPurposeError):
        service.wrap_root(nation, region=FACTORS.region, level=3, kek=nation)


def test_contract_versions_and_retirement(service: StoreKeyService, algorithm: Algorithm) -> None:
    """Cards of both versions go on; nothing new is made with the old one."""
    old, new = KeyRef("IRK", algorithm), KeyRef("IRK", algorithm, 2)
    before = service.authentication_value(old, FACTORS, bytes(8), bytes(8))
    service.generate(new, Purpose.AUTHENTICATION, level=1)
    assert service.retire(old).state is KeyState.RETIRED
    assert service.current("IRK", algorithm) == new
    assert service.versions("IRK", algorithm) == [2, 1]
    assert service.versions("IRK", algorithm, region="990100") == service.versions("NOBODY", algorithm) == []
    assert service.authentication_value(old, FACTORS, bytes(8), bytes(8)) == before
    assert service.authentication_value(new, FACTORS, bytes(8), bytes(8)) != before
    loading = {"under": KeyRef("TMK_SSSE", algorithm), "under_factors": FACTORS, "challenge": bytes(4)}
    with pytest.raises(KeyExpiredError):
        service.wrap_card_key(old, FACTORS, bytes(8), header=unhex("84D40000"), **loading)
    assert service.wrap_card_key(new, FACTORS, bytes(8), header=unhex("84D40000"), **loading)
    service.retire(new)
    with pytest.raises(KeyNotFoundError):
        service.current("IRK", algorithm)
    service.destroy(old)
    with pytest.raises(KeyNotFoundError):
        service.authentication_value(old, FACTORS, bytes(8), bytes(8))


def test_contract_sealing(service: StoreKeyService) -> None:
    algorithm = SM4 if SM4 in service.device.algorithms else TDES
    key, late = KeyRef("records", algorithm), KeyRef("late", algorithm)
    service.generate(key, Purpose.SEAL)
    service.generate(late, Purpose.SEAL, expires=1)
    sealed = service.seal(key, b"plain", b"person 7")
    assert b"plain" not in sealed != service.seal(key, b"plain", b"person 7")
    assert service.unseal(key, sealed, b"person 7") == b"plain"
    for wrong in (sealed[:-1], sealed[:1] + sealed, sealed[:-1] + bytes((sealed[-1] ^ 1,)), b""):
        with pytest.raises(AuthenticationFailed):
            service.unseal(key, wrong, b"person 7")
    with pytest.raises(AuthenticationFailed):
        service.unseal(key, sealed, b"person 8")
    assert service.index(key, b"1") == service.index(key, b"1") != service.index(key, b"2")
    with pytest.raises(KeyExpiredError):
        service.seal(late, b"plain")


def test_contract_sm2(service: StoreKeyService) -> None:
    """Signed and sealed here, verified and encrypted by code that shares nothing with the backend, and back."""
    needs(service, SM2)
    other, key, box = portable_engine(), KeyRef("issuer", SM2), KeyRef("box", SM2)
    public = service.generate_pair(key)
    assert service.public_key(key) == public
    for signature in [service.sign(key, b"x", user_id=USER), *service.sign_batch(key, [b"x", b"x"], user_id=USER)]:
        assert other.sm2_verify(public, b"x", signature, user_id=USER)
        assert not other.sm2_verify(public, b"y", signature, user_id=USER)
        assert not other.sm2_verify(public, b"x", signature, user_id=b"another")
    with pytest.raises(BadInputError):
        service.sign(key, b"x")
    sealed = other.sm2_encrypt(service.generate_pair(box, Purpose.DECRYPT), b"envelope")
    assert service.decrypt(box, sealed) == b"envelope"
    with pytest.raises(AuthenticationFailed):
        service.decrypt(box, sealed[:-1] + bytes((sealed[-1] ^ 1,)))
    with pytest.raises(KeyPurposeError):
        service.decrypt(key, sealed)
    with pytest.raises(KeyPurposeError):
        service.sign(box, b"x", user_id=USER)


def test_contract_p256_and_rsa(service: StoreKeyService) -> None:
    needs(service, P256, RSA)
    ec_key, rsa_key = KeyRef("tokens", P256), KeyRef("tokens", RSA)
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), service.generate_pair(ec_key))
    raw = service.sign(ec_key, b"claims")
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    point.verify(der, b"claims", ec.ECDSA(hashes.SHA256()))
    public = load_der_public_key(service.generate_pair(rsa_key))
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(service.sign(rsa_key, b"claims"), b"claims", padding.PKCS1v15(), hashes.SHA256())


def test_contract_refusals(service: StoreKeyService, algorithm: Algorithm) -> None:
    key = KeyRef("IRK", algorithm)
    with pytest.raises(KeyExistsError):
        service.generate(key, Purpose.AUTHENTICATION, level=1)
    checks.check_refusals(service, algorithm)
    for wrong in (
        lambda: service.seal(key, b""),
        lambda: service.master_mac(key, FACTORS, bytes(4), unhex("84F40103")),
        lambda: service.sign(KeyRef("IRK", algorithm), b"x"),
    ):
        with pytest.raises(KeyPurposeError):
            wrong()
    with pytest.raises(BadInputError):
        service.generate(KeyRef("x", algorithm), Purpose.AUTHENTICATION, length=24)
    checks.check_random(service)


def test_contract_counts_uses_and_shows_no_key(service: StoreKeyService, algorithm: Algorithm) -> None:
    secret, key = unhex("5EC2E75EC2E75EC2E75EC2E75EC2E712"), KeyRef("UK1DF01", algorithm, 7)
    put(service, key, Purpose.AUTHENTICATION, secret, level=3)
    for _ in range(3):
        service.authentication_value(key, FACTORS, bytes(8), bytes(8))
    info = service.info(key)
    assert (info.uses, info.level, info.length, info.state) == (3, 3, 16, KeyState.ACTIVE)
    assert info.created > 0
    shown = repr(service) + repr(info) + repr(service.table.find(key)) + repr(service.table) + repr(service.device)
    assert secret.hex() not in shown.lower()
    assert repr(secret) not in shown


def test_contract_threads(service: StoreKeyService, algorithm: Algorithm) -> None:
    key = KeyRef("IRK", algorithm)
    expected = {n: service.authentication_value(key, FACTORS, bytes((n,)) * 8, bytes(8)) for n in range(8)}
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for n in range(20):
                at = (n + number) % 8
                assert service.authentication_value(key, FACTORS, bytes((at,)) * 8, bytes(8)) == expected[at]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
