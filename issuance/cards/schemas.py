"""Messages about cards."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from cardlib.wire import HexId, Message
from issuance.applications.schemas import Channel, Delivery, FileName, Tag
from issuance.cards.machine import STATE_NAMES as STATE_NAMES
from issuance.cards.machine import AccountState
from issuance.cards.machine import CardState as CardState
from issuance.clients.schemas import Region
from issuance.persons.schemas import Agent, Guardian, Name, PersonView

CardNumber = Annotated[str, StringConstraints(max_length=10)]
Version = Annotated[int, Field(ge=1, description="The card's `version` as seen; another one is refused (CONFLICT)")]
ReasonCode = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{0,32}$")]

EXAMPLE_CARD: JsonDict = {
    "card_number": "A00000011",
    "state": "1",
    "state_name": "正常",
    "state_since": "2026-01-05T01:00:00Z",
    "state_by": "clerk-07",
    "version": 3,
    "temporary_until": None,
    "possible": ["lose_temporarily", "lose", "lock", "cancel"],
    "region": "110000",
    "generation": "3.0",
    "identification_code": "110000D156000005000000A1FFFFFFFF",
    "holder": {"name": "测*甲", "social_security_number": "**************0012"},
    "issue_date": "2026-01-05",
    "expiry_date": "2036-01-05",
    "account": {"state": "active", "number": "***************8816", "since": "2026-01-06T02:00:00Z"},
    "rewrite_pending": False,
    "successor_application": None,
    "ecard_no": "5f0c2b7e9a1d4c3f8e6b7a9d0c1e2f30",
    "ecard_state": "active",
}


class AccountView(Message):
    """The financial side; the number shows its last four digits."""

    state: AccountState
    number: str | None
    since: datetime | None


class CardView(Message):
    """A card as screens may show it; the holder is masked.

    `possible` lists what this caller may do next on the social security side, under the rules of the region.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_CARD]})

    card_number: str
    state: CardState
    state_name: str
    state_since: datetime
    state_by: str
    version: int
    temporary_until: datetime | None = Field(description="When the temporary loss ends by itself")
    possible: list[str]
    region: str
    generation: str
    identification_code: str
    holder: PersonView
    issue_date: date
    expiry_date: date
    account: AccountView
    rewrite_pending: bool = Field(description="The chip is to be rewritten at the next visit")
    successor_application: str | None = Field(description="Open application whose card will take this one's place")
    ecard_no: str | None
    ecard_state: str | None


class CardSummary(Message):
    """A card in a list; nothing about its holder."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "card_number": "A00000011",
                    "state": "4",
                    "version": 3,
                    "region": "110000",
                    "generation": "3.0",
                    "state_since": "2026-01-05T01:00:00Z",
                    "temporary_until": "2026-01-12T01:00:00Z",
                    "expiry_date": "2036-01-05",
                }
            ]
        }
    )

    card_number: str
    state: CardState
    version: int
    region: str
    generation: str
    state_since: datetime
    temporary_until: datetime | None
    expiry_date: date


class CardEvent(Message):
    """One thing that happened to a card, on one of its sides."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 7,
                    "side": "social",
                    "act": "lose_temporarily",
                    "from_state": "1",
                    "to_state": "4",
                    "at": "2026-01-05T01:00:00Z",
                    "by": "clerk-07",
                    "client_id": "counter-0001",
                    "reason": "phone",
                    "version": 3,
                    "detail": {"until": "2026-01-12T01:00:00+00:00"},
                }
            ]
        }
    )

    id: int
    side: str
    act: str
    from_state: str
    to_state: str
    at: datetime
    by: str
    client_id: str
    reason: str
    version: int
    detail: dict[str, Any]


class CardResult(Message):
    """`already` (01): the card was there before, nothing happened; a success like `done` (00)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"result": "done", "code": "00", "card": EXAMPLE_CARD}]})

    result: Literal["done", "already"]
    code: Literal["00", "01"]
    card: CardView


class CardOrder(Message):
    """What every command takes. `reason` is a short code of the office's own, nothing personal."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 3, "reason": "counter"}]})

    version: Version | None = None
    reason: ReasonCode = ""


class LossOrder(CardOrder):
    """`temporary` ends by itself after the region's days; `formal` needs a replacement, or lifting where allowed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"kind": "temporary", "version": 3, "reason": "phone"}]})

    kind: Literal["temporary", "formal"]


class HolderEnd(CardOrder):
    """The person died, or left the country for good: the card ends on both sides."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"cause": "death", "version": 3}]})

    cause: Literal["death", "exit"]


class HolderChange(CardOrder):
    """New values of what stands on the card; the chip is rewritten at the next visit."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "测试新", "version": 3}]})

    name: Name | None = None
    sex: str | None = Field(default=None, pattern="^[129]$")
    ethnic_group: str | None = Field(default=None, pattern="^[0-9]{2}$")
    birthplace: str | None = Field(default=None, pattern="^[0-9]{6}$")

    @model_validator(mode="after")
    def _changes_something(self) -> HolderChange:
        if not self.changes():
            raise PydanticCustomError("holder_nothing", "one of name, sex, ethnic_group, birthplace is needed")
        return self

    def changes(self) -> dict[str, str]:
        values: dict[str, str] = self.model_dump(
            include={"name", "sex", "ethnic_group", "birthplace"}, exclude_none=True
        )
        return values


class SuccessionOrder(CardOrder):
    """An application whose card takes this one's place. `items` null: as on the card now."""

    generation: Literal["2.0", "3.0"] = "3.0"
    items: dict[FileName, dict[Tag, Any]] | None = Field(default=None, max_length=64)
    channel: Channel = Channel.COUNTER
    accepted_region: Region | None = None
    delivery: Delivery = Delivery()
    guardian: Guardian | None = None
    agent: Agent | None = None
    photo_id: HexId | None = None


class ReplacementOrder(SuccessionOrder):
    """补换卡. `lost` needs a formal loss; `keeps_number`: 同号换卡, where the region allows it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"cause": "damaged", "version": 3}]})

    cause: Literal["lost", "damaged", "quality"]
    keeps_number: bool = False


class RenewalOrder(SuccessionOrder):
    """到期换卡, within the region's window before the expiry date and any time after it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 3}]})

    keeps_number: bool = False


class FoundCard(Message):
    """A card handed in."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"card_number": "A00000011", "outlet": "hall-3"}]})

    card_number: CardNumber
    outlet: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Where the card is kept")


class FoundCardView(Message):
    """A found card. From `keep_until` on it may be destroyed; `is_overdue` tells that its keeper was asked to."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 4,
                    "card_number": "A00000011",
                    "region": "110000",
                    "outlet": "hall-3",
                    "state": "kept",
                    "found_at": "2026-01-05T01:00:00Z",
                    "keep_until": "2026-04-05T01:00:00Z",
                    "is_overdue": False,
                    "registered_by": "clerk-07",
                    "ended_at": None,
                    "ended_by": None,
                }
            ]
        }
    )

    id: int
    card_number: str
    region: str
    outlet: str
    state: Literal["kept", "returned", "destroyed"]
    found_at: datetime
    keep_until: datetime
    is_overdue: bool
    registered_by: str
    ended_at: datetime | None
    ended_by: str | None
