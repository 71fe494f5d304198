"""Messages about applications."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from cardlib.wire import HexId, Message
from issuance.clients.schemas import Region
from issuance.database import WITHOUT_NUL
from issuance.persons.schemas import (
    EXAMPLE_GUARDIAN,
    EXAMPLE_PERSON,
    Agent,
    Guardian,
    Line,
    Name,
    PersonData,
    PersonView,
    Telephone,
)
from issuance.privacy.free_text import Masked
from issuance.stock.schemas import ResetInformation

ApplicationId = HexId
FileName = Annotated[str, StringConstraints(pattern=r"^(?:SSSE|DF[0-9]{2})EF[0-9]{2}$")]
Tag = Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{2}$")]

EXAMPLE_ID = "0d9f4f0e6b7f4a35a3b2b8a1b4a6c001"


class ApplicationState(StrEnum):
    """`checked` waits for a blank; `enabled`, `rejected` and `written_off` are final."""

    SUBMITTED = "submitted"
    CHECKED = "checked"
    RESERVED = "reserved"
    PERSONALIZED = "personalized"
    VERIFIED = "verified"
    ENABLED = "enabled"
    REJECTED = "rejected"
    WRITTEN_OFF = "written_off"


class ApplicationKind(StrEnum):
    """What the card is for. `newborn` comes from the joint application, the last two from the card they follow."""

    NEW = "new"
    NEWBORN = "newborn"
    REPLACEMENT = "replacement"
    RENEWAL = "renewal"


class Channel(StrEnum):
    """Where the applicant was: 柜面, 自助, 银行, 网上."""

    COUNTER = "counter"
    KIOSK = "kiosk"
    BANK = "bank"
    ONLINE = "online"


class Step(StrEnum):
    """Steps of the instant-issue saga, in order; the last five undo or end it.

    `identity` waits for the population register; the application stays `submitted` until it has answered.
    """

    APPLY = "apply"
    IDENTITY = "identity"
    CHECK = "check"
    PAYMENT = "payment"
    RESERVE = "reserve"
    CARD_DATA = "card_data"
    PERSONALIZE = "personalize"
    READ_BACK = "read_back"
    PRINT = "print"
    RETURN_DATA = "return_data"
    ENABLE = "enable"
    ECARD = "ecard"
    CLEAN_UP = "clean_up"
    CANCEL_MARK = "cancel_mark"
    CANCEL_PAYMENT = "cancel_payment"
    WRITE_OFF = "write_off"
    REJECT = "reject"


class StepStatus(StrEnum):
    """A `started` or `stuck` step waits for its owner until the deadline; `undone` was compensated.

    `skipped` is for what this terminal or this card does without, such as printing.
    """

    STARTED = "started"
    DONE = "done"
    STUCK = "stuck"
    FAILED = "failed"
    UNDONE = "undone"
    SKIPPED = "skipped"


class Delivery(Message):
    """How the card reaches the holder; `post` needs the address."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"way": "post", "recipient": "测试甲", "telephone": "13900000000", "address": "示例市示例路1号"}
            ]
        }
    )

    way: Literal["counter", "post"] = "counter"
    recipient: Name | None = None
    telephone: Telephone | None = None
    address: Line | None = None


class ApplicationRequest(Message):
    """A card for one person. `items` fills further files: {"DF01EF05": {"20": "50"}}; the rest is filled as unused.

    An item that a file has several times takes a list. Files of optional applications are not written.
    `card_class` (CL01) follows from the age when not given. `region` issues the card under its rules;
    `accepted_region` is where the application is handed in when that is another one (跨省通办).
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "region": "110000",
                    "generation": "3.0",
                    "person": EXAMPLE_PERSON,
                    "items": {"DF01EF05": {"20": "50"}},
                },
                {
                    "region": "130000",
                    "accepted_region": "110000",
                    "channel": "counter",
                    "person": EXAMPLE_PERSON
                    | {"social_security_number": "990100201506010018", "birth_date": "20150601", "name": "测试小"},
                    "guardian": EXAMPLE_GUARDIAN,
                    "delivery": {"way": "counter"},
                },
            ]
        }
    )

    region: Region
    generation: Literal["2.0", "3.0"] = "3.0"
    card_class: Literal["1", "2", "3", "4"] | None = None
    person: PersonData
    items: dict[FileName, dict[Tag, Any]] = Field(default_factory=dict, max_length=64)
    channel: Channel = Channel.COUNTER
    accepted_region: Region | None = None
    with_ecard: bool = Field(default=True, description="同步申领 / issue the electronic card together")
    delivery: Delivery = Delivery()
    guardian: Guardian | None = None
    agent: Agent | None = None
    photo_id: HexId | None = None


class PhotoChoice(Message):
    """The photo that the card will bear."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"photo_id": EXAMPLE_ID}]})

    photo_id: HexId


class Reason(Message):
    """Why; recorded in the audit trail, so no personal data."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "chip does not answer"}]})

    reason: Annotated[str, Field(min_length=1, max_length=256, pattern=WITHOUT_NUL), Masked]


class WriteOff(Reason):
    """`reset_information` names the card that is dead, as the application shows it: a repeat cannot hit the next one.

    `is_final` also ends the application; otherwise it waits for a new blank.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "reset_information": "00814A444686FE9901000000A1",
                    "reason": "chip does not answer",
                    "is_final": False,
                }
            ]
        }
    )

    reset_information: ResetInformation
    is_final: bool = False


class StepView(Message):
    step: Step
    status: StepStatus
    at: datetime
    detail: str
    reason: str | None = Field(description="FailureCode of a stuck step, or why it was undone")
    owner: str | None
    deadline: datetime | None


class ApplicationView(Message):
    """Where an application stands; the person is masked."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_ID,
                    "receipt_number": "2600000000000175",
                    "state": "checked",
                    "region": "110000",
                    "generation": "3.0",
                    "card_class": "3",
                    "person": {"name": "测*甲", "social_security_number": "**************0012"},
                    "kind": "new",
                    "channel": "counter",
                    "accepted_region": "110000",
                    "delivery": "counter",
                    "with_ecard": True,
                    "guardian": None,
                    "photo_id": None,
                    "reset_information": None,
                    "card_number": None,
                    "issue_date": None,
                    "expiry_date": None,
                    "ecard_no": None,
                    "created_at": "2026-01-05T01:00:00Z",
                    "updated_at": "2026-01-05T01:00:00Z",
                    "steps": [
                        {
                            "step": "apply",
                            "status": "done",
                            "at": "2026-01-05T01:00:00Z",
                            "detail": "",
                            "reason": None,
                            "owner": None,
                            "deadline": None,
                        }
                    ],
                }
            ]
        }
    )

    id: str
    receipt_number: str = Field(description="受理号: with the end of their number the applicant asks how far it is")
    state: ApplicationState
    region: str
    generation: str
    card_class: str
    person: PersonView
    kind: ApplicationKind
    channel: Channel
    accepted_region: str
    delivery: str
    with_ecard: bool
    guardian: PersonView | None
    photo_id: str | None
    reset_information: str | None
    card_number: str | None
    issue_date: date | None
    expiry_date: date | None
    ecard_no: str | None
    created_at: datetime
    updated_at: datetime
    steps: list[StepView]
