"""What is checked about persons: every error at once, each with field, rule and remedy, none with the value."""

from __future__ import annotations

import re
from datetime import date, datetime
from unicodedata import category

from cardlib.codec import NAME_EXTENSION_LENGTH, NAME_LENGTH, CodecError, split_name
from cardlib.identity import IdentityError, SocialSecurityNumber
from issuance.clock import age_on
from issuance.input_rules import FieldError, field_error
from issuance.persons.numbers import document_rule
from issuance.persons.schemas import Agent, Guardian, PersonData

ADULT_AGE = 18
"""Civil Code, article 17."""
OLDEST_YEARS = 130
NAME_BYTES = NAME_LENGTH + NAME_EXTENSION_LENGTH
_DOTS = str.maketrans({"•": "·", "・": "·", "‧": "·", "．": "·", "∙": "·", "⋅": "·"})
_LATIN_MARKS = frozenset(" -'’.,")
_TELEPHONE = re.compile(r"1[3-9][0-9]{9}|0[0-9]{2,3}-?[0-9]{7,8}|\+[0-9]{6,18}", re.ASCII)


class PersonChecker:
    """Collects errors; `prefix` is where the person stands in the request, such as body.person."""

    def __init__(self, today: date) -> None:
        self._today = today
        self.errors: list[FieldError] = []

    def add(self, location: str, reason: str, **limits: object) -> None:
        self.errors.append(field_error(location, reason, **limits))

    def person(self, person: PersonData, prefix: str = "body.person") -> PersonData:
        """The person in the form to be stored; whole only when there are no errors."""
        number = self.number(person.social_security_number, f"{prefix}.social_security_number")
        born = self.birth_date(person.birth_date, f"{prefix}.birth_date")
        if number is not None:
            self.agrees(number, person, born, prefix)
            self._document(number, person, prefix)
        if person.telephone is not None:
            self.telephone(person.telephone, f"{prefix}.telephone")
        name = self.name(person.name, f"{prefix}.name")
        stored = person.social_security_number if number is None else number.number
        return person.model_copy(update={"social_security_number": stored, "name": name})

    def guardian(
        self,
        guardian: Guardian | None,
        *,
        birth_date: str,
        number: str | None,
        guardian_age: int,
        prefix: str = "body.guardian",
    ) -> None:
        """Below `guardian_age` there must be one: an adult other than the applicant, whose data the others are."""
        if guardian is None:
            born = parse_date(birth_date)
            if born is not None and age_on(born, self._today) < guardian_age:
                self.add(prefix, "guardian_missing", expected=guardian_age)
            return
        self.name(guardian.name, f"{prefix}.name")
        self.telephone(guardian.telephone, f"{prefix}.telephone")
        parsed = self.number(guardian.social_security_number, f"{prefix}.social_security_number")
        if parsed is None:
            return
        if number is not None and parsed.number == number.strip().upper():
            self.add(f"{prefix}.social_security_number", "guardian_self")
        born = parsed.birth_date
        if born is None and guardian.birth_date is not None:
            born = self.birth_date(guardian.birth_date, f"{prefix}.birth_date")
        elif born is None:
            self.add(f"{prefix}.birth_date", "guardian_birth_date")
        if born is not None and age_on(born, self._today) < ADULT_AGE:
            self.add(f"{prefix}.social_security_number", "guardian_minor", expected=ADULT_AGE)
        if (guardian.relation, parsed.sex) in (("father", "2"), ("mother", "1")):
            self.add(f"{prefix}.relation", "guardian_relation")

    def agent(self, agent: Agent | None, person: PersonData, prefix: str = "body.agent") -> None:
        if agent is None:
            return
        self.name(agent.name, f"{prefix}.name")
        self.telephone(agent.telephone, f"{prefix}.telephone")
        number = self.number(agent.social_security_number, f"{prefix}.social_security_number")
        if number is None:
            return
        if number.number == person.social_security_number.strip().upper():
            self.add(f"{prefix}.social_security_number", "agent_self")
        if number.birth_date is not None and age_on(number.birth_date, self._today) < ADULT_AGE:
            self.add(f"{prefix}.social_security_number", "agent_minor", expected=ADULT_AGE)

    # -- single fields ------------------------------------------------------------------------------------------------

    def number(self, text: str, location: str) -> SocialSecurityNumber | None:
        try:
            return SocialSecurityNumber.parse(text)
        except IdentityError as error:
            reasons = {"check digit": "number_check_digit", "birth date": "number_birth_date"}
            self.add(location, next((code for word, code in reasons.items() if word in str(error)), "number_form"))
            return None

    def birth_date(self, text: str, location: str) -> date | None:
        born = parse_date(text)
        if born is None:
            self.add(location, "date_unreal")
        elif born > self._today:
            self.add(location, "date_future")
        elif age_on(born, self._today) > OLDEST_YEARS:
            self.add(location, "date_too_early", expected=OLDEST_YEARS)
        return born

    def name(self, text: str, location: str) -> str:
        """The name as stored: one kind of middle dot, no outer blanks; no character is exchanged for a similar one."""
        name = text.translate(_DOTS).strip()
        reason = _name_rule(name)
        if reason is not None:
            self.add(location, reason, expected=NAME_BYTES)
        return name

    def telephone(self, text: str, location: str) -> None:
        if not _TELEPHONE.fullmatch(text.replace(" ", "")):
            self.add(location, "telephone")

    # -- fields that must agree ---------------------------------------------------------------------------------------

    def agrees(self, number: SocialSecurityNumber, person: PersonData, born: date | None, prefix: str) -> None:
        if number.birth_date is not None and born is not None and number.birth_date != born:
            self.add(f"{prefix}.birth_date", "birth_date_differs")
        if number.sex and person.sex not in (number.sex, "9"):
            self.add(f"{prefix}.sex", "sex_differs")

    def _document(self, number: SocialSecurityNumber, person: PersonData, prefix: str) -> None:
        document = person.document
        if document is None:
            return
        reason = document_rule(document.kind, document.number, number)
        if reason is not None:
            self.add(f"{prefix}.document.number", reason)
        if document.nationality is not None and number.kind == "assigned" and document.nationality != number.number[:3]:
            self.add(f"{prefix}.document.nationality", "nationality_differs")
        if document.valid_until is not None:
            until = parse_date(document.valid_until)
            if until is None:
                self.add(f"{prefix}.document.valid_until", "date_unreal")
            elif until < self._today:
                self.add(f"{prefix}.document.valid_until", "document_expired")


def parse_date(text: str) -> date | None:
    """YYYYMMDD, None when there is no such day."""
    try:
        return datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None


def _name_rule(name: str) -> str | None:
    """The rule a name breaks, None when none."""
    if not name:
        return "name_empty"
    if any(category(character) == "Co" for character in name):
        return "name_private_use"
    if not all(_is_name_character(character) for character in name):
        return "name_character"
    if name.startswith("·") or name.endswith("·") or "··" in name:
        return "name_dot"
    try:
        split_name(name)
    except CodecError:
        return "name_too_long"
    return None


def _is_name_character(character: str) -> bool:
    """Letters of every script with their marks, the middle dot, 〇, and what Latin names need."""
    return character in _LATIN_MARKS or character in "·〇" or category(character)[0] in "LM"
