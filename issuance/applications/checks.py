"""What is checked before an application is taken: every error at once, each with field, rule and remedy.

Nothing here quotes a value.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from cardlib.codec import CodecError, encode_value
from cardlib.personalization import check_items
from cardlib.spec import Generation, load
from issuance.applications.schemas import ApplicationRequest, Delivery
from issuance.clock import age_on
from issuance.input_rules import FieldError
from issuance.persons.checks import PersonChecker, parse_date
from issuance.persons.schemas import PersonData
from issuance.problems import bad_input
from issuance.rules import Rules

_PERSON_TAGS = {"sex": "0A", "ethnic_group": "0B", "birthplace": "0C", "birth_date": "0D"}


def check_request(request: ApplicationRequest, rules: Rules, today: date) -> tuple[PersonData, list[FieldError]]:
    """The person in the form to be stored, and everything that is wrong with the request."""
    checker = PersonChecker(today)
    person = checker.person(request.person)
    checker.guardian(
        request.guardian,
        birth_date=request.person.birth_date,
        number=request.person.social_security_number,
        guardian_age=rules.guardian_age,
    )
    checker.agent(request.agent, request.person)
    check_delivery(request.delivery, rules, checker)
    check_codes(request.person, request.generation, checker, "body.person")
    _check_items(request, checker)
    _check_photo(request, rules, today, checker)
    if request.accepted_region not in (None, request.region) and not rules.cross_province_allowed:
        checker.add("body.accepted_region", "cross_province")
    return person, checker.errors


def checked(request: ApplicationRequest, rules: Rules, today: date) -> PersonData:
    """The person in the form to be stored. Raises INPUT_INVALID with every field that is wrong."""
    person, errors = check_request(request, rules, today)
    if errors:
        raise bad_input(*errors)
    return person


def card_class_for(request: ApplicationRequest, rules: Rules, today: date) -> str:
    """Of a request that was checked."""
    born = parse_date(request.person.birth_date) or today
    return request.card_class or rules.card_class(age_on(born, today))


def check_delivery(delivery: Delivery, rules: Rules, checker: PersonChecker) -> None:
    if delivery.way != "post":
        return
    if not rules.post_allowed:
        checker.add("body.delivery.way", "delivery_post")
    for name in ("recipient", "telephone", "address"):
        if getattr(delivery, name) is None:
            checker.add(f"body.delivery.{name}", "delivery_address")
    if delivery.telephone is not None:
        checker.telephone(delivery.telephone, "body.delivery.telephone")


def check_codes(person: Any, generation: str, checker: PersonChecker, prefix: str) -> None:
    """The codes of whoever `person` is fit their places on a card of this generation."""
    file = load(generation).ef("SSSEEF06")
    for field, tag in _PERSON_TAGS.items():
        try:
            encode_value(file.item(tag), getattr(person, field))
        except CodecError:
            if parse_date(person.birth_date) is not None or field != "birth_date":
                checker.add(f"{prefix}.{field}", "card_code")


def _check_items(request: ApplicationRequest, checker: PersonChecker) -> None:
    for path, values in request.items.items():
        if not _fits(request, {path: {}}):
            checker.add(f"body.items.{path}", "item_file")
            continue
        for tag, value in values.items():
            if not _fits(request, {path: {tag: value}}):
                checker.add(f"body.items.{path}.{tag}", "item_value")


def _check_photo(request: ApplicationRequest, rules: Rules, today: date, checker: PersonChecker) -> None:
    born = parse_date(request.person.birth_date)
    if request.photo_id is not None or request.channel not in rules.photo_required_channels or born is None:
        return
    if age_on(born, today) >= rules.photo_required_age:
        checker.add("body.photo_id", "photo_missing", expected=rules.photo_required_age)


def _fits(request: ApplicationRequest, items: dict[str, dict[str, Any]]) -> bool:
    try:
        check_items(Generation(request.generation), items)
    except CodecError:
        return False
    return True
