"""Device-Proof: what a phone signs with the holder's SM2 key for one request of its channel.

`Device-Proof: <p>.<s>`. `p` is base64url without padding of a JSON object with exactly the members of `DeviceProof`,
`s` of the 64-byte signature r || s (default user id) over the characters of `p`. The channel signs the request as well
(`cardlib.client_auth`): neither a channel without the phone nor a phone without its channel gets anywhere.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cardlib.strict_json import once
from hsm.api import BadInputError
from hsm.primitives import decompress, default_engine

HEADER = "Device-Proof"
LIFETIME_S = 60
CLOCK_SKEW_S = 30
MAX_CHARS = 2048
_SIGNATURE_BYTES = 64
_TEXTS = {
    "sign_no": re.compile(r"([0-9a-f]{32})?"),
    "nonce": re.compile(r"[A-Za-z0-9_-]{22}"),
    "method": re.compile(r"[A-Z]{3,7}"),
    "path": re.compile(r"/[!-~]{0,1023}"),
    "body_sm3": re.compile(r"[0-9a-f]{64}"),
    "channel": re.compile(r"[A-Za-z0-9._-]{1,64}"),
}


class DeviceProofError(Exception):
    """The proof does not show the holder's phone behind this request."""

    failure: ClassVar[str] = "DEVICE_PROOF_INVALID"


class DeviceProofExpiredError(DeviceProofError):
    """Outside its sixty seconds; often the phone's clock is wrong."""

    failure: ClassVar[str] = "DEVICE_PROOF_EXPIRED"


@dataclass(frozen=True, slots=True)
class DeviceProof:
    """As parsed, nothing is proved yet. `sign_no` is empty where a phone asks to be linked."""

    sign_no: str
    at: int
    nonce: str
    method: str
    path: str
    body_sm3: str
    channel: str
    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def key(self) -> str:
        """Of the one-time store."""
        return f"proof:{self.sign_no}:{self.nonce}"

    def demand_signed(self, public_key: bytes) -> None:
        """By this compressed point. Raises DeviceProofError."""
        try:
            point = decompress(public_key)
        except BadInputError:
            raise DeviceProofError("the phone's key is no point of the curve") from None
        if not default_engine().sm2_verify(point, self.payload, self.signature):
            raise DeviceProofError("not signed by the phone's key")

    def demand_made_for(self, method: str, path: str, body: bytes, channel: str) -> None:
        """`path` with its query, as sent. Raises DeviceProofError."""
        wanted = {
            "method": (self.method, method),
            "path": (self.path, path),
            "body": (self.body_sm3, default_engine().sm3(body).hex()),
            "channel": (self.channel, channel),
        }
        wrong = [name for name, (said, is_) in wanted.items() if not hmac.compare_digest(said.encode(), is_.encode())]
        if wrong:
            raise DeviceProofError(f"made for another request ({', '.join(wrong)})")

    def demand_in_time(self, now: float) -> None:
        """Raises DeviceProofExpiredError. `now`: Unix seconds."""
        if not self.at - CLOCK_SKEW_S <= now < self.at + LIFETIME_S + CLOCK_SKEW_S:
            raise DeviceProofExpiredError("outside its time")


def parse_proof(header: str) -> DeviceProof:
    """Raises DeviceProofError for everything that is not exactly of this form."""
    if not header:
        raise DeviceProofError(f"the header {HEADER} is missing")
    payload, dot, signature = header.partition(".")
    if not dot or len(payload) > MAX_CHARS:
        raise DeviceProofError("not of the form p.s, or too long")
    members = _members(_bytes_of(payload))
    raw = _bytes_of(signature)
    if len(raw) != _SIGNATURE_BYTES:
        raise DeviceProofError("the signature is not r || s")
    return DeviceProof(**members, payload=payload.encode(), signature=raw)


def _members(document: bytes) -> dict[str, Any]:
    try:
        found = json.loads(document, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise DeviceProofError("not a JSON object") from None
    if not isinstance(found, dict) or found.keys() != {"at", *_TEXTS}:
        raise DeviceProofError("its members are not those of a proof")
    at = found["at"]
    if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at < 2**53:
        raise DeviceProofError("at is no Unix time")
    for name, form in _TEXTS.items():
        if not isinstance(found[name], str) or not form.fullmatch(found[name]):
            raise DeviceProofError(f"{name} has not its form")
    return found


def _bytes_of(text: str) -> bytes:
    """Strict: one text for one value, so that a proof has no twin with another signature text."""
    try:
        value = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise DeviceProofError("not base64url") from None
    if base64.urlsafe_b64encode(value).rstrip(b"=") != text.encode():
        raise DeviceProofError("not base64url")
    return value
