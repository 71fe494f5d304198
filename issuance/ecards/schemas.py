"""Messages about electronic cards."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from cardlib.wire import Message
from issuance.cards.schemas import CardNumber, CardState
from issuance.ecards.busi_seq import Purpose
from issuance.persons.schemas import Name, Number, PersonView

_ECARD = "5f0c2b7e9a1d4c3f8e6b7a9d0c1e2f30"


_SIGN = "0a4b6c8d1e2f30415263748596a7b8c9"
_PERSON: JsonDict = {"name": "测试甲", "social_security_number": "990100199001010012", "card_number": "A00000011"}
_LINK: JsonDict = {
    "sign_no": _SIGN,
    "channel": "掌上示例",
    "channel_no": "1234567890",
    "signed_at": "2026-01-05T01:00:00Z",
    "is_this_phone": True,
}
Password = Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]
BusiSeq = Annotated[str, Field(min_length=16, max_length=64, description="操作验证串 from password-checks")]


class EcardState(StrEnum):
    """`authorised`: the card is lost, its holder goes on with the electronic one."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    AUTHORISED = "authorised"
    LOCKED = "locked"
    CANCELLED = "cancelled"


class PersonClaim(Message):
    """Who somebody says to be: all three as on the card."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PERSON]})

    name: Name
    social_security_number: Number
    card_number: CardNumber


class SigningRequest(PersonClaim):
    """The first password for this electronic card sets it; every later channel gives the same one."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [_PERSON | {"public_key": "02" + "3f" * 32, "password": "482915"}]}
    )

    public_key: str = Field(
        pattern="^0[23][0-9a-f]{64}$", description="SM2 point of the phone, compressed; its key signs the proof"
    )
    password: Password


class SignedEcard(Message):
    """Names as the national platform has them: esscNo, signNo, signSeq, signLevel, signDate, validDate."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "ecard_no": _ECARD,
                    "sign_no": _SIGN,
                    "sign_seq": "20260105000000000001",
                    "sign_level": 1,
                    "sign_date": "20260105",
                    "valid_date": "20360105",
                    "region": "110000",
                    "holder": {"name": "测*甲", "social_security_number": "**************0012"},
                }
            ]
        }
    )

    ecard_no: str = Field(description="esscNo")
    sign_no: str = Field(description="签发号: this electronic card on this phone")
    sign_seq: str = Field(description="签发业务流水号")
    sign_level: int = Field(description="签发等级: 1 identity and queries, 2 payment as well")
    sign_date: str = Field(description="发卡日期 YYYYMMDD")
    valid_date: str = Field(description="有效期 YYYYMMDD, that of the card")
    region: str
    holder: PersonView


class LinkView(Message):
    """One channel the electronic card is on."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LINK]})

    sign_no: str
    channel: str
    channel_no: str | None
    signed_at: datetime
    is_this_phone: bool


class EcardView(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "ecard_no": _ECARD,
                    "level": 1,
                    "state": "active",
                    "usable": True,
                    "reason": "",
                    "region": "110000",
                    "card_state": "1",
                    "temporary_until": None,
                    "links": [_LINK],
                    "password_locked_until": None,
                }
            ]
        }
    )

    ecard_no: str
    level: int = Field(description="签发等级 that counts now; 2 only while the bank account is active")
    state: EcardState
    usable: bool
    reason: str = Field(description="Why it is not usable, a word of issuance/ecards/policy.toml; else empty")
    region: str
    card_state: CardState
    temporary_until: datetime | None = Field(description="When a temporary loss ends by itself")
    links: list[LinkView]
    password_locked_until: datetime | None


class PasswordCheck(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"password": "482915", "purpose": "payment"}]})

    password: Password
    purpose: Purpose


class PasswordProof(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"busi_seq": "k7Qd0mVwX2sLr9TzYbN4eHcGfJ1uA6po", "expires_at": "2026-01-05T01:05:00Z"}]
        }
    )

    busi_seq: str
    expires_at: datetime


class EcardPasswordChange(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"old_password": "482915", "new_password": "730264"}]})

    old_password: Password
    new_password: Password


class PasswordReset(PersonClaim):
    model_config = ConfigDict(json_schema_extra={"examples": [_PERSON | {"new_password": "730264"}]})

    new_password: Password


class PasswordSet(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"changed_at": "2026-01-05T01:00:00Z"}]})

    changed_at: datetime


class Confirmed(Message):
    """An act the holder has given the password for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"busi_seq": "k7Qd0mVwX2sLr9TzYbN4eHcGfJ1uA6po"}]})

    busi_seq: BusiSeq


class HolderLoss(Confirmed):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"busi_seq": "k7Qd0mVwX2sLr9TzYbN4eHcGfJ1uA6po", "kind": "temporary"}]}
    )

    kind: Literal["temporary", "formal"]
