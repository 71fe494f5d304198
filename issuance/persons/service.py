"""Masked views of persons."""

from __future__ import annotations

from cardlib.identity import mask_id, mask_name
from issuance.persons.schemas import Guardian, PersonData, PersonView


def masked(data: PersonData | Guardian) -> PersonView:
    return PersonView(name=mask_name(data.name), social_security_number=mask_id(data.social_security_number))
