"""Cards and keys that belong together: a simulated ministry's roots on both sides."""

from __future__ import annotations

import copy
import secrets
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from apdu.channel import T0Channel
from cardlib.identity import card_number, citizen_number, institution_number, reset_information
from cardlib.initialization import InitializationOrder, initialize
from cardlib.personalization import PersonalizationOrder
from cardlib.script import run
from cardlib.spec import Generation, load
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from onecard_cli.home import import_roots
from simulators.card import Algorithm, CardState, SimCard
from simulators.factory import activate, historical_bytes
from simulators.ministry import RootKeys

REGION = "110000"
PERSON = {
    "card_class": "3",
    "social_security_number": citizen_number("99010119900101011"),
    "name": "测试甲",
    "sex": "1",
    "ethnic_group": "01",
    "birthplace": "990100",
    "birth_date": "19900101",
}


@cache
def roots() -> RootKeys:
    return RootKeys.generate()


@cache
def key_service() -> SoftKeyService:
    return key_service_of(roots())


def key_service_of(roots: RootKeys) -> SoftKeyService:
    service = SoftKeyService.create(Path(mkdtemp()) / "keys.json", "test passphrase", cost=ScryptCost(n=2, r=8, p=1))
    import_roots(service, roots)
    return service


def chip(generation: Generation = Generation.V3, serial: int = 1) -> CardState:
    """An activated chip with the transport key of `roots`."""
    spec, state = load(generation), CardState()
    historical = historical_bytes(REGION, serial)
    activate(state, roots().root("TK", spec.algorithm), Algorithm(spec.algorithm_id), historical)
    return state


def initialization_order(atr: bytes, generation: Generation = Generation.V3) -> InitializationOrder:
    return InitializationOrder(secrets.token_bytes(16), generation, REGION, reset_information(atr), 1)


@cache
def _blank(generation: Generation) -> CardState:
    card = SimCard(chip(generation))
    run(initialize(initialization_order(card.power_on(), generation), key_service()), T0Channel(card))
    card.power_off()
    return card.state


def blank(generation: Generation = Generation.V3) -> CardState:
    """A fresh copy of one pre-personalised card."""
    return copy.deepcopy(_blank(generation))


def order(atr: bytes, generation: Generation = Generation.V3, *, number: str = "A0000001") -> PersonalizationOrder:
    return PersonalizationOrder(
        seed=secrets.token_bytes(16),
        generation=generation,
        region=REGION,
        reset_information=reset_information(atr),
        card_number=card_number(number),
        institution=institution_number(REGION, "110100", 2),
        issue_date="20261122",
        expiry_date="20361122",
        items={"DF01EF06": {"28": "01000000000"}, "DF03EF19": {"79": [{"scheme": "110"}, {"scheme": "310"}]}},
        **PERSON,
    )
