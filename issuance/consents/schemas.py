"""Messages about consents."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from cardlib.wire import HexId, Message
from issuance.audit.schemas import EXAMPLE_PROOF, EntryProof
from issuance.consents.catalogue import CATALOGUE
from issuance.consents.text import in_order, is_plain

MAX_DAYS = 365
"""A consent for longer is asked for again."""
MAX_PURPOSE, MAX_EXPLANATION = 64, 500


def _plain(text: str) -> str:
    if text and not is_plain(text):
        raise PydanticCustomError("consent_words", "one line of visible characters")
    return text.strip()


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    if not set(names) <= CATALOGUE.keys():
        raise PydanticCustomError("consent_item", "an item that is not in the catalogue")
    return in_order(names)


Purpose = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PURPOSE, pattern=r"\S"), AfterValidator(_plain)]
Items = Annotated[tuple[str, ...], Field(min_length=1, max_length=32), AfterValidator(_known)]
ConsentState = Literal["waiting", "refused", "unanswered", "live", "revoked", "expired"]

_ID = "8d0f4a3be21c4d5f9a7b6c5d4e3f2a10"
_ECARD = "5f0c2b7e9a1d4c3f8e6b7a9d0c1e2f30"
_TERMS: JsonDict = {
    "recipient": "示例医院",
    "recipient_id": "hospital-1",
    "purpose": "预约挂号",
    "explanation": "",
    "items": [{"name": "name", "zh": "姓名", "en": "Name"}],
}
_CONSENT: JsonDict = _TERMS | {
    "id": _ID,
    "state": "live",
    "asked_at": "2026-01-05T01:00:00Z",
    "granted_at": "2026-01-05T01:01:00Z",
    "ends_at": "2026-02-04T01:00:00Z",
    "revoked_at": None,
    "uses": 0,
}


class ConsentItem(Message):
    name: str
    zh: str
    en: str


class ConsentRequest(Message):
    """`code`: an identity code that the holder just showed; `ecard_no`: of a holder who has a live consent for the
    caller. The recipient's name is that of its registration.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": "OC1.3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                    "purpose": "预约挂号",
                    "items": ["name", "telephone"],
                    "days": 30,
                }
            ]
        }
    )

    code: str | None = Field(default=None, min_length=1, max_length=128)
    ecard_no: HexId | None = None
    purpose: Purpose = Field(description="One line; the holder reads and signs it")
    explanation: Annotated[str, StringConstraints(max_length=MAX_EXPLANATION), AfterValidator(_plain)] = ""
    items: Items = Field(description="Names of the data catalogue, see docs/consent.md")
    days: int = Field(ge=1, le=MAX_DAYS)

    @model_validator(mode="after")
    def _names_one_holder(self) -> ConsentRequest:
        if (self.code is None) == (self.ecard_no is None):
            raise PydanticCustomError("consent_holder", "code or ecard_no, one of them")
        return self


class ConsentStatus(Message):
    """As the recipient sees it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _ID,
                    "ecard_no": _ECARD,
                    "state": "waiting",
                    "purpose": "预约挂号",
                    "items": ["name", "telephone"],
                    "answer_by": "2026-01-05T01:10:00Z",
                    "ends_at": "2026-02-04T01:00:00Z",
                }
            ]
        }
    )

    id: str
    ecard_no: str
    state: ConsentState
    purpose: str
    items: tuple[str, ...]
    answer_by: datetime
    ends_at: datetime


class WaitingConsent(Message):
    """`text` is what the phone signs: SM2, default user id, over its UTF-8 bytes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                _TERMS
                | {
                    "id": _ID,
                    "text": "个人信息授权书 / Consent to the use of personal data\n…\n",
                    "asked_at": "2026-01-05T01:00:00Z",
                    "answer_by": "2026-01-05T01:10:00Z",
                    "ends_at": "2026-02-04T01:00:00Z",
                }
            ]
        }
    )

    id: str
    recipient: str
    recipient_id: str
    purpose: str
    explanation: str
    items: list[ConsentItem]
    text: str
    asked_at: datetime
    answer_by: datetime
    ends_at: datetime


class WaitingConsents(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"items": []}]})

    items: list[WaitingConsent]


class ConsentApproval(Message):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"signature": "3b" * 64, "busi_seq": "k3J2bXQyYmFzZTY0dXJsdG9rZW4w"}]}
    )

    signature: str = Field(pattern=r"^[0-9a-f]{128}$", description="r || s over the UTF-8 bytes of `text`")
    busi_seq: str = Field(min_length=1, max_length=128, description="Of the purpose `consent`")


class ConsentView(Message):
    """As its holder sees it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CONSENT]})

    id: str
    recipient: str
    recipient_id: str
    purpose: str
    explanation: str
    items: list[ConsentItem]
    state: ConsentState
    asked_at: datetime
    granted_at: datetime | None
    ends_at: datetime
    revoked_at: datetime | None
    uses: int


class ConsentUse(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"at": "2026-01-05T01:02:00Z", "items": [{"name": "name", "zh": "姓名", "en": "Name"}]}]
        }
    )

    at: datetime
    items: list[ConsentItem]


class ConsentProof(Message):
    """What a third party needs: the signed text with signature and key, and the entries of the log about it, oldest
    first, from number `first` on; `of` is how many there are, `waiting` how many of these have no place in the log yet.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "onecard_consent": 1,
                    "id": _ID,
                    "text": "个人信息授权书 / Consent to the use of personal data\n…\n",
                    "public_key": "04" + "5a" * 64,
                    "signature": "3b" * 64,
                    "first": 1,
                    "of": 1,
                    "waiting": 0,
                    "entries": [EXAMPLE_PROOF],
                }
            ]
        }
    )

    onecard_consent: int = 1
    id: str
    text: str
    public_key: str | None = Field(description="Of the phone, 04 || X || Y; null where nothing was signed")
    signature: str | None
    first: int
    of: int
    waiting: int
    entries: list[EntryProof]


class DataRequest(Message):
    """`purpose`: what the data is used for now; it must be the one that the holder consented to."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"purpose": "预约挂号", "items": ["name"]}]})

    purpose: Purpose
    items: Items


class DataAnswer(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "consent_id": _ID,
                    "at": "2026-01-05T01:02:00Z",
                    "ends_at": "2026-02-04T01:00:00Z",
                    "values": {"name": "测试甲"},
                }
            ]
        }
    )

    consent_id: str
    at: datetime
    ends_at: datetime
    values: dict[str, str | None] = Field(description="By item; null where nothing is known")
