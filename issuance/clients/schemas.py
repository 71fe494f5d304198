"""Messages about registered clients."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from cardlib.client_auth import check_public_jwk
from cardlib.wire import Message, RegionCode
from issuance.database import WITHOUT_NUL

Region = RegionCode
ChannelNo = Annotated[str, StringConstraints(pattern=r"^[0-9]{10}$")]
SceneName = Literal["identity", "payment", "login"]
ItemName = Literal["name", "social_security_number", "card_expiry", "account_state"]
ClientId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]

_EXAMPLE_JWK: JsonDict = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


class Role(StrEnum):
    """What a client may do. A clerk's workplace is an operator; a kiosk or counter reader is a terminal.

    A bank sends notices about accounts.
    """

    OPERATOR = "operator"
    TERMINAL = "terminal"
    WALLET = "wallet"
    VERIFIER = "verifier"
    BANK = "bank"


class ClientRegistration(Message):
    """`region` limits what operators, terminals and wallets may see and do to that province or city; null: everywhere.

    A verifier is not limited, because a card is honoured outside its province: only an operator without region
    registers one.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "counter-0001",
                    "name": "示例网点1号柜台",
                    "roles": ["terminal"],
                    "region": "130000",
                    "public_jwk": _EXAMPLE_JWK,
                }
            ]
        }
    )

    id: ClientId
    name: str = Field(min_length=1, max_length=128, pattern=WITHOUT_NUL)
    roles: tuple[Role, ...] = Field(min_length=1)
    region: Region | None = None
    channel_no: ChannelNo | None = Field(default=None, description="渠道编号 of a wallet; drawn where none is given")
    scenes: tuple[SceneName, ...] | None = Field(
        default=None, description="Which codes a verifier may accept; null: of every scene"
    )
    items: tuple[ItemName, ...] = Field(
        default=(), description="What a verifier is told of a code's holder beyond what the scene shows to everybody"
    )
    public_jwk: dict[str, str]

    @field_validator("public_jwk")
    @classmethod
    def _is_ed25519(cls, value: dict[str, str]) -> dict[str, str]:
        try:
            return check_public_jwk(value)
        except ValueError as error:
            raise PydanticCustomError("public_jwk", "not an Ed25519 public key (JWK)") from error


class ClientView(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "counter-0001",
                    "name": "示例网点1号柜台",
                    "roles": ["terminal"],
                    "region": "130000",
                    "channel_no": None,
                    "scenes": None,
                    "items": [],
                    "status": "active",
                    "created_at": "2026-01-05T01:00:00Z",
                }
            ]
        }
    )

    id: str
    name: str
    roles: tuple[Role, ...]
    region: str | None
    channel_no: str | None = Field(description="渠道编号 of a wallet")
    scenes: tuple[SceneName, ...] | None
    items: tuple[ItemName, ...]
    status: str
    created_at: datetime
