"""A data answer without a live consent is impossible: by the type, by the session, and by what may name what."""

from __future__ import annotations

import ast
import copy
import pickle
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

import issuance
from issuance.cards.models import CardRow
from issuance.clients.auth import Caller
from issuance.clients.schemas import Role
from issuance.consents.catalogue import CATALOGUE, ITEMS_OF_SCENE, SHOWN_IN_SCENE
from issuance.consents.disclosure import disclose, disclosed
from issuance.consents.gate import ConsentMissingError
from issuance.consents.ledger import ConsentService, LiveConsent
from issuance.consents.text import in_order, is_plain, plain
from issuance.ecards.models import EcardRow
from issuance.models import ApplicationRow, PersonRow, PhotoRow
from issuance.one_time import Claim, Outcome
from issuance.persons.repository import PersonRepository
from issuance.privacy.classification import classification
from issuance.problems import ProblemError
from issuance.recognition.platforms import Outcome as PlatformOutcome
from issuance.recognition.platforms import Translation
from issuance.unit import Unit, open_unit
from tests.issuance.consents.stand import Consents

_ROOT = Path(issuance.__file__).parent
FIRST = Claim(Outcome.FIRST)


def ecard(number: str = "a" * 32) -> EcardRow:
    return EcardRow(ecard_no=number, person_id="p", card_number="A00000011", level=1, state="active")


# -- by the type ------------------------------------------------------------------------------------------------------


def test_a_live_consent_is_made_by_nobody_else() -> None:
    consent = ConsentService.of_code(FIRST, ecard(), "identity", ["name"])
    for maker in (None, object(), consent):
        with pytest.raises(TypeError):
            LiveConsent(maker, ecard(), ["name"])
    for copier in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            copier(consent)
    assert not hasattr(consent, "__dict__")


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.FIRST, Outcome.AGAIN}))
def test_a_code_that_was_not_claimed_is_no_consent(outcome: Outcome) -> None:
    with pytest.raises(TypeError):
        ConsentService.of_code(Claim(outcome), ecard(), "identity", ["name"])


def test_a_code_opens_what_its_scene_opens() -> None:
    for scene, items in ITEMS_OF_SCENE.items():
        assert SHOWN_IN_SCENE[scene] <= items
        assert ConsentService.of_code(Claim(Outcome.AGAIN), ecard(), scene, items).items == items
        for more in CATALOGUE.keys() - items:
            with pytest.raises(ProblemError, match="CONSENT_ITEMS"):
                ConsentService.of_code(FIRST, ecard(), scene, [more])
    with pytest.raises(KeyError):
        ConsentService.of_code(FIRST, ecard(), "anything", [])


def test_a_translation_names_its_holder() -> None:
    answer = Translation(outcome=PlatformOutcome.HOLDER, essc_no="a" * 32)
    assert ConsentService.of_translation(answer, ecard(), "login", ["name_masked"]).ecard_no == "a" * 32
    for other in (answer.model_copy(update={"essc_no": "b" * 32}), Translation(outcome=PlatformOutcome.USED)):
        with pytest.raises(TypeError):
            ConsentService.of_translation(other, ecard(), "login", ["name_masked"])


def test_one_answer_and_no_more_than_allowed() -> None:
    consent = ConsentService.of_code(FIRST, ecard(), "payment", ["region"])
    card = CardRow(card_number="A00000011", region="110000", state="1")
    sealer: Any = None
    for wrong in (object(), "consent", None):
        with pytest.raises(TypeError):
            disclosed(sealer, wrong, person=None, card=card, items=["region"])  # type: ignore[arg-type]
    with pytest.raises(ProblemError, match="CONSENT_ITEMS"):
        disclosed(sealer, consent, person=None, card=card, items=["region", "card_state"])
    assert disclosed(sealer, consent, person=None, card=card, items=["region"]) == {"region": "110000"}
    with pytest.raises(ProblemError, match="CONSENT_REQUIRED"):
        disclosed(sealer, consent, person=None, card=card, items=["region"])
    again = ConsentService.of_code(FIRST, ecard(), "payment", ["region"])
    with pytest.raises(TypeError):
        disclosed(sealer, again, person=None, card=CardRow(card_number="A00000029"), items=["region"])


# -- by the session ---------------------------------------------------------------------------------------------------

READS: dict[str, Callable[[], Any]] = {
    "row": lambda: select(PersonRow),
    "column": lambda: select(PersonRow.sealed),
    "count": lambda: select(func.count()).select_from(PersonRow),
    "join": lambda: select(EcardRow.ecard_no).join(PersonRow, PersonRow.id == EcardRow.person_id),
    "subquery": lambda: select(EcardRow.ecard_no).where(EcardRow.person_id.in_(select(PersonRow.id))),
    "photo": lambda: select(PhotoRow.sealed_jpeg),
    "application": lambda: select(ApplicationRow.sealed_parties),
}


async def test_a_verifiers_session_reads_no_person(consents: Consents) -> None:
    services = consents.centre.app.state.services
    (person_id,) = consents.centre.store.sql("SELECT person_id FROM ecards")[0]
    verifier = Caller("verifier", frozenset({Role.VERIFIER, Role.OPERATOR}))

    async def read(query: Any, *roles: Role) -> None:
        async with open_unit(services, verifier, "test", *roles) as unit:
            await unit.session.execute(query)

    for make in READS.values():
        with pytest.raises(ConsentMissingError):
            await read(make(), Role.VERIFIER)
        await read(make(), Role.OPERATOR)

    async def open_(act: Callable[[Unit], Any]) -> None:
        async with open_unit(services, verifier, "test", Role.VERIFIER) as unit:
            await act(unit)

    with pytest.raises(ConsentMissingError):
        await open_(lambda unit: PersonRepository(unit.session, services.sealer).data(person_id))
    with pytest.raises(ConsentMissingError):
        await open_(lambda unit: unit.session.get(PersonRow, person_id))

    async def disclose_one(unit: Unit) -> None:
        row = await unit.session.scalar(select(EcardRow))
        assert row is not None
        consent = ConsentService.of_code(FIRST, row, "identity", ["name"])
        assert (await disclose(unit, consent, ["name"]))["name"]
        with pytest.raises(ConsentMissingError):
            await unit.session.scalar(select(PersonRow.id))

    await open_(disclose_one)


# -- by what may name what --------------------------------------------------------------------------------------------

VERIFIERS = ("VerifierUnit", "VerifierDesk")
SERVES_VERIFIERS = {"codes", "consents", "recognition"}
"""Packages that answer verifiers. What they hold about persons comes from `consents/disclosure.py`."""
READS_PERSONS = {"PersonRepository", "PersonData", "PersonService", "PhotoRepository", "PhotoService", "masked"}
READS_PERSONS |= {"mask", "mask_name", "mask_id", "person_context", "sealed_parties", "sealed_jpeg", "sealed_account"}
READS_PERSONS |= {"AccountService", "FinancialSide", "PersonFileService", "Revealing"}
OPENS_SEALS = {
    "consents/disclosure.py": "the disclosure",
    "consents/ledger.py": "the words of a consent",
    "codes/bus_call.py": "the keys and the body of a field system's request",
    "codes/text.py": "what a code stands for",
}


def _names(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                names.add(name)
    return names


@cache
def _modules() -> dict[str, set[str]]:
    files = [file for file in _ROOT.rglob("*.py") if "migrations" not in file.parts]
    return {file.relative_to(_ROOT).as_posix(): _names(file) for file in files}


def _calling(name: str) -> set[str]:
    """Modules that make an object of a class."""
    return {
        module
        for module, names in _modules().items()
        if name in names
        for node in ast.walk(ast.parse((_ROOT / module).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    }


def test_verifiers_are_served_by_named_packages() -> None:
    serving = {module for module, names in _modules().items() if names & set(VERIFIERS)} - {"unit.py"}
    assert {module.partition("/")[0] for module in serving} == SERVES_VERIFIERS
    by_role = {module for module, names in _modules().items() if "VERIFIER" in names}
    assert {module for module in by_role if module.partition("/")[0] not in SERVES_VERIFIERS} == {
        "unit.py",
        "clients/schemas.py",
        "clients/service.py",
        "publication/endpoints.py",  # files of the block list: entries are digests, nobody's data
    }


def test_what_serves_verifiers_reads_no_person_but_to_disclose() -> None:
    mine = {module: names for module, names in _modules().items() if module.partition("/")[0] in SERVES_VERIFIERS}
    reading = {module for module, names in mine.items() if names & READS_PERSONS}
    assert reading == {"consents/disclosure.py"}
    opening = {module for module, names in mine.items() if names & {"unseal", "unseal_bytes"}}
    assert opening <= set(OPENS_SEALS)


def test_only_the_ledger_makes_consents_and_only_the_disclosure_opens_the_gate() -> None:
    assert {module for module, names in _modules().items() if "_MAKER" in names} == {"consents/ledger.py"}
    assert _calling("LiveConsent") == {"consents/ledger.py"}
    opening = {module for module, names in _modules().items() if "person_data_opened" in names}
    assert opening - {"consents/gate.py"} == {"consents/disclosure.py"}
    assert {module for module, names in _modules().items() if "close_person_data" in names} == {"unit.py"}


def test_every_way_to_a_consent_has_its_one_user() -> None:
    ways = {"of_code": "codes/spending.py", "of_translation": "recognition/service.py"}
    for way, user in ways.items():
        assert {module for module, names in _modules().items() if way in names} - {"consents/ledger.py"} == {user}
    assert {module for module, names in _modules().items() if "ConsentService" in names} == {
        "consents/service.py",
        *ways.values(),
    }
    making = _calling("Claim") | _calling("Translation")
    assert making <= {"one_time/memory.py", "one_time/redis_store.py", "recognition/platforms.py"}


def test_the_catalogue_is_whole() -> None:
    known = {f"{table}.{column}" for table, columns in classification().items() for column in columns}
    data = tomllib.loads((_ROOT / "consents" / "catalogue.toml").read_text(encoding="utf-8"))["item"]
    assert len(data) == len(CATALOGUE)
    for item in CATALOGUE.values():
        assert item.source in known, item.name
        assert item.form in ("plain", "masked")
        assert set(item.by_code) <= set(ITEMS_OF_SCENE)
        assert item.zh
        assert item.en
        assert item.ground
        assert bool(item.field) == (item.source == "persons.sealed")


@settings(max_examples=100)
@given(st.text(max_size=60))
def test_what_others_write_stays_on_its_line(text: str) -> None:
    made = plain(text)
    assert is_plain(made) or not made
    assert len(made.splitlines()) <= 1
    if is_plain(text):
        assert text.splitlines() == [text]
        assert plain(text) == text.strip()


def test_items_are_told_once_in_one_order() -> None:
    assert in_order(["telephone", "name", "name"]) == ("name", "telephone")
    with pytest.raises(KeyError):
        in_order(["name", "everything"])
