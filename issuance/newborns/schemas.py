"""Messages of the joint application for newborns."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from cardlib.wire import HexId, Message
from issuance.applications.schemas import EXAMPLE_ID, Channel, Delivery
from issuance.clients.schemas import Region
from issuance.persons.schemas import Date8, Line, Name, Number, Telephone

NewbornId = HexId
_EXAMPLE: JsonDict = {
    "region": "110000",
    "certificate_number": "Z990000001",
    "hospital": "示例妇幼保健院",
    "child": {"sex": "2", "birth_date": "20251220", "birthplace": "990100", "ethnic_group": "01"},
    "mother": {"name": "测试母", "social_security_number": "990100198702020024", "telephone": "13900000000"},
    "applicant": "mother",
}


class Registration(Message):
    """What the household registration gives the child."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "测试宝", "social_security_number": "990100202512200023"}]}
    )

    name: Name
    social_security_number: Number


class Child(Message):
    """`name` and `social_security_number` are null until the household registration."""

    sex: str = Field(pattern="^[12]$", description="CL02")
    birth_date: Date8
    birthplace: str = Field(pattern="^[0-9]{6}$")
    ethnic_group: str = Field(pattern="^[0-9]{2}$")
    name: Name | None = None
    social_security_number: Number | None = None


class Parent(Message):
    name: Name
    social_security_number: Number
    telephone: Telephone
    birth_date: Date8 | None = Field(default=None, description="Only where the number does not tell it")


class NewbornRequest(Message):
    """Sent by the hospital's or the government's joint desk; `region` is where the child is registered."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    region: Region
    accepted_region: Region | None = None
    certificate_number: str = Field(pattern=r"^[A-Z][0-9]{9}$", description="出生医学证明编号")
    hospital: Line
    child: Child
    mother: Parent | None = None
    father: Parent | None = None
    applicant: Literal["mother", "father"] = Field(description="Who applies, and is the guardian")
    channel: Channel = Channel.ONLINE
    with_ecard: bool = True
    delivery: Delivery = Delivery()
    generation: Literal["2.0", "3.0"] = "3.0"


class NewbornView(Message):
    """`waiting` for what `missing` names, until `deadline`; `applied`: go on with the application.

    `receipt_number` is that of the application, too; until then progress is asked with it and the applicant's number.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_ID,
                    "region": "110000",
                    "receipt_number": "2612345678901224",
                    "state": "waiting",
                    "missing": ["name", "social_security_number"],
                    "name": None,
                    "birth_date": "20251220",
                    "application_id": None,
                    "owner": "birth-desk-1",
                    "deadline": "2026-02-18T16:00:00Z",
                    "is_overdue": False,
                    "created_at": "2026-01-05T01:00:00Z",
                    "updated_at": "2026-01-05T01:00:00Z",
                }
            ]
        }
    )

    id: str
    region: str
    receipt_number: str
    state: Literal["waiting", "applied"]
    missing: list[str]
    name: str | None = Field(description="Masked")
    birth_date: str
    application_id: str | None
    owner: str
    deadline: datetime
    is_overdue: bool
    created_at: datetime
    updated_at: datetime
