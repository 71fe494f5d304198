"""Messages about showing and finding persons."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from cardlib.wire import Message
from issuance.database import WITHOUT_NUL
from issuance.privacy.free_text import Masked

RevealField = Literal[
    "name",
    "social_security_number",
    "birth_date",
    "telephone",
    "document_number",
    "guardian_name",
    "guardian_social_security_number",
    "guardian_telephone",
    "agent_name",
    "agent_social_security_number",
    "agent_telephone",
    "recipient_name",
    "recipient_telephone",
    "address",
    "account_number",
]
Reason = Annotated[
    str, StringConstraints(min_length=4, max_length=256, pattern=WITHOUT_NUL, strip_whitespace=True), Masked
]
Subject = Annotated[str, StringConstraints(pattern=r"^(?:application:[0-9a-f]{32}|card:[0-9A-Z]{9})$")]


class RevealRequest(Message):
    """`reason` is kept in the audit trail: why, no personal data."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"subject": "card:A00000011", "fields": ["name", "telephone"], "reason": "电话核对领卡时间，工单 1207"}
            ]
        }
    )

    subject: Subject = Field(description="application:id or card:number")
    fields: tuple[RevealField, ...] = Field(min_length=1, max_length=15)
    reason: Reason


class Revealed(Message):
    """Unmasked; null where there is no such datum."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"subject": "card:A00000011", "fields": {"name": "测试甲", "telephone": "13900000000"}}]
        }
    )

    subject: str
    fields: dict[RevealField, str | None]


class PersonQuery(Message):
    """One of the two; a name is compared whole, whatever the width of letters, spaces and middle dots."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "测试甲"}]})

    name: str | None = Field(default=None, min_length=1, max_length=50, pattern=WITHOUT_NUL)
    social_security_number: str | None = Field(default=None, min_length=15, max_length=18, pattern=WITHOUT_NUL)

    @model_validator(mode="after")
    def _is_one(self) -> PersonQuery:
        if (self.name is None) is (self.social_security_number is None):
            raise ValueError("either a name or a number")
        return self


class PersonHit(Message):
    """A person with something in the regions served: masked, with what is there."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "person_id": "0d9f4f0e6b7f4a35a3b2b8a1b4a6c002",
                    "name": "测*甲",
                    "social_security_number": "**************0012",
                    "applications": ["0d9f4f0e6b7f4a35a3b2b8a1b4a6c001"],
                    "cards": ["A00000011"],
                }
            ]
        }
    )

    person_id: str
    name: str
    social_security_number: str
    applications: list[str] = Field(description="Newest first")
    cards: list[str]
