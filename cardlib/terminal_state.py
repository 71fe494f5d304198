"""Messages between a terminal and its centre about the terminal itself: registration, heartbeat, diagnosis.

None of them carries a person's data: failures are codes, devices are kinds and ports. The proof of a registration and
the upload of a diagnosis are tied to the terminal's key; the rest travels in signed requests (`cardlib.client_auth`).
"""

from __future__ import annotations

import json
import re
import secrets
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from cardlib.wire import Message, Told, is_hidden

CODE_LETTERS: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without 0, 1, I and O, which people mistake for each other."""
CODE_LENGTH: Final = 12
MAX_DIAGNOSIS_BYTES: Final = 1 << 19
_CODE: Final = re.compile(f"[{CODE_LETTERS}]{{{CODE_LENGTH}}}")
_PROOF: Final = b"onecard terminal registration 1\n"

ProfileName = Literal["counter", "kiosk", "transit"]
FailureName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{1,63}$")]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+-]{1,64}$")]
Port = Annotated[str, StringConstraints(max_length=256)]
Hex64 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]
Age = Annotated[float, Field(ge=0, le=1e11)]

_JWK: JsonDict = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


def new_code() -> str:
    """60 bits from the system's randoms."""
    return "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))


def shown_code(code: str) -> str:
    """In groups of four, as it is read aloud."""
    return "-".join(code[place : place + 4] for place in range(0, CODE_LENGTH, 4))


def normal_code(text: str) -> str:
    """As people type it: small letters, hyphens and spaces do not matter. Raises ValueError."""
    code = text.upper().replace("-", "").replace(" ", "")
    if _CODE.fullmatch(code) is None:
        raise ValueError(f"a registration code has {CODE_LENGTH} letters and digits, without 0, 1, I and O")
    return code


def proof_text(code: str, public_jwk: dict[str, str]) -> bytes:
    """What the new key signs to show that its private half is there, for this code alone."""
    return _PROOF + json.dumps([code, public_jwk], sort_keys=True, separators=(",", ":")).encode()


class RegistrationRequest(Message):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"code": "K7QM2XWP9RTA", "public_jwk": _JWK, "proof": "5e" * 64}]}
    )

    code: str = Field(pattern=f"^{_CODE.pattern}$")
    public_jwk: dict[str, Annotated[str, StringConstraints(max_length=64)]] = Field(max_length=4)
    proof: Hex64 = Field(description="Ed25519 signature by that key, see `cardlib.terminal_state.proof_text`")


class Registered(Told):
    """`catalog_root` is the first root file of what the centre publishes, null where it publishes nothing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "client_id": "t-4f0c2b7e9a1d",
                    "audience": "onecard-issuance",
                    "device_number": "OC13000004F0C2B7E",
                    "profile": "kiosk",
                    "region": "130000",
                    "catalog_root": None,
                }
            ]
        }
    )

    client_id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    audience: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    device_number: str = Field(pattern=r"^[0-9A-Za-z]{1,32}$")
    profile: ProfileName
    region: str | None
    catalog_root: str | None


class DeviceState(Told):
    kind: Word
    port: Port
    state: Word
    failure: FailureName | None = None


class JournalState(Told):
    """`waiting`: records the centre does not have yet; `oldest_s`: age of the first of them."""

    state: Literal["none", "sent", "sending", "waiting", "full"]
    waiting: Count = 0
    oldest_s: Age | None = None


class Supplies(Told):
    """What a kiosk has left; null where the device does not say. `ribbon`: cards it still prints."""

    hopper: Annotated[int, Field(ge=0, le=10_000)] | None = None
    reject_bin: Annotated[int, Field(ge=0, le=10_000)] | None = None
    ribbon: Annotated[int, Field(ge=0, le=10_000)] | None = None
    paper: Literal["ok", "low", "out"] | None = None


class Heartbeat(Told):
    """How a terminal is. Ages are in seconds, null where there is nothing to be old."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sent_at": "2026-01-05T01:00:00Z",
                    "version": "0.1.0",
                    "api_level": 2,
                    "profile": "kiosk",
                    "device_number": "OC13000004F0C2B7E",
                    "up_s": 86400,
                    "catalog_version": "2026.1",
                    "catalog_age_s": 120,
                    "block_list_edition": 17,
                    "block_list_age_s": 240,
                    "journal": {"state": "sent", "waiting": 0, "oldest_s": None},
                    "devices": [{"kind": "mt3_reader", "port": "/dev/ttyUSB0", "state": "ready", "failure": None}],
                    "readers": 2,
                    "failures": ["READER_LOST"],
                    "is_locked": False,
                    "configuration_epoch": 3,
                    "supplies": {"hopper": 42, "reject_bin": 1, "ribbon": 120, "paper": "ok"},
                    "help_wanted_s": None,
                    "mode": "open",
                    "rules": None,
                }
            ]
        }
    )

    sent_at: AwareDatetime
    version: Word
    api_level: Annotated[int, Field(ge=1, le=1000)]
    profile: ProfileName
    device_number: str = Field(pattern=r"^[0-9A-Za-z]{1,32}$")
    up_s: Age
    catalog_version: Word | None = None
    catalog_age_s: Age | None = None
    block_list_edition: Count | None = None
    block_list_age_s: Age | None = None
    journal: JournalState
    devices: tuple[DeviceState, ...] = Field(default=(), max_length=32)
    readers: Annotated[int, Field(ge=0, le=64)] = 0
    failures: tuple[FailureName, ...] = Field(default=(), max_length=16)
    """Newest first, each once: what went wrong since the last heartbeat, and what is wrong now."""
    is_locked: bool = False
    is_stopping: bool = False
    """The last one: silence from now on is meant."""
    configuration_epoch: Count = 0
    supplies: Supplies | None = None
    help_wanted_s: Age | None = Field(default=None, description="Since when somebody at it waits for staff")
    mode: Literal["open", "busy", "staff", "out"] | None = None
    rules: Word | None = Field(default=None, description="Version of the rules that count at a gate")


class Lock(Told):
    """Why this terminal does no card work, and whom to ask."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"reason": "机器移机", "contact": "示例市社保中心 12333"}]}
    )

    reason: str = Field(min_length=1, max_length=128)
    contact: str = Field(min_length=1, max_length=128)

    def shown(self) -> Lock:
        """Without characters that nobody sees: a lock with them is a lock all the same."""
        return Lock(reason=_without_hidden(self.reason), contact=_without_hidden(self.contact))


def _without_hidden(text: str) -> str:
    return "".join(" " if is_hidden(character) else character for character in text).strip() or "-"


class Orders(Told):
    """The centre's answer to a heartbeat. A terminal that sees another `configuration_epoch` than before fetches what
    is published; `diagnosis` names an order that was not answered yet."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "now": "2026-01-05T01:00:00Z",
                    "lock": {"reason": "机器移机", "contact": "示例市社保中心 12333"},
                    "configuration_epoch": 4,
                    "diagnosis": "5b1e7a4c9d0f4c3f8a2b6d7e8f901234",
                }
            ]
        }
    )

    now: datetime
    lock: Lock | None = None
    configuration_epoch: Count = 0
    diagnosis: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")] | None = None


class DiagnosisUpload(Told):
    """A bundle that an order asked for: a ZIP file in base64, without personal data (`terminal_agent.diagnosis`)."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"order": "5b1e7a4c9d0f4c3f8a2b6d7e8f901234", "content": "UEsFBgAAAAAAAA=="}]}
    )

    order: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    content: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=MAX_DIAGNOSIS_BYTES * 4 // 3 + 4)
    ]


class Received(Told):
    """What was sent is stored."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"received": True}]})

    received: Literal[True] = True
