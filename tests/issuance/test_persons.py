"""Checks of people: every error at once, each with field, rule and remedy in two languages, none with the value."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib.codec import split_name
from cardlib.identity import SocialSecurityNumber, citizen_number
from issuance.input_rules import page, rules
from issuance.persons.checks import NAME_BYTES, PersonChecker
from issuance.persons.numbers import document_rule, kind_of
from issuance.persons.schemas import Agent, DocumentKind, Guardian, PersonData
from tests.issuance.conftest import GUARDIAN, application

TODAY = date(2026, 1, 5)


def person(**change: Any) -> PersonData:
    return PersonData(**application(1)["person"] | change)


def guardian(**change: Any) -> Guardian:
    return Guardian(**GUARDIAN | change)


def reasons(checker: PersonChecker) -> list[tuple[str, str]]:
    return [(error.location.removeprefix("body."), error.reason) for error in checker.errors]


def refused(**change: Any) -> list[tuple[str, str]]:
    checker = PersonChecker(TODAY)
    checker.person(person(**change))
    return [(location.removeprefix("person."), reason) for location, reason in reasons(checker)]


def refused_guardian(given: Guardian | None, born: str = "20150601") -> list[tuple[str, str]]:
    checker = PersonChecker(TODAY)
    number = citizen_number(f"990100{born}001")
    checker.guardian(given, birth_date=born, number=number, guardian_age=16)
    return reasons(checker)


def test_all_errors_at_once() -> None:
    assert refused(name=" ", birth_date="19900230", telephone="12345", sex="2") == [
        ("birth_date", "date_unreal"),
        ("sex", "sex_differs"),
        ("telephone", "telephone"),
        ("name", "name_empty"),
    ]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("990100199001010013", "number_check_digit"),
        ("99010019900101001x", "number_check_digit"),
        (citizen_number("99010019901301001"), "number_birth_date"),
        ("99010019900101001Y", "number_form"),
        ("USA1_0000012345678", "number_form"),
        ("９90100199001010012", "number_form"),
    ],
)
def test_numbers(number: str, reason: str) -> None:
    assert ("social_security_number", reason) in refused(social_security_number=number)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("买买提·艾合买提", None),
        ("阿卜杜热依木•阿卜杜如苏力", None),
        ("𠮷野", None),  # beyond the BMP: four bytes in GB 18030
        ("䶮", None),
        ("Maria-José O'Neil", None),
        ("  ", "name_empty"),
        ("张三1", "name_character"),
        ("张\u202e三", "name_character"),
        ("张\ue000三", "name_private_use"),
        ("·买买提", "name_dot"),
        ("买··提", "name_dot"),
        ("测" * 26, "name_too_long"),
        ("𠮷" * 13, "name_too_long"),
    ],
)
def test_names(name: str, reason: str | None) -> None:
    assert refused(name=name) == ([] if reason is None else [("name", reason)])


def test_a_name_is_stored_with_one_kind_of_dot_and_no_character_exchanged() -> None:
    checker = PersonChecker(TODAY)
    assert checker.name(" 古丽•阿依 ", "x") == "古丽·阿依"
    assert checker.name("\uf9d1", "x") == "\uf9d1"  # a compatibility form stays what the document shows


@settings(max_examples=100)
@given(st.text(max_size=60))
def test_what_passes_as_a_name_fits_the_card(name: str) -> None:
    checker = PersonChecker(TODAY)
    stored = checker.name(name, "name")
    if not checker.errors:
        first, second = split_name(stored)
        assert len(stored.encode("gb18030")) <= NAME_BYTES
        assert (first.rstrip(b"\0") + second.rstrip(b"\0")).decode("gb18030") == stored
    assert len(checker.errors) <= 1


@settings(max_examples=100)
@given(st.text(max_size=20), st.sampled_from(DocumentKind))
def test_any_text_is_a_document_or_breaks_a_known_rule(text: str, kind: DocumentKind) -> None:
    number = SocialSecurityNumber.parse(citizen_number("99010019900101001"))
    reason = document_rule(kind, text, number)
    assert reason in rules() or (reason is None and text.strip().upper() == number.number)


@settings(max_examples=60)
@given(st.dates(date(1900, 1, 1), date(2025, 12, 31)), st.integers(0, 999), st.integers(0, 17), st.integers(1, 9))
def test_a_number_with_one_digit_changed_is_refused(born: date, serial: int, place: int, shift: int) -> None:
    number = citizen_number(f"990100{born:%Y%m%d}{serial:03d}")
    if number[place] == "X":
        wrong = number[:place] + str(shift)
    else:
        wrong = number[:place] + str((int(number[place]) + shift) % 10) + number[place + 1 :]
    checker = PersonChecker(TODAY)
    checker.number(number, "x")
    assert not checker.errors
    checker.number(wrong, "x")
    assert len(checker.errors) == 1


@settings(max_examples=100)
@given(st.text(max_size=20))
def test_any_text_is_a_date_and_telephone_or_told(text: str) -> None:
    checker = PersonChecker(TODAY)
    checker.birth_date(text, "x")
    checker.telephone(text, "x")
    assert {error.reason for error in checker.errors} <= {"date_unreal", "date_future", "date_too_early", "telephone"}


def test_dates() -> None:
    checker = PersonChecker(TODAY)
    for text in ("20260106", "18941231", "20250229"):
        checker.birth_date(text, text)
    assert reasons(checker) == [
        ("20260106", "date_future"),
        ("18941231", "date_too_early"),
        ("20250229", "date_unreal"),
    ]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("81000019900101001", DocumentKind.HONG_KONG),
        ("82000019900101001", DocumentKind.MACAO),
        ("83000019900101001", DocumentKind.TAIWAN),
        ("91184019900101001", DocumentKind.PERMANENT_RESIDENCE),
        ("99010019900101001", DocumentKind.RESIDENT),
    ],
)
def test_a_number_tells_its_document(body: str, kind: DocumentKind) -> None:
    number = SocialSecurityNumber.parse(citizen_number(body))
    assert kind_of(number) is kind
    assert document_rule(kind, number.number, number) is None
    other = DocumentKind.TAIWAN if kind is not DocumentKind.TAIWAN else DocumentKind.MACAO
    assert document_rule(other, number.number, number) == "document_kind"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"kind": "08", "number": "E12345678", "nationality": "USA"}, []),
        ({"kind": "08", "number": "E12345679"}, [("document.number", "document_other_person")]),
        ({"kind": "08", "number": "E 123"}, [("document.number", "document_form")]),
        (
            {"kind": "08", "number": "E12345678", "nationality": "GBR"},
            [("document.nationality", "nationality_differs")],
        ),
        ({"kind": "07", "number": "USA110090010112"}, []),
        ({"kind": "07", "number": "GBR110090010112"}, [("document.number", "document_other_person")]),
        ({"kind": "01", "number": "E12345678"}, [("document.number", "document_form")]),
        (
            {"kind": "08", "number": "E12345678", "valid_until": "20260104"},
            [("document.valid_until", "document_expired")],
        ),
    ],
)
def test_documents_of_foreigners(document: dict[str, str], expected: list[tuple[str, str]]) -> None:
    assert refused(social_security_number="USA100000E12345678", document=document) == expected


def test_guardians() -> None:
    assert refused_guardian(None) == [("guardian", "guardian_missing")]
    assert refused_guardian(None, born="20100105") == []  # sixteen today
    assert refused_guardian(None, born="20100106") == [("guardian", "guardian_missing")]
    assert refused_guardian(guardian()) == []
    child = citizen_number("99010020150601001")
    young = citizen_number("99010020080106001")
    assert ("guardian.social_security_number", "guardian_self") in refused_guardian(
        guardian(social_security_number=child)
    )
    assert refused_guardian(guardian(social_security_number=young)) == [
        ("guardian.social_security_number", "guardian_minor")
    ]
    assert refused_guardian(guardian(relation="mother")) == [("guardian.relation", "guardian_relation")]
    foreign = {"social_security_number": "USA100000E12345678"}
    assert refused_guardian(guardian(**foreign)) == [("guardian.birth_date", "guardian_birth_date")]
    assert refused_guardian(guardian(**foreign, birth_date="19800101")) == []
    assert refused_guardian(guardian(**foreign, birth_date="20200101")) == [
        ("guardian.social_security_number", "guardian_minor")
    ]


@settings(max_examples=60)
@given(st.dates(date(1930, 1, 1), TODAY), st.integers(1, 18))
def test_nobody_below_the_age_acts_alone(born: date, guardian_age: int) -> None:
    checker = PersonChecker(TODAY)
    text = f"{born:%Y%m%d}"
    checker.guardian(None, birth_date=text, number=None, guardian_age=guardian_age)
    birthday = date(TODAY.year - guardian_age, TODAY.month, TODAY.day)
    assert bool(checker.errors) == (born > birthday)


def test_agents() -> None:
    checker = PersonChecker(TODAY)
    own = Agent(name="测试", social_security_number=person().social_security_number, telephone="010-12345678")
    checker.agent(own, person())
    assert reasons(checker) == [("agent.social_security_number", "agent_self")]


def test_every_rule_has_its_words_and_the_page_is_current() -> None:
    for name, words in rules().items():
        assert words.keys() == {"text_zh", "text_en", "remedy_zh", "remedy_en"}, name
        assert words["remedy_zh"].endswith("。"), name
        assert words["remedy_en"].endswith("."), name
        assert not words["text_en"].endswith("."), name
    assert (Path(__file__).parents[2] / "docs" / "input-rules.md").read_text(encoding="utf-8") == page()


def test_no_refusal_of_input_goes_without_its_fields() -> None:
    """`bad_input` names fields; a bare ProblemError would not."""
    sources = (Path(__file__).parents[2] / "issuance").rglob("*.py")
    bare = [path.name for path in sources if 'ProblemError("INPUT_INVALID"' in path.read_text(encoding="utf-8")]
    assert bare == []


def test_errors_quote_no_value() -> None:
    checker = PersonChecker(TODAY + timedelta(days=1))
    checker.person(person(name="隐名1", social_security_number="990100199001010013", telephone="98765"))
    told = "".join(error.model_dump_json() for error in checker.errors)
    assert [value for value in ("隐名", "990100199001010013", "98765") if value in told] == []
