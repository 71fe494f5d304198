"""Messages about codes."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import ConfigDict, Field

from cardlib.wire import Message
from issuance.cards.schemas import CardState
from issuance.consents.schemas import ConsentItem

MAX_FEN = 10**11


class Scene(StrEnum):
    """What a code may be used for; one made for a scene is refused in any other."""

    IDENTITY = "identity"
    PAYMENT = "payment"
    LOGIN = "login"


_ECARD = "5f0c2b7e9a1d4c3f8e6b7a9d0c1e2f30"
_CODE = "OC1.3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


class CodeRequest(Message):
    """`member`: id of a family member whose code is shown, for identity only."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"scene": "identity"}]})

    scene: Scene
    member: str | None = Field(default=None, pattern="^[0-9a-f]{32}$")
    busi_seq: str | None = Field(
        default=None, min_length=1, max_length=64, description="操作验证串 of purpose payment, for a payment code"
    )


class IssuedCode(Message):
    """Shown once by the wallet; a newer code of the same phone, card and scene ends it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": _CODE,
                    "scene": "identity",
                    "expires_at": "2026-01-05T01:01:00Z",
                    "ttl_s": 60,
                    "png_base64": "iVBORw0KGgo=",
                    "svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
                }
            ]
        }
    )

    code: str
    scene: Scene
    expires_at: datetime
    ttl_s: int
    png_base64: str = Field(description="QR picture, PNG")
    svg: str = Field(description="The same picture as SVG")


class CodeValidation(Message):
    """The same request by the same caller, named by `request_id` or the Idempotency-Key, gets the same answer while
    the code would have lived; any other is refused."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": _CODE, "scene": "identity"}]})

    code: str = Field(min_length=1, max_length=128)
    scene: Scene
    amount_fen: int | None = Field(default=None, ge=1, le=MAX_FEN, description="What a payment code is to pay")
    request_id: str | None = Field(default=None, pattern=r"^[!-~]{8,128}$")


class ValidatedCode(Message):
    """Only what the scene needs and the caller may see; everything else is absent."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "scene": "identity",
                    "ecard_no": _ECARD,
                    "used_at": "2026-01-05T01:00:20Z",
                    "name": "测*甲",
                    "region": "110000",
                    "card_state": "1",
                }
            ]
        }
    )

    scene: Scene
    ecard_no: str
    used_at: datetime
    name: str | None = Field(default=None, description="Masked, unless the caller is registered for `name`")
    social_security_number: str | None = Field(default=None, description="Of callers registered for it")
    region: str | None = None
    card_state: CardState | None = None
    limit_fen: int | None = Field(default=None, description="Most that one payment code may pay in the card's region")


class CodeUse(Message):
    """用码记录: who accepted a code of this card or logged its holder in, for what and when."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "at": "2026-01-05T01:00:20Z",
                    "scene": "payment",
                    "act": "validate",
                    "client": "hospital-1",
                    "client_name": "示例医院",
                    "amount_fen": 1250,
                    "items": [],
                    "is_this_phone": True,
                }
            ]
        }
    )

    at: datetime
    scene: Scene
    act: str = Field(
        description="`validate`, `consent`, `recognise` (another platform's code), `field.` and the busiType, or "
        "`log-in`: then `client` is a relying party"
    )
    client: str
    client_name: str
    amount_fen: int | None
    items: list[ConsentItem] = Field(description="What a log-in let the relying party know of the holder")
    is_this_phone: bool
