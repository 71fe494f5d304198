"""Holders as the console shows them: the name, of the number the first three and last four characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cardlib.identity import mask_card_number, mask_id
from issuance.persons.repository import PersonRepository
from issuance.persons.schemas import Guardian, PersonData
from issuance.unit import Unit

RELATIONS: Final = ("father", "mother", "grandparent", "sibling", "other")
"""What a guardian is to the applicant, in the order of the law."""


@dataclass(frozen=True, slots=True)
class Holder:
    person_id: str
    name: str
    number: str
    birth_date: str
    sex: str


async def holder_of(unit: Unit, person_id: str) -> Holder:
    person = await PersonRepository(unit.session, unit.services.sealer).data(person_id)
    return Holder(person_id, person.name, shown_number(person), person.birth_date, person.sex)


def shown_number(person: PersonData | Guardian) -> str:
    return mask_id(person.social_security_number, first=3)


def shown_card(number: str | None) -> str:
    return "" if number is None else mask_card_number(number)
