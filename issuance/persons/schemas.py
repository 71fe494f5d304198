"""Messages about persons."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from cardlib.wire import Message
from issuance.database import WITHOUT_NUL

Date8 = Annotated[str, StringConstraints(pattern=r"^[0-9]{8}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=50)]
Number = Annotated[str, StringConstraints(min_length=18, max_length=18)]
Telephone = Annotated[str, StringConstraints(min_length=5, max_length=20)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=WITHOUT_NUL)]

EXAMPLE_PERSON: JsonDict = {
    "social_security_number": "990100199001010012",
    "name": "测试甲",
    "sex": "1",
    "ethnic_group": "01",
    "birthplace": "990100",
    "birth_date": "19900101",
}
EXAMPLE_GUARDIAN: JsonDict = {
    "name": "测试父",
    "social_security_number": "990100198801010016",
    "relation": "father",
    "telephone": "13900000000",
}


class DocumentKind(StrEnum):
    """证件类型 (ecard_and_business.md §4.1)."""

    RESIDENT = "01"
    HONG_KONG = "04"
    MACAO = "05"
    TAIWAN = "06"
    PERMANENT_RESIDENCE = "07"
    PASSPORT = "08"


class PersonDocument(Message):
    """What the applicant showed. `number` as printed; for 01 and 04 to 06 it is the social security number itself."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "08", "number": "E12345678", "nationality": "USA"}]}
    )

    kind: DocumentKind = Field(
        description="01 居民身份证, 04 港 05 澳 06 台居民居住证, 07 外国人永久居留身份证, 08 护照 / passport"
    )
    number: str = Field(min_length=5, max_length=18)
    nationality: str | None = Field(default=None, pattern=r"^[A-Z]{3}$", description="ISO 3166-1 alpha-3")
    valid_until: Date8 | None = Field(default=None, description="YYYYMMDD; null: long-term (长期)")


class PersonData(Message):
    """The holder: what goes onto the card (SSSE/EF06), codes as the card stores them, and how to reach one."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_PERSON]})

    social_security_number: Number = Field(description="社会保障号码")
    name: Name = Field(description="At most 50 bytes in GB 18030; long minority names with ·")
    sex: str = Field(pattern="^[129]$", description="CL02: 1 male, 2 female, 9 not stated")
    ethnic_group: str = Field(pattern="^[0-9]{2}$", description="GB 3304 code, 99 other")
    birthplace: str = Field(pattern="^[0-9]{6}$", description="GB/T 2260 code")
    birth_date: Date8 = Field(description="YYYYMMDD")
    document: PersonDocument | None = Field(default=None, description="Null: the number itself is the document")
    telephone: Telephone | None = None

    def card_fields(self) -> dict[str, Any]:
        """What a personalization order takes."""
        return self.model_dump(exclude={"document", "telephone"})


class Guardian(Message):
    """监护人 of a minor, an adult. `birth_date` only where the number does not tell it."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_GUARDIAN]})

    name: Name
    social_security_number: Number
    relation: Literal["father", "mother", "grandparent", "sibling", "other"] = Field(
        description="父、母、祖父母/外祖父母、成年兄姐、其他 / what the guardian is to the applicant"
    )
    telephone: Telephone
    birth_date: Date8 | None = None


class Agent(Message):
    """代办人: who hands the application in for an adult."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "测试乙", "social_security_number": "990100198801010016", "telephone": "13900000000"}]
        }
    )

    name: Name
    social_security_number: Number
    telephone: Telephone


class PersonView(Message):
    """A holder as screens may show one."""

    name: str
    social_security_number: str
