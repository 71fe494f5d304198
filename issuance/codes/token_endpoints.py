"""`/v1/token`."""

from __future__ import annotations

from typing import Literal
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field

from cardlib.wire import Message
from issuance.clients.tokens import LIFETIME_S, SCOPE
from issuance.input_rules import field_error
from issuance.problems import bad_input
from issuance.unit import VerifierUnit

router = APIRouter(prefix="/v1/token", tags=["codes"])
_GRANT = [("grant_type", "client_credentials")]
_FORM = {
    "application/x-www-form-urlencoded": {
        "schema": {
            "type": "object",
            "properties": {"grant_type": {"type": "string", "enum": ["client_credentials"]}},
            "required": ["grant_type"],
            "additionalProperties": False,
        },
        "example": {"grant_type": "client_credentials"},
    }
}


class AccessToken(Message):
    """As in RFC 6749, 5.1."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "access_token": "3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                    "token_type": "Bearer",
                    "expires_in": LIFETIME_S,
                    "scope": SCOPE,
                }
            ]
        }
    )

    access_token: str = Field(repr=False)
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  # names the way it is shown
    expires_in: int
    scope: str


@router.post(
    "",
    summary="A token for validating many codes without a signature for each",
    openapi_extra={"requestBody": {"required": True, "content": _FORM}},
)
async def make(request: Request, unit: VerifierUnit) -> AccessToken:
    if parse_qsl((await request.body()).decode("latin-1"), keep_blank_values=True) != _GRANT:
        raise bad_input(field_error("body.grant_type", "value"))
    client_id = unit.caller.client_id
    token = await unit.services.access_tokens.make(client_id, unit.now)
    await unit.audit("client.token", f"client:{client_id}", region=unit.caller.region)
    return AccessToken(access_token=token, expires_in=LIFETIME_S, scope=SCOPE)
