"""What is checked of a joint application, and the card application that it becomes."""

from __future__ import annotations

from datetime import date

from issuance.applications.checks import check_codes, check_delivery
from issuance.applications.schemas import ApplicationRequest
from issuance.input_rules import FieldError, field_error
from issuance.newborns.schemas import NewbornRequest, Registration
from issuance.persons.checks import PersonChecker, parse_date
from issuance.persons.schemas import Guardian, PersonData
from issuance.rules import Rules

_TOLD_BY_NUMBER = ("body.birth_date", "body.sex")


def check_newborn(request: NewbornRequest, rules: Rules, today: date) -> list[FieldError]:
    """Everything that is wrong with a joint application, whether or not name and number are known."""
    checker = PersonChecker(today)
    born = checker.birth_date(request.child.birth_date, "body.child.birth_date")
    if born is not None and (today - born).days > rules.newborn_days:
        checker.add("body.child.birth_date", "birth_window", expected=rules.newborn_days)
    if request.child.name is not None:
        checker.name(request.child.name, "body.child.name")
    for relation in ("mother", "father"):
        guardian = guardian_of(request, relation)
        if guardian is not None:
            checker.guardian(
                guardian,
                birth_date=request.child.birth_date,
                number=request.child.social_security_number,
                guardian_age=rules.guardian_age,
                prefix=f"body.{relation}",
            )
    if guardian_of(request, request.applicant) is None:
        checker.add(f"body.{request.applicant}", "newborn_parent")
    check_delivery(request.delivery, rules, checker)
    check_codes(request.child, request.generation, checker, "body.child")
    if request.accepted_region not in (None, request.region) and not rules.cross_province_allowed:
        checker.add("body.accepted_region", "cross_province")
    person = person_of(request)
    if person is not None and born is not None:
        _check_number(checker, person, "body.child")
    return list({(error.location, error.reason): error for error in checker.errors}.values())


def check_registration(request: NewbornRequest, registration: Registration, today: date) -> list[FieldError]:
    """Name and number must be sound, and those of this child."""
    checker = PersonChecker(today)
    checker.name(registration.name, "body.name")
    person = person_of(registered(request, registration))
    if person is not None:
        _check_number(checker, person, "body")
    return [
        field_error("body.social_security_number", "newborn_differs") if error.location in _TOLD_BY_NUMBER else error
        for error in checker.errors
    ]


def registered(request: NewbornRequest, registration: Registration) -> NewbornRequest:
    return request.model_copy(update={"child": request.child.model_copy(update=registration.model_dump())})


def missing(request: NewbornRequest) -> list[str]:
    """What the household registration has yet to give."""
    return [name for name in Registration.model_fields if getattr(request.child, name) is None]


def application_of(request: NewbornRequest) -> ApplicationRequest | None:
    """The card application, None as long as something is missing."""
    person = person_of(request)
    if person is None:
        return None
    return ApplicationRequest(
        region=request.region,
        accepted_region=request.accepted_region,
        generation=request.generation,
        person=person,
        channel=request.channel,
        with_ecard=request.with_ecard,
        delivery=request.delivery,
        guardian=guardian_of(request, request.applicant),
    )


def person_of(request: NewbornRequest) -> PersonData | None:
    child = request.child
    if child.name is None or child.social_security_number is None:
        return None
    return PersonData(
        social_security_number=child.social_security_number,
        name=child.name,
        sex=child.sex,
        ethnic_group=child.ethnic_group,
        birthplace=child.birthplace,
        birth_date=child.birth_date,
    )


def guardian_of(request: NewbornRequest, relation: str) -> Guardian | None:
    """Mother or father as a guardian; None when not given."""
    parent = request.mother if relation == "mother" else request.father
    if parent is None:
        return None
    return Guardian(
        name=parent.name,
        social_security_number=parent.social_security_number,
        relation="mother" if relation == "mother" else "father",
        telephone=parent.telephone,
        birth_date=parent.birth_date,
    )


def _check_number(checker: PersonChecker, person: PersonData, prefix: str) -> None:
    number = checker.number(person.social_security_number, f"{prefix}.social_security_number")
    if number is not None:
        checker.agrees(number, person, parse_date(person.birth_date), prefix)
