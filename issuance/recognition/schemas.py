"""Messages about codes of any platform."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from cardlib.wire import Message
from issuance.cards.schemas import CardState
from issuance.codes.schemas import Scene
from issuance.recognition.families import MAX_CHARS

Result = Literal[
    "not_asked", "holder", "elsewhere", "not_a_person", "unknown", "used", "expired", "refused", "unavailable"
]


class RecognitionRequest(Message):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"code": "ZWFW110000AbCdEfGhIjKlMnOpQrStUvWx", "scene": "identity"}]}
    )

    code: str = Field(min_length=1, max_length=MAX_CHARS)
    scene: Scene = Scene.IDENTITY


class RecognisedHolder(Message):
    """Only what the scene shows; fields of other scenes are null."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "ecard_no": "5f0c2b7e9a1d4c3f8e6b7a9d0c1e2f30",
                    "name": "测*甲",
                    "region": "110000",
                    "card_state": "1",
                }
            ]
        }
    )

    ecard_no: str
    name: str | None = Field(default=None, description="Masked")
    region: str | None = None
    card_state: CardState | None = None


class RecognisedCode(Message):
    """`kind`: made by this centre, by another platform, or of no known form. `result`: what its platform said.

    `not_asked`: it is ours, or nobody can be asked; `elsewhere`: the holder's electronic card is not of this centre;
    `not_a_person`: it stands for an organisation or a thing; `unavailable`: no answer, ask again with a new code.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "foreign",
                    "family": "government",
                    "name_zh": "政务服务码",
                    "name_en": "government service code",
                    "owner_zh": "一体化政务服务平台",
                    "owner_en": "The integrated government service platform",
                    "works_zh": "政务服务大厅与自助终端",
                    "works_en": "Government service halls and kiosks",
                    "advice_zh": "本人出示即可换认；认不出时请出示电子社保卡",
                    "advice_en": "Shown by its holder it is translated; if that fails, show the electronic card",
                    "result": "holder",
                    "holder": {
                        "ecard_no": "5f0c2b7e9a1d4c3f8e6b7a9d0c1e2f30",
                        "name": "测*甲",
                        "region": "110000",
                        "card_state": "1",
                    },
                }
            ]
        }
    )

    kind: Literal["own", "foreign", "unknown"]
    family: str | None
    name_zh: str
    name_en: str
    owner_zh: str
    owner_en: str
    works_zh: str
    works_en: str
    advice_zh: str
    advice_en: str
    result: Result
    holder: RecognisedHolder | None = None
