"""Messages between a wallet and the centre about a log-in."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field

from cardlib.wire import Message
from issuance.consents.schemas import ConsentItem

_ID = "8d0f4a3be21c4d5f9a7b6c5d4e3f2a10"


class ScannedLogin(Message):
    """`code`: what stands after `#` in the address that the log-in page's picture holds."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "Zx8Qk2v1mT0cR5yB7nLw3A"}]})

    code: str = Field(pattern="^[A-Za-z0-9_-]{22}$")


class AskedLogin(Message):
    """Who asks, from where and for what. The phone signs `text` with the two digits the person chose put behind it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _ID,
                    "client_id": "jobs",
                    "name": "临江市就业服务网",
                    "host": "job.linjiang.example.cn",
                    "network": "203.0.113.*",
                    "agent": "Chrome, Windows",
                    "at_counter": False,
                    "message": "",
                    "items": [{"name": "name", "zh": "姓名", "en": "Name"}],
                    "choices": [12, 47, 83],
                    "text": "登录确认书 / Log-in\n…\n核对数字 / Number on the screen: ",
                    "asked_at": "2026-01-05T01:00:00Z",
                    "answer_by": "2026-01-05T01:02:00Z",
                }
            ]
        }
    )

    id: str
    client_id: str
    name: str = Field(description="As the relying party is registered")
    host: str = Field(description="Where the browser goes afterwards; empty for a device")
    network: str = Field(description="Of the browser, coarse; `local`, or empty where it is unknown")
    agent: str = Field(description="Make of the browser and its system; empty where unknown")
    at_counter: bool = Field(description="Asked for by name, not by a code on a screen: there is no browser")
    message: str = Field(description="What a counter says it is about; may be empty")
    items: list[ConsentItem] = Field(description="Beside an identifier that no other relying party gets")
    choices: list[int] = Field(description="One of them is on the screen of the browser")
    text: str
    asked_at: datetime
    answer_by: datetime


class WaitingLogin(Message):
    """A relying party has named this holder and waits. Nothing is shown to it before a phone takes the log-in."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _ID,
                    "client_id": "hall-counter",
                    "name": "示例办事大厅",
                    "message": "3 号窗口 医保缴费",
                    "asked_at": "2026-01-05T01:00:00Z",
                    "answer_by": "2026-01-05T01:05:00Z",
                }
            ]
        }
    )

    id: str
    client_id: str
    name: str = Field(description="As the relying party is registered")
    message: str = Field(description="What it says it is about; may be empty")
    asked_at: datetime
    answer_by: datetime


class WaitingLogins(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"items": []}]})

    items: list[WaitingLogin]


class LoginApproval(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"number": 47, "signature": "3b" * 64, "busi_seq": "k3J2bXQyYmFzZTY0dXJsdG9rZW4w"}]
        }
    )

    number: int = Field(ge=10, le=99, description="What the person chose; a wrong one ends the log-in")
    signature: str = Field(pattern="^[0-9a-f]{128}$", description="SM2, r || s, over UTF-8 of `text` and the number")
    busi_seq: str = Field(min_length=1, max_length=128, description="Of the purpose `login`")


class LoginAnswer(Message):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": _ID, "name": "临江市就业服务网", "state": "approved"}]}
    )

    id: str
    name: str
    state: Literal["approved", "refused", "wrong_number"]
