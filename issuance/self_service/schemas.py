"""Messages of kiosks: what a person may see and do there on the evidence the kiosk saw, all of it masked."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from cardlib.wire import HexId, KioskVisitText, Message
from issuance.applications.schemas import EXAMPLE_ID
from issuance.cards.machine import CardState
from issuance.cards.schemas import CardNumber
from issuance.clients.schemas import Region
from issuance.persons.schemas import Name, Number, PersonView
from issuance.progress.schemas import StageView
from issuance.self_service.evidence import Kind, KioskAct

CardHandle = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
EXAMPLE_VISIT = "AXJ2aXNpdA"
_HANDLE = "0f" * 16
_ACT: JsonDict = {
    "act": "lose",
    "possible": True,
    "needs": [],
    "text_zh": "马上停用，直到补卡或取消",
    "text_en": "Stops the card at once until it is replaced or the loss is lifted",
    "fee_fen": 0,
}
EXAMPLE_KIOSK_CARD: JsonDict = {
    "card": _HANDLE,
    "application_id": EXAMPLE_ID,
    "number": "A0000****",
    "is_presented": True,
    "state": "1",
    "state_zh": "正常",
    "state_en": "normal",
    "plain_zh": "卡在正常使用。",
    "plain_en": "The card is in use.",
    "since": "2026-01-05T01:00:00Z",
    "temporary_until": None,
    "issue_date": "2026-01-05",
    "expiry_date": "2036-01-05",
    "region": "110000",
    "account": {"state": "active", "text_zh": "银行账户已激活", "text_en": "The bank account is active"},
    "ecard": None,
    "rewrite_pending": False,
    "acts": [_ACT],
}


class ShownEvidence(Message):
    """`card_number` names the card that was shown, for the kinds that are one."""

    kind: Literal[Kind.ID_CARD, Kind.CARD, Kind.CARD_PIN]
    card_number: CardNumber | None = None

    @model_validator(mode="after")
    def _names_its_card(self) -> ShownEvidence:
        if (self.kind is Kind.ID_CARD) != (self.card_number is None):
            raise PydanticCustomError("value_error", "a card has its number, an identity card none")
        return self


class HolderQuestion(Message):
    """Who stands at the kiosk, and what the kiosk saw. `region`: where a new card would be issued."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "测试甲",
                    "social_security_number": "990100199001010012",
                    "evidence": [{"kind": "id_card"}, {"kind": "card", "card_number": "A00000011"}],
                }
            ]
        }
    )

    name: Name
    social_security_number: Number
    evidence: tuple[ShownEvidence, ...] = Field(min_length=1, max_length=3)
    region: Region | None = None


class Words(Message):
    """A state by its name, and a sentence that says what it means to the holder."""

    state: str
    text_zh: str
    text_en: str


class KioskEcard(Words):
    is_on_phone: bool
    channels: list[str] = Field(description="Names of the apps it is signed onto")
    usable: bool


class PossibleAct(Message):
    """`needs`: evidence that is still missing; empty and not `possible`: the words say why not."""

    act: KioskAct
    possible: bool
    needs: list[Kind]
    text_zh: str
    text_en: str
    fee_fen: int = 0


class KioskCard(Message):
    """A card of the person; `card` stands for it in what the kiosk asks."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_KIOSK_CARD]})

    card: CardHandle
    application_id: str = Field(description="The application that made it")
    number: str
    is_presented: bool
    state: CardState
    state_zh: str
    state_en: str
    plain_zh: str
    plain_en: str
    since: datetime
    temporary_until: datetime | None
    issue_date: date
    expiry_date: date
    region: str
    account: Words | None
    ecard: KioskEcard | None
    rewrite_pending: bool
    acts: list[PossibleAct]


class OpenApplication(Message):
    """`can_continue`: a kiosk may make its card now. `is_mine`: this kiosk took it in or has begun its card.

    `stuck` is the FailureCode of the step that waits for somebody. Of an application of another region only the words
    are told.
    """

    id: str | None
    receipt_number: str | None
    kind: str
    state: str
    step: str | None
    text_zh: str
    text_en: str
    next_zh: str
    next_en: str
    stages: list[StageView]
    can_continue: bool
    is_mine: bool
    stuck: str | None
    fee_fen: int
    is_paid: bool
    reset_information: str | None = Field(description="The blank it is bound to")
    pick_up: str | None
    created_at: datetime | None


class ApplyView(Message):
    """Whether a first card may be applied for here, and why not."""

    possible: bool
    needs: list[Kind]
    text_zh: str
    text_en: str
    fee_fen: int


class HolderView(Message):
    """Never more than the evidence allows: a card alone shows itself and nothing else of its holder.

    `visit` stands for person and evidence in what this kiosk asks until `expires_at`.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "visit": EXAMPLE_VISIT,
                    "expires_at": "2026-01-05T01:15:00Z",
                    "evidence": ["id_card"],
                    "is_known": True,
                    "holder": {"name": "测*甲", "social_security_number": "**************0012"},
                    "cards": [EXAMPLE_KIOSK_CARD],
                    "application": None,
                    "apply": {
                        "possible": False,
                        "needs": [],
                        "text_zh": "已经有一张卡",
                        "text_en": "There is a card already",
                        "fee_fen": 0,
                    },
                    "photo_id": None,
                    "photo_required": True,
                    "guardian_needed": False,
                    "sign_up_url": None,
                }
            ]
        }
    )

    visit: str = Field(repr=False)
    expires_at: datetime
    evidence: list[Kind]
    is_known: bool
    holder: PersonView | None
    cards: list[KioskCard]
    application: OpenApplication | None
    apply: ApplyView
    photo_id: str | None = Field(description="The last photo of this person that a new card may still bear")
    photo_required: bool
    guardian_needed: bool
    sign_up_url: str | None


class VisitOrder(Message):
    """`visit`: as `POST /v1/self-service/holders` told it."""

    visit: KioskVisitText


class KioskOrder(VisitOrder):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"visit": EXAMPLE_VISIT, "card": _HANDLE, "act": "lose_temporarily"}]}
    )

    card: CardHandle
    act: Literal[KioskAct.ENABLE, KioskAct.LOSE_TEMPORARILY, KioskAct.LOSE, KioskAct.RELEASE, KioskAct.LIFT]


class KioskResult(Message):
    """`already`: the card was there before; a success like `done`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"result": "done", "code": "00", "card": EXAMPLE_KIOSK_CARD}]}
    )

    result: Literal["done", "already"]
    code: Literal["00", "01"]
    card: KioskCard


class KioskSuccession(VisitOrder):
    """A card that takes the place of one; what is on it stays the same."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"visit": EXAMPLE_VISIT, "card": _HANDLE, "act": "replace_damaged"}]}
    )

    card: CardHandle
    act: Literal[KioskAct.REPLACE_LOST, KioskAct.REPLACE_DAMAGED, KioskAct.RENEW]
    photo_id: HexId | None = None


class KioskContinuation(VisitOrder):
    """An open application that was taken in elsewhere; its card is made here from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"visit": EXAMPLE_VISIT, "application_id": EXAMPLE_ID}]})

    application_id: HexId


class CardChoice(VisitOrder):
    model_config = ConfigDict(json_schema_extra={"examples": [{"visit": EXAMPLE_VISIT, "card": _HANDLE}]})

    card: CardHandle


class RecordsQuestion(VisitOrder):
    """`uses`: where the cards were used; `looks`: who looked at the person's data; `events`: what the cards went
    through."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"visit": EXAMPLE_VISIT, "kind": "looks", "after": 0}]})

    kind: Literal["uses", "looks", "events"]
    after: int = Field(default=0, ge=0, le=1000, description="`next` of the page before")


class RecordView(Message):
    at: datetime
    text_zh: str
    text_en: str
    where: str
    outcome: str
    count: int = Field(default=1, ge=1, description="`looks`: so often that day; `at` is the last")


class RecordsPage(Message):
    """Ten at most, newest first; `next` is null on the last page."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "at": "2026-01-05T01:00:00Z",
                            "text_zh": "看了卡的信息",
                            "text_en": "Looked at the card",
                            "where": "示例市社保大厅",
                            "outcome": "ok",
                            "count": 2,
                        }
                    ],
                    "next": None,
                }
            ]
        }
    )

    items: list[RecordView]
    next: int | None


class Offer(Message):
    """What the centre has for kiosks, before anybody stands at one. `log_in`: people may be known by their phone."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"log_in": True, "sign_up_url": "https://ecard.example/", "region": "130000"}]}
    )

    log_in: bool
    sign_up_url: str | None
    region: str | None


class KioskLogIn(Message):
    """A code for the person's phone. `number` stands beside it, to be chosen on the phone; `log_in` is this kiosk's."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "log_in": f"{EXAMPLE_ID}.{'A' * 43}",
                    "text": "https://login.example/login/link#AAAAAAAAAAAAAAAAAAAAAA",
                    "svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
                    "number": 42,
                    "ttl_s": 60,
                }
            ]
        }
    )

    log_in: str = Field(repr=False)
    text: str = Field(repr=False)
    svg: str = Field(repr=False)
    number: int
    ttl_s: int


class LogInQuestion(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"log_in": f"{EXAMPLE_ID}.{'A' * 43}"}]})

    log_in: str = Field(pattern=r"^[0-9a-f]{32}\.[A-Za-z0-9_-]{43}$", repr=False)
    region: Region | None = None


class LogInLook(Message):
    """`holder` comes once, with `approved`; asked again it is over."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"stage": "claimed", "holder": None}]})

    stage: Literal["open", "claimed", "approved", "refused", "wrong_number", "cancelled", "over"]
    holder: HolderView | None = None
