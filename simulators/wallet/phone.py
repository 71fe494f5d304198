"""One phone: the SM2 keys it made, the electronic card it is linked to, and what it signs with them.

A simulator's phone is a file of mode 0600 where a real one has a secure element. The proof of a request is made from
its description (docs/ecard.md), not with the centre's code.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from cardlib.spec.transit_code import code_profile
from hsm.primitives import compress, default_engine
from simulators.wallet_code import finish

PROOF_HEADER = "Device-Proof"
_NONCE_BYTES = 16  # 22 characters of base64url


class PhoneFileError(Exception):
    """The file is not one of a phone: its keys are gone, and the holder signs again."""

    failure: ClassVar[str] = "KEY_STORE_CORRUPT"

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: 不是手机的文件，删除后重新申领 / no file of a phone; delete it and apply again")


@dataclass(frozen=True, slots=True)
class Link:
    """An electronic card on this phone; `holder` is masked. The key was made for this link and never leaves it."""

    ecard_no: str
    sign_no: str
    holder: str
    private_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TransitRight:
    """What the transit issuer signed for the link's key: with it codes are made without a network until `ends_at`."""

    authorisation: bytes
    ends_at: int
    validity_s: int
    profile: str


@dataclass(slots=True)
class Phone:
    path: Path
    link: Link | None = None
    transit: TransitRight | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """The phone of that file, a new one where there is none. Raises PhoneFileError."""
        try:
            kept = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return cls(path)
        except ValueError:
            raise PhoneFileError(path) from None
        try:
            link = Link(**_with_bytes(kept["link"], "private_key")) if kept["link"] else None
            transit = TransitRight(**_with_bytes(kept["transit"], "authorisation")) if kept["transit"] else None
        except (KeyError, TypeError, ValueError):
            raise PhoneFileError(path) from None
        return cls(path, link, transit)

    def save(self) -> None:
        """With mode 0600, whole or not at all."""
        document = {"link": _plain(self.link), "transit": _plain(self.transit)}
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            json.dump(document, file)
        temporary.replace(self.path)

    def take_link(self, link: Link) -> None:
        """From now on this electronic card; what was signed for the former key is forgotten."""
        self.link, self.transit = link, None
        self.save()

    def drop_transit(self) -> None:
        """A card that cannot be used makes no codes for gates either, though the right would still live."""
        if self.transit is not None:
            self.transit = None
            self.save()

    def forget(self) -> None:
        self.link = self.transit = None
        self.save()

    def transit_code(self, now: float) -> bytes | None:
        """Made here and now, without a network; None without a right that still lives."""
        link, right = self.link, self.transit
        if link is None or right is None or now >= right.ends_at:
            return None
        return finish(right.authorisation, int(now), link.private_key, code_profile(right.profile))


def new_key() -> tuple[bytes, bytes]:
    """Private key, 32 bytes, and compressed point, 33 bytes."""
    private, public = default_engine().sm2_generate()
    return private, compress(public)


def proof(private_key: bytes, sign_no: str, method: str, path: str, body: bytes, channel: str, now: float) -> str:
    """The header's value for one request: `path` with its query as sent; `sign_no` is empty at signing."""
    claims = {
        "sign_no": sign_no,
        "at": int(now),
        "nonce": secrets.token_urlsafe(_NONCE_BYTES),
        "method": method,
        "path": path,
        "body_sm3": default_engine().sm3(body).hex(),
        "channel": channel,
    }
    payload = _base64url(json.dumps(claims, separators=(",", ":")).encode())
    return f"{payload}.{_base64url(default_engine().sm2_sign(private_key, payload.encode()))}"


def sign_text(private_key: bytes, text: str) -> str:
    """128 hex digits, r || s, over the UTF-8 bytes: what a holder agrees to."""
    return default_engine().sm2_sign(private_key, text.encode()).hex()


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _with_bytes(kept: dict[str, Any], name: str) -> dict[str, Any]:
    return kept | {name: bytes.fromhex(kept[name])}


def _plain(part: Link | TransitRight | None) -> dict[str, Any] | None:
    """Bytes as hex, for the file."""
    if part is None:
        return None
    members = {name: getattr(part, name) for name in part.__slots__}
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in members.items()}
