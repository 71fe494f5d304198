"""Messages about cards."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from pydantic import ConfigDict

from cardlib.wire import Message
from issuance.persons.schemas import PersonView


class CardState(StrEnum):
    """卡应用状态 (aaz502)."""

    SEALED = "0"
    NORMAL = "1"
    LOST = "2"
    LOCKED = "3"
    TEMPORARILY_LOST = "4"
    CANCELLED = "9"


STATE_NAMES = {
    CardState.SEALED: "封存",
    CardState.NORMAL: "正常",
    CardState.LOST: "挂失",
    CardState.LOCKED: "应用锁定",
    CardState.TEMPORARILY_LOST: "临时挂失",
    CardState.CANCELLED: "注销",
}


class CardView(Message):
    """A card as screens may show it; the holder is masked."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "card_number": "A00000011",
                    "state": "1",
                    "state_name": "正常",
                    "region": "110000",
                    "generation": "3.0",
                    "identification_code": "110000D156000005000000A1FFFFFFFF",
                    "holder": {"name": "测*甲", "social_security_number": "**************0012"},
                    "issue_date": "2026-01-05",
                    "expiry_date": "2036-01-05",
                    "ecard_no": "5f0c2b7e9a1d4c3f8e6b7a9d0c1e2f30",
                }
            ]
        }
    )

    card_number: str
    state: CardState
    state_name: str
    region: str
    generation: str
    identification_code: str
    holder: PersonView
    issue_date: date
    expiry_date: date
    ecard_no: str | None
