"""A PSAM is loaded from the key service and then does what the service does itself."""

from pathlib import Path

import pytest

from apdu.errors import AuthenticationFailedError, StatusWordError
from cardlib.psam import PsamAuthenticator
from cardlib.psam_management import APPLICATION_KEY, CITY, KIDS, NATIONAL, PROVINCE, PsamKey, PsamManagement
from hsm.api import Algorithm, BadInputError, CardFactors, KeyPurposeError, KeyRef, Purpose
from hsm.psam_keys import SoftPsamKeys
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from simulators.card import Algorithm as ChipAlgorithm
from simulators.card import crypto
from simulators.psam import SimPsam
from simulators.psam.build import CONTROL_NAMES, control_root
from tests.cardlib.transit import Reader
from tests.simulators.support import vector_roots

CHIP = {Algorithm.TDES: ChipAlgorithm.TRIPLE_DES, Algorithm.SM4: ChipAlgorithm.SM4}
REGION, FACTORS = "990100", CardFactors("990100", bytes.fromhex("86FE990100000001"))
CHALLENGE, ORIGINAL = bytes.fromhex("A1A2A3A4A5A6A7A8"), bytes.fromhex("0102030405060708")
ROOTS = {"IRK": 1, "RK_SSSE": 1, "UK_SSSE": 2}


def service(path: Path) -> SoftKeyService:
    """The simulated ministry's roots and the control keys of its PSAMs."""
    made = SoftKeyService.create(path, "passphrase", cost=ScryptCost(n=2))
    roots = vector_roots()
    for algorithm in CHIP:
        for name, level in ROOTS.items():
            value = roots.root(name, str(algorithm))
            _put(made, KeyRef(name, algorithm), Purpose.AUTHENTICATION, value, level)
        for kid, name in CONTROL_NAMES.items():
            _put(made, KeyRef(name, algorithm), Purpose.MASTER, control_root(roots, kid, CHIP[algorithm]), 3)
    return made


def _put(keys: SoftKeyService, ref: KeyRef, purpose: Purpose, value: bytes, level: int) -> None:
    share = bytes(range(1, 1 + len(value)))
    keys.import_components(ref, purpose, [share, bytes(a ^ b for a, b in zip(share, value, strict=True))], level=level)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> SoftKeyService:
    return service(tmp_path_factory.mktemp("keys") / "keys.json")


def empty(algorithm: Algorithm) -> SimPsam:
    return SimPsam(vector_roots(), algorithms=(CHIP[algorithm],), without=frozenset(ROOTS), counter=9)


@pytest.mark.parametrize("algorithm", CHIP)
@pytest.mark.parametrize("left", [1, 2])
def test_a_loaded_psam_gives_the_services_values(algorithm, left, keys):
    """However much of a root's diversification is left to it (P9 §8)."""
    chip = empty(algorithm)
    manager = PsamManagement(Reader(chip), algorithm, keys, region=REGION)
    assert manager.information.transaction_number == 9
    manager.initialize_environment("99")
    manager.create_key(PsamKey(7, 0x08, left), KeyRef("IRK", algorithm), SoftPsamKeys(keys))
    manager.create_key(PsamKey(8, 0x12, 1, file=PROVINCE), KeyRef("UK_SSSE", algorithm), SoftPsamKeys(keys))
    terminal = PsamAuthenticator(Reader(chip))
    for name in ("IRK", "UK_SSSE"):
        ref = KeyRef(name, algorithm)
        value = keys.authentication_value(ref, FACTORS, CHALLENGE, ORIGINAL)
        assert terminal.authentication_value(ref, FACTORS, CHALLENGE, ORIGINAL) == value


def test_a_key_is_changed_and_not_made_twice(keys):
    algorithm, chip = Algorithm.TDES, empty(Algorithm.TDES)
    manager = PsamManagement(Reader(chip), algorithm, keys, region=REGION)
    key, loader = PsamKey(7, 0x08, 2), SoftPsamKeys(keys)
    with pytest.raises(StatusWordError, match="6A83"):
        manager.change_key(key, KeyRef("IRK", algorithm), loader)
    manager.create_key(key, KeyRef("RK_SSSE", algorithm), loader)
    with pytest.raises(StatusWordError, match="6A80"):
        manager.create_key(key, KeyRef("IRK", algorithm), loader)
    manager.change_key(key, KeyRef("IRK", algorithm), loader)
    province = crypto.diversify(CHIP[algorithm], vector_roots().root("IRK", "3DES"), b"990000sh")
    assert chip.state.environments[0].records[-1].value == province


def test_a_refused_control_key_is_not_tried_again(keys):
    chip = empty(Algorithm.SM4)
    chip.state.environments[0].control(KIDS["PSAM_K03"]).value = bytes(16)
    manager = PsamManagement(Reader(chip), Algorithm.SM4, keys, region=REGION)
    with pytest.raises(AuthenticationFailedError) as caught:
        manager.set_information(CITY, bytes(10))
    assert caught.value.attempts_remaining == 2
    manager.set_information(NATIONAL, bytes.fromhex("02012020010120991231"))
    with pytest.raises(ValueError, match="ten"):
        manager.set_information(NATIONAL, b"")
    chip.state.environments[0].control(KIDS[APPLICATION_KEY]).value = bytes(16)
    with pytest.raises(StatusWordError, match="6988"):
        manager.create_key(PsamKey(7, 0x08, 2), KeyRef("IRK", Algorithm.SM4), SoftPsamKeys(keys))


@pytest.mark.parametrize(
    ("name", "left", "error"),
    [
        ("IRK", 0, BadInputError),
        ("IRK", 3, BadInputError),
        ("UK_SSSE", 2, BadInputError),
        (APPLICATION_KEY, 1, KeyPurposeError),
    ],
)
def test_neither_roots_nor_card_keys_leave(name, left, error, keys):
    """What a PSAM may get lies between the service's root and the single card."""
    manager = PsamManagement(Reader(empty(Algorithm.SM4)), Algorithm.SM4, keys, region=REGION)
    with pytest.raises(error):
        manager.create_key(PsamKey(7, 0x08, left), KeyRef(name, Algorithm.SM4), SoftPsamKeys(keys))
