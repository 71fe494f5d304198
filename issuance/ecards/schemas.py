"""Messages about electronic cards."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import ConfigDict, Field

from cardlib.wire import Message
from issuance.cards.schemas import CardState


class Scene(StrEnum):
    """What a code may be used for; one made for a scene is refused in any other."""

    IDENTITY = "identity"
    PAYMENT = "payment"
    LOGIN = "login"


_ECARD = "5f0c2b7e9a1d4c3f8e6b7a9d0c1e2f30"
_CODE = "OC1.3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


class EcardView(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"ecard_no": _ECARD, "level": 1, "state": "active", "region": "110000", "card_state": "1"}]
        }
    )

    ecard_no: str
    level: int
    state: str
    region: str
    card_state: CardState


class CodeRequest(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"scene": "identity"}]})

    scene: Scene


class IssuedCode(Message):
    """Shown once by the wallet; a newer code of the same card and scene cancels it."""

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
    model_config = ConfigDict(json_schema_extra={"examples": [{"code": _CODE, "scene": "identity"}]})

    code: str = Field(min_length=1, max_length=128)
    scene: Scene


class ValidatedCode(Message):
    """Only what the scene needs; fields of other scenes are absent."""

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
    name: str | None = Field(default=None, description="Masked")
    region: str | None = None
    card_state: CardState | None = None
