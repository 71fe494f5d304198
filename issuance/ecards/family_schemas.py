"""Messages about family members (亲情账户)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from cardlib.wire import Message
from issuance.ecards.schemas import BusiSeq, Confirmed, PersonClaim

_ID = "7c1e9a3b5d7f90123456789abcdef012"
_MEMBER: JsonDict = {
    "id": _ID,
    "relation": "parent",
    "name": "测*",
    "state": "asked",
    "has_portrait": False,
    "asked_at": "2026-01-05T01:00:00Z",
    "answered_at": None,
}
_REQUEST: JsonDict = {
    "id": _ID,
    "relation": "parent",
    "asker": "测*甲",
    "state": "asked",
    "asked_at": "2026-01-05T01:00:00Z",
    "answered_at": None,
}


class Relation(StrEnum):
    """What the member is to the holder."""

    PARENT = "parent"
    CHILD = "child"
    SPOUSE = "spouse"
    OTHER = "other"


class FamilyAsk(PersonClaim):
    """The member's own name, number and card, as at signing. `portrait`: JPEG in base64, of minors only."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "relation": "parent",
                    "name": "测试父",
                    "social_security_number": "990100198801010016",
                    "card_number": "A00000020",
                    "busi_seq": "k7Qd0mVwX2sLr9TzYbN4eHcGfJ1uA6po",
                }
            ]
        }
    )

    relation: Relation
    portrait: str | None = Field(default=None, max_length=140_000, description="Not kept of an adult")
    busi_seq: BusiSeq


class Member(Message):
    """`asked` until an adult has agreed; a minor whose guardian asks is `active` at once."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MEMBER]})

    id: str
    relation: Relation
    name: str = Field(description="Masked")
    state: str = Field(description="asked, active, refused or ended")
    has_portrait: bool
    asked_at: datetime
    answered_at: datetime | None


class FamilyPlaces(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"relation": "parent", "used": 1, "of": 4}]})

    relation: Relation
    used: int
    of: int


class FamilyView(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"items": [_MEMBER], "slots": [{"relation": "parent", "used": 1, "of": 4}], "total": 10}]
        }
    )

    items: list[Member]
    slots: list[FamilyPlaces]
    total: int = Field(description="Places in all, by the region's rule family_total")


class FamilyRequest(Message):
    """Seen by the member. `active` without `answered_at`: set up by the guardian of a minor."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REQUEST]})

    id: str
    relation: Relation = Field(description="What this holder is said to be to the asker")
    asker: str = Field(description="Masked name")
    state: str = Field(description="asked, active, refused or ended")
    asked_at: datetime
    answered_at: datetime | None


class FamilyRequests(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_REQUEST]}]})

    items: list[FamilyRequest]


class FamilyAgreement(Confirmed):
    """The member's own password stands behind it, purpose `family`."""


class NoMembers(Message):
    """A body without members."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})
