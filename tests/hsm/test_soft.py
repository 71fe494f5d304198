"""The software key service: what it computes, what it refuses, what it keeps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsm import card_rules
from hsm.api import (
    CARD_ALGORITHMS,
    CARD_PURPOSES,
    PAIR_PURPOSES,
    Algorithm,
    BadInputError,
    CardFactors,
    KeyExistsError,
    KeyNotFoundError,
    KeyPurposeError,
    KeyRef,
    KeyService,
    KeyStoreCorruptError,
    KeyStoreLockedError,
    Purpose,
)
from hsm.primitives import AuthenticationFailed, Engine, EngineUnavailableError, default_engine, fast_engine
from hsm.primitives.fast import LibcryptoSm2
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from hsm.soft_device import SoftKey
from tests.hsm.vector_files import own, unhex

CARD = own("vectors_card_crypto.json")
META = CARD["meta"]
FACTORS = CardFactors(META["region"], unhex(META["L3"]))
CHEAP = ScryptCost(n=2)
WORDS = "correct horse battery"
TDES, SM4 = Algorithm.TDES, Algorithm.SM4
MASTER = KeyRef("TMK_SSSE", SM4)
ROOT = KeyRef("IRK", SM4)
SEAL = KeyRef("records", SM4)
SIGN = KeyRef("issuer", Algorithm.SM2)
PURPOSES = {
    "STK": Purpose.MESSAGE,
    "STKDF03": Purpose.MESSAGE,
    "DPK": Purpose.PURCHASE,
    "DLK": Purpose.LOAD,
    "DTK": Purpose.TAC,
}
ALL_ZERO = bytes(16)


def put(service: SoftKeyService, key: KeyRef, purpose: Purpose, value: bytes, *, level: int = 0) -> None:
    mask = service.random(len(value))
    service.import_components(key, purpose, [mask, bytes(a ^ b for a, b in zip(mask, value, strict=True))], level=level)


def refs(service: SoftKeyService) -> list[KeyRef]:
    listed = service.keys()
    return [info.ref for info in listed]


@pytest.fixture
def service(tmp_path: Path, engine: Engine) -> Iterator[SoftKeyService]:
    with SoftKeyService.create(tmp_path / "store", WORDS, engine=engine, cost=CHEAP) as service:
        yield service


@pytest.fixture
def filled(service: SoftKeyService) -> SoftKeyService:
    """The vectors' root keys in both environments and a master key D0 D1 … DF."""
    for algorithm in CARD_ALGORITHMS:
        put(service, KeyRef("TMK_SSSE", algorithm), Purpose.MASTER, bytes(range(0xD0, 0xE0)))
        for name, root in META["root_keys"].items():
            value = unhex(root["key"])
            is_single = algorithm is TDES and name.startswith("STK")
            purpose = PURPOSES.get(name, Purpose.AUTHENTICATION)
            put(service, KeyRef(name, algorithm), purpose, value[:8] if is_single else value, level=root["level"])
    return service


def test_is_a_key_service(service: SoftKeyService) -> None:
    assert isinstance(service, KeyService)


def test_authentication_vectors(filled: SoftKeyService) -> None:
    checked = 0
    for case in CARD["vectors"]:
        if case["kind"] == "external_authentication" and "key_name" in case:
            key = KeyRef(case["key_name"], Algorithm(case["alg"]))
            if key.name not in META["root_keys"]:
                continue
            value = filled.authentication_value(key, FACTORS, unhex(case["challenge"]), unhex(case["original"]))
            assert value == unhex(case["auth_data"])
            checked += 1
    assert checked >= 6


def test_secured_command_vectors(filled: SoftKeyService) -> None:
    checked = 0
    for case in CARD["vectors"]:
        if "mac_padded" in case and case["key_name"] in ("STK", "STKDF03"):
            command, encrypt = unhex(case["capdu"]), "plain_block" in case
            plain = unhex(case["plain_block"])[1 : 1 + unhex(case["plain_block"])[0]] if encrypt else command[5:-4]
            key = KeyRef(case["key_name"], SM4 if case["alg"] == "SM4" else TDES)
            data = filled.secured_data(key, FACTORS, unhex(case["challenge"]), command[:4], plain, encrypt=encrypt)
            assert data == command[5:], case["id"]
            checked += 1
    assert checked == 12


def test_write_key_vectors(filled: SoftKeyService) -> None:
    names = {"IRK": "IRK", "STK8": "STK", "UK_SSSE": "UK_SSSE", "RK_SSSE": "RK_SSSE"}
    for case in CARD["vectors"]:
        if case["kind"] != "rcp_write_key":
            continue
        command, plain, algorithm = unhex(case["capdu"]), unhex(case["plain"]), Algorithm(case["alg"])
        under, challenge = KeyRef("TMK_SSSE", algorithm), unhex(case["challenge"])
        name = names.get(case["id"].rsplit("-", 1)[1])
        if name:
            data = filled.wrap_card_key(
                KeyRef(name, algorithm),
                FACTORS,
                plain[:8],
                under=under,
                under_factors=FACTORS,
                challenge=challenge,
                header=command[:4],
            )
        else:
            data = filled.wrap_value(
                plain[8:], plain[:8], under=under, under_factors=FACTORS, challenge=challenge, header=command[:4]
            )
        assert data == command[5:], case["id"]


def test_master_key_authenticates_and_macs(filled: SoftKeyService) -> None:
    """personalization.md §3.3, transport and master authentication; MAC of SET STATE by the same key."""
    challenge, original = unhex("A1A2A3A4A5A6A7A8"), unhex("0102030405060708")
    for algorithm, expected in ((TDES, "BAE29F9F0300B092"), (SM4, "70192FD752B8C87D")):
        key = KeyRef("TMK_SSSE", algorithm)
        assert filled.authentication_value(key, FACTORS, challenge, original) == unhex(expected)
        header = unhex("84F40103")
        mac = filled.master_mac(key, FACTORS, challenge[:4], header)
        full = bytes(range(0xD0, 0xE0))
        message, start = header + b"\x04", challenge[:4]
        assert mac == card_rules.mac(SoftKey(default_engine(), algorithm, full), message, iv=start)


def test_card_kcv(filled: SoftKeyService) -> None:
    key = KeyRef("IRK", SM4)
    card_key = unhex(META["card_keys"]["SM4:IRK"])
    assert filled.card_kcv(key, FACTORS) == default_engine().sm4_ecb(card_key, ALL_ZERO)[:3]
    root = unhex(META["root_keys"]["IRK"]["key"])
    info = filled.info(key)
    assert (info.purpose, info.level, info.length) == (Purpose.AUTHENTICATION, 1, 16)
    assert info.kcv == default_engine().sm4_ecb(root, ALL_ZERO)[:3] != filled.card_kcv(key, FACTORS)


OPERATIONS = {
    "authentication_value": {Purpose.AUTHENTICATION, Purpose.MASTER},
    "secured_data": {Purpose.MESSAGE},
    "wrap_card_key": CARD_PURPOSES,
    "wrap_under": {Purpose.MASTER},
    "wrap_value": {Purpose.MASTER},
    "master_mac": {Purpose.MASTER},
    "card_kcv": CARD_PURPOSES,
    "seal": {Purpose.SEAL},
    "unseal": {Purpose.SEAL},
    "index": {Purpose.SEAL},
    "sign": {Purpose.SIGN},
    "decrypt": {Purpose.DECRYPT},
    "public_key": PAIR_PURPOSES,
    "transport": {Purpose.TRANSPORT},
    "decrypted_data": {Purpose.MESSAGE},
    "diversification": CARD_PURPOSES,
}


def encrypted(service: SoftKeyService, key: KeyRef) -> bytes:
    header = unhex("84D60000")
    return service.secured_data(key, FACTORS, bytes(8), header, b"data", encrypt=True)[:-4]


def operate(service: SoftKeyService, operation: str, key: KeyRef) -> object:
    challenge, header, record = bytes(4), unhex("84D40000"), bytes(8)
    loading = {"under_factors": FACTORS, "challenge": challenge, "header": header}
    calls = {
        "authentication_value": lambda: service.authentication_value(key, FACTORS, bytes(8), bytes(8)),
        "secured_data": lambda: service.secured_data(key, FACTORS, bytes(8), header, b""),
        "wrap_card_key": lambda: service.wrap_card_key(key, FACTORS, record, under=MASTER, **loading),
        "wrap_under": lambda: service.wrap_card_key(MASTER, FACTORS, record, under=key, **loading),
        "wrap_value": lambda: service.wrap_value(bytes(8), record, under=key, **loading),
        "master_mac": lambda: service.master_mac(key, FACTORS, challenge, header),
        "card_kcv": lambda: service.card_kcv(key, FACTORS),
        "seal": lambda: service.seal(key, b"data"),
        "unseal": lambda: service.unseal(key, service.seal(key, b"data")),
        "index": lambda: service.index(key, b"data"),
        "sign": lambda: service.sign(key, b"data", user_id=b"id"),
        "decrypt": lambda: service.decrypt(key, default_engine().sm2_encrypt(service.public_key(key), b"data")),
        "public_key": lambda: service.public_key(key),
        "transport": lambda: service.wrap_root(ROOT, region="990100", level=2, kek=key),
        "decrypted_data": lambda: service.decrypted_data(key, FACTORS, bytes(8), encrypted(service, key)),
        "diversification": lambda: service.diversification(key, FACTORS),
    }
    return calls[operation]()


def test_each_purpose_allows_its_own_operations_only(service: SoftKeyService) -> None:
    service.generate(MASTER, Purpose.MASTER)
    service.generate(ROOT, Purpose.AUTHENTICATION, level=1)
    for purpose in Purpose:
        is_pair = purpose in PAIR_PURPOSES
        key = KeyRef(f"key-for-{purpose}", Algorithm.SM2 if is_pair else SM4)
        if is_pair:
            service.generate_pair(key, purpose)
        else:
            service.generate(key, purpose)
        for operation, allowed in OPERATIONS.items():
            if purpose in allowed:
                operate(service, operation, key)
            else:
                with pytest.raises(KeyPurposeError):
                    operate(service, operation, key)
    for operation in OPERATIONS:
        with pytest.raises(KeyNotFoundError):
            operate(service, operation, KeyRef("absent", SM4))


def test_new_keys_are_checked(service: SoftKeyService) -> None:
    key = KeyRef("IRK", SM4)
    for call in (
        lambda: service.generate(key, Purpose.AUTHENTICATION, length=8),
        lambda: service.generate(KeyRef("STK", TDES), Purpose.MESSAGE, length=24),
        lambda: service.generate(key, Purpose.AUTHENTICATION, level=4),
        lambda: service.generate(key, Purpose.SIGN),
        lambda: service.generate(KeyRef("x", TDES), Purpose.SEAL, length=8),
        lambda: service.generate(KeyRef("x", SM4), Purpose.SEAL, level=1),
        lambda: service.generate(KeyRef("x", SM4, region="9901"), Purpose.SEAL),
        lambda: service.generate_pair(KeyRef("x", SM4)),
        lambda: service.generate_pair(KeyRef("x", Algorithm.RSA), Purpose.DECRYPT),
        lambda: service.generate(KeyRef("", SM4), Purpose.AUTHENTICATION),
        lambda: service.generate(KeyRef("IRK", SM4, 0), Purpose.AUTHENTICATION),
        lambda: service.generate_pair(KeyRef("a\nb", Algorithm.SM2)),
        lambda: service.import_components(key, Purpose.AUTHENTICATION, [bytes(16)]),
        lambda: service.import_components(key, Purpose.AUTHENTICATION, []),
        lambda: service.import_components(key, Purpose.AUTHENTICATION, [bytes(16), bytes(8)]),
        lambda: service.import_components(key, Purpose.AUTHENTICATION, [b"\x01" * 16, b"\x01" * 16]),
        lambda: service.random(0),
    ):
        with pytest.raises(BadInputError):
            call()
    assert service.keys() == []
    service.generate(key, Purpose.AUTHENTICATION, level=1)
    for again in (
        lambda: service.generate(key, Purpose.MASTER),
        lambda: service.import_components(key, Purpose.MASTER, [bytes(16), b"\x01" * 16]),
    ):
        with pytest.raises(KeyExistsError):
            again()
    assert service.info(key).purpose is Purpose.AUTHENTICATION


def test_keys_survive_and_are_destroyed(tmp_path: Path, engine: Engine) -> None:
    path = tmp_path / "store"
    first, second = KeyRef("IRK", TDES), KeyRef("IRK", TDES, 2)
    with SoftKeyService.create(path, WORDS, engine=engine, cost=CHEAP) as service:
        infos = [service.generate(key, Purpose.AUTHENTICATION, level=1) for key in (first, second)]
        public = service.generate_pair(SIGN)
        assert infos[0].kcv != infos[1].kcv
    with SoftKeyService.open(path, WORDS, engine=engine) as service:
        assert [service.info(key) for key in (first, second)] == infos
        assert service.public_key(SIGN) == public
        service.destroy(first)
        with pytest.raises(KeyNotFoundError):
            service.info(first)
        with pytest.raises(KeyNotFoundError):
            service.destroy(first)
    with SoftKeyService.open(path, WORDS, engine=engine) as service:
        assert refs(service) == [second, SIGN]


def test_sealing(service: SoftKeyService) -> None:
    service.generate(SEAL, Purpose.SEAL)
    sealed = service.seal(SEAL, b"plain", b"person 7")
    assert service.unseal(SEAL, sealed, b"person 7") == b"plain"
    assert service.seal(SEAL, b"plain", b"person 7") != sealed
    broken = [sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :] for at in range(len(sealed))]
    for wrong in [*broken, *(sealed[:end] for end in range(len(sealed)))]:
        with pytest.raises(AuthenticationFailed):
            service.unseal(SEAL, wrong, b"person 7")
    with pytest.raises(AuthenticationFailed):
        service.unseal(SEAL, sealed, b"person 8")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=80))
def test_unseal_of_anything(service: SoftKeyService, data: bytes) -> None:
    if not service.keys():
        service.generate(SEAL, Purpose.SEAL)
    with pytest.raises(AuthenticationFailed):
        service.unseal(SEAL, data)
    assert service.unseal(SEAL, service.seal(SEAL, data)) == data


def test_index_depends_on_key_and_value(service: SoftKeyService) -> None:
    other = KeyRef("records", SM4, 2)
    for key in (SEAL, other):
        service.generate(key, Purpose.SEAL)
    values = {service.index(key, value) for key in (SEAL, other) for value in (b"1", b"2", b"")}
    assert len(values) == 6
    assert {len(value) for value in values} == {32}
    assert service.index(SEAL, b"1") == service.index(SEAL, b"1")


def test_signing(service: SoftKeyService) -> None:
    public = service.generate_pair(SIGN)
    signature = service.sign(SIGN, b"catalog", user_id=b"authority")
    assert default_engine().sm2_verify(public, b"catalog", signature, user_id=b"authority")
    assert not default_engine().sm2_verify(public, b"catalog", signature)
    assert service.info(SIGN).purpose is Purpose.SIGN


def test_changes_by_another_process_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "store"
    one = SoftKeyService.create(path, WORDS, cost=CHEAP)
    two = SoftKeyService.open(path, WORDS)
    one.generate(SEAL, Purpose.SEAL)
    assert two.unseal(SEAL, one.seal(SEAL, b"x")) == b"x"
    two.generate(MASTER, Purpose.MASTER)
    one.destroy(SEAL)
    with pytest.raises(KeyNotFoundError):
        two.seal(SEAL, b"x")
    assert refs(one) == refs(two) == [MASTER]


def test_a_failed_write_adds_no_key(service: SoftKeyService, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: bytes) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(service.table.store, "write", full)
        with pytest.raises(OSError, match="disk full"):
            service.generate(SEAL, Purpose.SEAL)
    assert service.keys() == []


def test_close_overwrites_the_keys(service: SoftKeyService) -> None:
    service.generate(SEAL, Purpose.SEAL)
    buffers = [row.handle for row in service.table._rows.values()] + [service.table.store._key]
    assert all(any(buffer) for buffer in buffers)
    service.close()
    assert not any(any(buffer) for buffer in buffers)
    for call in (service.keys, lambda: service.seal(SEAL, b""), lambda: service.generate(MASTER, Purpose.MASTER)):
        with pytest.raises(KeyStoreLockedError):
            call()


def test_destroy_overwrites_the_key(service: SoftKeyService) -> None:
    service.generate(SEAL, Purpose.SEAL)
    (row,) = service.table._rows.values()
    service.destroy(SEAL)
    assert not any(row.handle)


@pytest.mark.parametrize("end", ["destroy", "close", "elsewhere"])
def test_engine_keeps_no_private_key_of_a_destroyed_one(tmp_path: Path, end: str) -> None:
    try:
        engine = fast_engine()
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    assert isinstance(engine, LibcryptoSm2)
    service = SoftKeyService.create(tmp_path / "store", WORDS, engine=engine, cost=CHEAP)
    service.generate_pair(SIGN)
    before = set(engine._kept._keys)
    service.sign(SIGN, b"x", user_id=b"u")
    (name,) = engine._kept._keys.keys() - before
    if end == "destroy":
        service.destroy(SIGN)
    elif end == "close":
        service.close()
    else:
        with SoftKeyService.open(tmp_path / "store", WORDS) as other:
            other.destroy(SIGN)
        assert refs(service) == []
    assert name not in engine._kept._keys
    service.close()


@pytest.mark.parametrize("payload", [b"", b"{", b"7", b"[7]", b'[{"name": "x"}]', b"\xff"])
def test_a_store_of_something_else(tmp_path: Path, payload: bytes) -> None:
    service = SoftKeyService.create(tmp_path / "store", WORDS, cost=CHEAP)
    service.table.store.write(payload)
    with pytest.raises(KeyStoreCorruptError):
        SoftKeyService.open(tmp_path / "store", WORDS)


def test_threads_share_a_service(tmp_path: Path) -> None:
    service = SoftKeyService.create(tmp_path / "store", WORDS, cost=CHEAP)
    service.generate(SEAL, Purpose.SEAL)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for round_number in range(5):
                key = KeyRef(f"K{number}", SM4, round_number + 1)
                service.generate(key, Purpose.AUTHENTICATION)
                service.authentication_value(key, FACTORS, bytes(8), bytes(8))
                assert service.unseal(SEAL, service.seal(SEAL, b"x")) == b"x"
                service.destroy(key)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert refs(service) == [SEAL]
