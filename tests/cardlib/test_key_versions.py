"""Cards made before and after a rotation of the roots: both work everywhere, and nothing new is made with the old."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count

import pytest

from apdu.channel import CountingChannel, T0Channel
from cardlib.driver_hsm import HsmSteps
from cardlib.driver_session import DriverSession, DriverTerminal
from cardlib.errors import CardNotGenuineError
from cardlib.guard import KeyTries
from cardlib.hsm_route import HsmRoute, chain, factors_of
from cardlib.initialization import initialize
from cardlib.key_set import KeySet, current_set, next_version
from cardlib.management import reload_pin
from cardlib.medical import KeyPurchase, MedicalAccount
from cardlib.personalization import personalize
from cardlib.psam import PsamAuthenticator
from cardlib.script import run
from cardlib.session import SocialSecurityCard
from cardlib.spec import Generation, load
from hsm.api import Algorithm, KeyExpiredError, KeyNotFoundError, KeyRef
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from hsm.transactions import CryptogramError, transaction_keys
from onecard_cli.home import import_roots
from simulators.card import CardGone, CardState, Faults, Life, SimCard
from simulators.ministry import RootKeys
from simulators.psam import SimPsam
from tests.cardlib.driver_stand import Holder
from tests.cardlib.support import chip, initialization_order, key_service, order, roots
from tests.hsm.backends import put

LEFT_OUT = "DTK"
"""The key that the rotation of these tests leaves at version 1."""
NOW = datetime(2026, 11, 22, 9, 30)
TERMINAL = "990100000001"
SETS = (1, 2)
GENERATIONS = (Generation.V2, Generation.V3)


@dataclass(frozen=True)
class Rotated:
    """A key service after a rotation, and the cards made by it: issued, blank and half made, by set."""

    keys: SoftKeyService
    issued: dict[tuple[Generation, int], CardState]
    blanks: dict[int, CardState]

    def card(self, generation: Generation, version: int) -> SimCard:
        return SimCard(copy.deepcopy(self.issued[generation, version]))

    def session(self, generation: Generation, version: int) -> SocialSecurityCard:
        card = self.card(generation, version)
        return SocialSecurityCard(card, card.power_on(), tries=KeyTries())


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotated]:
    path = tmp_path_factory.mktemp("rotated") / "keys"
    with SoftKeyService.create(path, "test passphrase", cost=ScryptCost(n=2, r=8, p=1)) as keys:
        import_roots(keys, roots())
        issued, blanks = {}, {}
        for version in SETS:
            if version == 2:
                rotate(keys)
            for generation in GENERATIONS:
                blank = initialized(keys, generation, version)
                if generation is Generation.V3:
                    blanks[version] = blank
                issued[generation, version] = personalized(keys, generation, blank, version)
        yield Rotated(keys, issued, blanks)


def rotate(keys: SoftKeyService) -> None:
    """Every diversified root but one, IRK last."""
    fresh = RootKeys.generate()
    for generation in GENERATIONS:
        spec = load(generation)
        algorithm = Algorithm(spec.algorithm)
        for key in sorted(spec.keys, key=lambda key: key.name == "IRK"):
            if not key.root_level or key.name == LEFT_OUT:
                continue
            old = keys.current(key.name, algorithm)
            new = KeyRef(key.name, algorithm, next_version(keys, key.name, algorithm))
            put(keys, new, keys.info(old).purpose, fresh.root(key.name, spec.algorithm), level=key.root_level)
            keys.retire(old)


def initialized(keys: SoftKeyService, generation: Generation, version: int) -> CardState:
    card = SimCard(chip(generation, version))
    what = replace(initialization_order(card.power_on(), generation), key_version=version)
    assert current_set(keys, Algorithm(load(generation).algorithm)) == version
    done = run(initialize(what, keys), T0Channel(card))
    assert done.result["key_version"] == str(version)
    card.power_off()
    return card.state


def personalized(keys: SoftKeyService, generation: Generation, blank: CardState, version: int) -> CardState:
    card = SimCard(copy.deepcopy(blank))
    what = order(card.power_on(), generation, number=f"A000000{version}")
    assert run(personalize(what, keys), T0Channel(card)).result["key_version"] == str(version)
    card.power_off()
    return card.state


every_card = pytest.mark.parametrize("version", SETS)
every_generation = pytest.mark.parametrize("generation", GENERATIONS)


@every_card
@every_generation
def test_a_card_shows_its_set_without_a_command_more(rotated: Rotated, generation: Generation, version: int) -> None:
    card = rotated.card(generation, version)
    line = CountingChannel(card)
    session = SocialSecurityCard(line, card.power_on())
    assert session.read_basic(rotated.keys).genuine is True
    assert session.key_version == version
    alone = SimCard(copy.deepcopy(rotated.issued[generation, 1]))
    counted = CountingChannel(alone)
    SocialSecurityCard(counted, alone.power_on()).read_basic(key_service())
    assert line.apdus == counted.apdus


@every_card
@every_generation
def test_files_and_pin(rotated: Rotated, generation: Generation, version: int) -> None:
    """Keys for reading and updating, global and of an application; the PIN under PUK and STK.

    Nobody asked the card for its set before, and finding it costs no try.
    """
    for act in (
        lambda card: card.write_item("name", "测试乙", rotated.keys),
        lambda card: card.files.write_and_check("telephone", "01000000009", rotated.keys),
        lambda card: reload_pin(card, rotated.keys, "246824"),
    ):
        card = rotated.card(generation, version)
        act(SocialSecurityCard(card, card.power_on(), tries=KeyTries()))
        assert all(key.retry_left == key.retry_max for df in card.state.dfs for key in df.keys), act
    session = rotated.session(generation, version)
    assert session.read_basic(rotated.keys).name == "测试甲"
    assert session.read_all(rotated.keys).refused == {}


@every_card
@every_generation
def test_medical_account(rotated: Rotated, generation: Generation, version: int) -> None:
    """Load and settlement, their TAC under the key that was not rotated; what was lost is asked for later."""
    keys, numbers = transaction_keys(rotated.keys), count(1).__next__
    card, pending = rotated.card(generation, version), []
    account = MedicalAccount(SocialSecurityCard(card, card.power_on()))
    account.load(5000, keys, TERMINAL, NOW, pending.append)
    account.purchase((4000, 0, 0), KeyPurchase(keys, TERMINAL, numbers), NOW, pending.append, keys=keys)
    card.power_off()
    account = MedicalAccount(SocialSecurityCard(card, card.power_on()))
    assert account.recover(pending[1], keys) is not None
    assert account.balances().balance == 1000


@every_card
@every_generation
def test_security_module_route(rotated: Rotated, generation: Generation, version: int) -> None:
    """The set is the one in the centre's books; basic information, an update, PIN reload, settlement and receipt."""
    card = rotated.card(generation, version)
    terminal = DriverTerminal(
        journal=lambda _: None, number=TERMINAL, device_number="TEST00000001", pin_entry=Holder("246824", "246824")
    )
    session = DriverSession(card, card.power_on(), terminal, tries=KeyTries())
    flow, keys = HsmSteps(session), transaction_keys(rotated.keys)
    reset = session.opened().reset_information.hex().upper()
    info = f"{session.opened().identification_code}|{session.opened().card_number}|"
    factors = factors_of(session.opened().region, reset)
    MedicalAccount(SocialSecurityCard(card, card.power_on())).load(5000, keys, TERMINAL, NOW, lambda _: None)
    route = HsmRoute(rotated.keys, keys, count(0x2A).__next__, key_version=version)
    authenticated = lambda step: route.authentication(step, factors)  # noqa: E731
    secured = lambda step: route.pin_command(step, factors)  # noqa: E731
    write = lambda pkey: flow.write_card_step2(pkey, "DF01EF06|01000000009|$")  # noqa: E731
    assert chain(flow.read_card_bas_step1(), (route.card_bas, flow.read_card_bas_step2))[0] == 0
    assert chain(flow.write_card_step1(info, "DF01EF06|28|$"), (authenticated, write)) == (0, "")
    reloading = ((authenticated, flow.reload_pin_step2), (secured, flow.reload_pin_step3))
    assert chain(flow.reload_pin_step1(info), *reloading) == (0, "")
    assert session.verify_pin() == (0, "")
    order = route.debit(flow.do_debit_step1(info, "0.1|0.2|20261122093000|")[1], factors)
    code, receipt = flow.do_debit_step2(order.pkey)
    assert (code, order.key_version) == (0, version)
    route.check_debit(receipt, order, factors)


def test_a_card_of_no_book_is_of_the_oldest_set(rotated: Rotated) -> None:
    route = HsmRoute(rotated.keys, transaction_keys(rotated.keys), count(1).__next__)
    for version, code in ((1, 0), (2, -21)):
        card = rotated.card(Generation.V3, version)
        terminal = DriverTerminal(journal=lambda _: None, number=TERMINAL, device_number="TEST00000001")
        flow = HsmSteps(DriverSession(card, card.power_on(), terminal, tries=KeyTries()))
        assert chain(flow.read_card_bas_step1(), (route.card_bas, flow.read_card_bas_step2))[0] == code


@every_generation
def test_a_retired_set_goes_into_no_new_card(rotated: Rotated, generation: Generation) -> None:
    card = SimCard(chip(generation, 7))
    what = initialization_order(card.power_on(), generation)
    assert what.key_version == 1
    with pytest.raises(KeyExpiredError) as expired:
        run(initialize(what, rotated.keys), T0Channel(card))
    assert expired.value.failure == "KEY_EXPIRED"
    assert card.state.life < Life.PRE_PERSONALISED


def test_blanks_of_both_sets_are_personalised(rotated: Rotated) -> None:
    """A blank from stock is of the set it was made with, and stays so."""
    for version, blank in rotated.blanks.items():
        personalized(rotated.keys, Generation.V3, blank, version)
        card = SimCard(copy.deepcopy(blank))
        again = replace(initialization_order(card.power_on()), key_version=2)
        result = run(initialize(again, rotated.keys), T0Channel(card)).result
        assert (result["outcome"], result["key_version"]) == ("already", str(version))


@pytest.mark.parametrize("torn_after", [8, 14, 40, 170])
def test_a_chip_torn_before_the_rotation_is_made_after_it(rotated: Rotated, torn_after: int) -> None:
    """With and without an IRK in it, at the cost of no try that is not given back."""
    card = SimCard(chip(serial=9), faults=Faults(tear_after=torn_after))
    what = initialization_order(card.power_on())
    with pytest.raises(CardGone):
        run(initialize(what, key_service()), T0Channel(card))
    assert card.state.life is Life.STRUCTURED
    card.faults = Faults()
    what = replace(initialization_order(card.power_on()), key_version=2)
    assert run(initialize(what, rotated.keys), T0Channel(card)).result["outcome"] == "initialized"
    card.power_off()
    session = SocialSecurityCard(card, card.power_on())
    session.region = "110000"
    session.algorithm = Algorithm.SM4
    session.check_genuine(rotated.keys)
    assert session.key_version == 2


def test_a_card_of_other_roots_loses_no_try(rotated: Rotated) -> None:
    foreign = RootKeys.generate()
    card = SimCard(rotated.card(Generation.V3, 1).state)
    for df in card.state.dfs:
        for key in df.keys:
            key.value = foreign.root("IRK", "SM4")[: len(key.value)]
    for act in (
        lambda session: session.read_file("SSSEEF06", rotated.keys),
        lambda session: reload_pin(session, rotated.keys, "246824"),
        lambda session: MedicalAccount(session).load(1, transaction_keys(rotated.keys), TERMINAL, NOW, pytest.fail),
    ):
        with pytest.raises(CardNotGenuineError):
            act(SocialSecurityCard(card, card.power_on(), tries=KeyTries()))
    assert all(key.retry_left == key.retry_max for df in card.state.dfs for key in df.keys)


def test_the_keys_of_a_set(rotated: Rotated) -> None:
    """A key that was left out stays at its newest older version; a new version of it belongs to a set to come."""
    keys, sm4 = rotated.keys, Algorithm.SM4
    found = {(name, v): KeySet(keys, sm4, v).ref(name).version for name in ("IRK", "DTK", "STK") for v in (1, 2, 3)}
    assert found == {("DTK", 1): 1, ("DTK", 2): 1, ("DTK", 3): 1} | {
        (name, v): min(v, 2) for name in ("IRK", "STK") for v in (1, 2, 3)
    }
    assert KeySet(keys, sm4, 2).ref("DPK", 2).version == 3
    assert next_version(keys, LEFT_OUT, sm4) == next_version(keys, "IRK", sm4) == 3
    assert KeySet(object(), sm4).ref("STK") == KeyRef("STK", sm4)
    with pytest.raises(KeyNotFoundError):
        current_set(keys, Algorithm.P256)


def test_a_psam_has_one_set(rotated: Rotated) -> None:
    """In one session beside a key service of several: each is asked by its own numbers."""
    card = rotated.card(Generation.V3, 1)
    sam = SimPsam(roots(), region="110000", terminal_number=TERMINAL)
    sam.power_on()
    psam, session = PsamAuthenticator(sam), SocialSecurityCard(card, card.power_on())
    session.read_basic(psam)
    assert session.key_version == 0
    session.check_genuine(rotated.keys)
    assert session.ref("STK", rotated.keys) == session.ref("STK", psam) == KeyRef("STK", Algorithm.SM4)
    newer = rotated.session(Generation.V3, 2)
    newer.open()
    assert newer.ref("STK", rotated.keys).version == 2
    assert newer.ref("DPK", psam).version == 1
    with pytest.raises(CardNotGenuineError):
        newer.check_genuine(psam)


def test_a_cryptogram_of_the_other_set_is_refused(rotated: Rotated) -> None:
    card = rotated.card(Generation.V3, 2)
    session = SocialSecurityCard(card, card.power_on())
    session.read_basic(rotated.keys)
    session.key_version = 1
    with pytest.raises(CryptogramError):
        MedicalAccount(session).load(100, transaction_keys(rotated.keys), TERMINAL, NOW, pytest.fail)
