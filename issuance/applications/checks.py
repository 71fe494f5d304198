"""What is checked before an application is taken: every value must be one the card can hold.

Messages name the field and the rule, never the value.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from cardlib.codec import CodecError, encode_value, split_name
from cardlib.identity import SocialSecurityNumber
from cardlib.personalization import check_items
from cardlib.spec import Generation, load
from issuance.applications.schemas import ApplicationRequest
from issuance.clock import age_on
from issuance.persons.schemas import PersonData
from issuance.problems import ProblemError
from issuance.rules import RulePack

_PERSON_TAGS = {"sex": "0A", "ethnic_group": "0B", "birthplace": "0C", "birth_date": "0D"}


def check_person(person: PersonData, today: date) -> PersonData:
    """The person in the form to be stored. Raises IdentityError and ProblemError INPUT_INVALID."""
    number = SocialSecurityNumber.parse(person.social_security_number)
    born = _real_date(person.birth_date)
    if born > today:
        raise _bad("birth_date", "lies in the future")
    if number.birth_date is not None and number.birth_date != born:
        raise _bad("birth_date", "does not agree with the social security number")
    if number.sex and person.sex not in (number.sex, "9"):
        raise _bad("sex", "does not agree with the social security number")
    name = person.name.strip()
    if not name:
        raise _bad("name", "is empty")
    try:
        split_name(name)
    except CodecError as error:
        raise _bad(
            "name", "cannot be written to the card: longer than 50 bytes or with a character it lacks"
        ) from error
    return person.model_copy(update={"social_security_number": number.number, "name": name})


def check_card_data(request: ApplicationRequest) -> None:
    """Codes and items fit their places on a card of this generation. Raises ProblemError INPUT_INVALID."""
    file = load(request.generation).ef("SSSEEF06")
    for field, tag in _PERSON_TAGS.items():
        try:
            encode_value(file.item(tag), getattr(request.person, field))
        except CodecError as error:
            raise _bad(field, "has a value that its place on the card cannot hold") from error
    for path, values in request.items.items():
        _check_items(request, f"items.{path}", {path: {}}, "is not a file that an application fills")
        for tag, value in values.items():
            rule = "is unknown, or has a value or more values than its place on the card can hold"
            _check_items(request, f"items.{path}.{tag}", {path: {tag: value}}, rule)


def card_class_for(request: ApplicationRequest, pack: RulePack, today: date) -> str:
    return request.card_class or pack.card_class(age_on(_real_date(request.person.birth_date), today))


def _check_items(request: ApplicationRequest, field: str, items: dict[str, dict[str, Any]], rule: str) -> None:
    try:
        check_items(Generation(request.generation), items)
    except CodecError as error:
        raise _bad(field, rule) from error


def _real_date(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        raise _bad("birth_date", "is no date") from None


def _bad(field: str, rule: str) -> ProblemError:
    return ProblemError("INPUT_INVALID", f"{field} {rule}")
