"""Messages about a holder's file (一卡一人一档). What identifies somebody is masked."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from cardlib.wire import Message
from issuance.applications.schemas import EXAMPLE_ID
from issuance.database import WITHOUT_NUL
from issuance.persons.schemas import PersonView
from issuance.privacy.free_text import Masked


class FileOrder(Message):
    """`subject`: `card:` and a card number, `application:` or `person:` and an id, `receipt:` and a receipt number.

    `reason` goes into the audit trail: nothing personal.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"subject": "card:A00000011", "reason": "holder asks at the counter"}]}
    )

    subject: str = Field(max_length=64, pattern=r"^(?:card|application|person|receipt):[0-9A-Za-z]{1,40}$")
    reason: Annotated[str, Field(min_length=4, max_length=256, pattern=WITHOUT_NUL), Masked]


class FileApplication(Message):
    """`follows` is the card it replaces. `batch` is where a factory makes its card."""

    id: str
    receipt_number: str
    kind: str
    channel: str
    state: str
    region: str
    accepted_region: str
    office: str
    delivery: str
    card_number: str | None
    follows: str | None
    batch: str | None
    stuck: str | None
    created_at: datetime
    ended_at: datetime | None


class FileAccount(Message):
    """The bank's side of a card."""

    state: str
    number: str | None
    since: datetime


class FileLink(Message):
    """A phone app the electronic card is or was on: active, unlinked or replaced."""

    channel: str
    channel_no: str | None
    state: str
    signed_at: datetime
    ended_at: datetime | None


class FileEcard(Message):
    ecard_no: str
    level: int
    state: str
    created_at: datetime
    links: list[FileLink]


class FileCard(Message):
    """`retired_chips` counts the chips that bore its number before."""

    card_number: str
    state: str
    state_name: str
    state_since: datetime
    temporary_until: datetime | None
    region: str
    generation: str
    issue_date: date
    expiry_date: date
    account: FileAccount | None
    ecard: FileEcard | None
    rewrite_pending: bool
    retired_chips: int


class FileLoss(Message):
    """From the report to the end of a loss; `ended_at` null while it lasts."""

    card_number: str
    kind: str
    text_zh: str
    text_en: str
    reported_at: datetime
    reported_by: str
    ended_at: datetime | None
    ended_by: str | None
    end_zh: str
    end_en: str


class FileEvent(Message):
    """What happened to a card, its account, its chip or its electronic card."""

    card_number: str
    side: str
    act: str
    text_zh: str
    text_en: str
    from_state: str
    to_state: str
    at: datetime
    by: str
    reason: str


class FileFound(Message):
    card_number: str
    outlet: str
    state: str
    found_at: datetime
    ended_at: datetime | None


class FileUse(Message):
    """用卡轨迹: a code that was taken, or what a terminal did, over the security-module route or by itself."""

    way: str = Field(description="`code`, `hsm` or `terminal`")
    act: str
    by: str
    at: datetime
    card_number: str
    outcome: str


class FileEntry(Message):
    """An entry of the audit trail about this holder's cards and applications."""

    id: int
    at: datetime
    act: str
    subject: str
    by: str
    place: str
    outcome: str
    reason: str


class FileDocument(Message):
    """A photo, or the paper that was shown; `kind` is `photo` or the code of the paper."""

    kind: str
    id: str
    text: str
    day: date | None
    by: str


class PersonFile(Message):
    """Everything about one holder that the caller's regions know; every list has the newest first and an end:
    `is_cut` names the lists that hold more than is shown.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "person_id": EXAMPLE_ID,
                    "holder": {"name": "测*甲", "social_security_number": "**************0012"},
                    "telephone": "139****0000",
                    "ended": None,
                    "made_at": "2026-01-05T01:00:00Z",
                    "made_by": "clerk-07",
                    "cards": [],
                    "applications": [],
                    "losses": [],
                    "events": [],
                    "found": [],
                    "uses": [],
                    "documents": [],
                    "audit": [],
                    "is_cut": [],
                }
            ]
        }
    )

    person_id: str
    holder: PersonView
    telephone: str | None
    ended: str | None = Field(description="`death` or `exit`")
    made_at: datetime
    made_by: str
    cards: list[FileCard]
    applications: list[FileApplication]
    losses: list[FileLoss]
    events: list[FileEvent]
    found: list[FileFound]
    uses: list[FileUse]
    documents: list[FileDocument]
    audit: list[FileEntry]
    is_cut: list[str]
