"""The text of a code, and what the one-time store keeps under its digest.

The text is random and says nothing. What stands behind it rests sealed and bound to the digest: whoever writes into
the store cannot make a code that is honoured, and whoever reads it learns of none.
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from hsm.primitives import default_engine
from issuance.sealing import SealedDataError, Sealer

PREFIX: Final = "OC1."
_BYTES: Final = 32
_FORM: Final = re.compile(r"OC1\.[A-Za-z0-9_-]{43}")
MAX_CHARS: Final = 128


@dataclass(frozen=True, slots=True)
class ShownCode:
    """`ecard_no` is whose code it is, `sign_no` the link of the phone that shows it, `family_id` why that phone may
    show another's."""

    ecard_no: str
    sign_no: str
    family_id: str
    expires_at: datetime

    @property
    def subject(self) -> str:
        return f"ecard:{self.ecard_no}"

    def sealed(self, sealer: Sealer, digest: bytes) -> bytes:
        facts = [self.ecard_no, self.sign_no, self.family_id, self.expires_at.timestamp()]
        return sealer.seal(facts, _context(digest))

    @classmethod
    def unsealed(cls, sealer: Sealer, value: bytes, digest: bytes) -> ShownCode | None:
        """None for what this centre did not seal for this code."""
        try:
            ecard_no, sign_no, family_id, ends = sealer.unseal(value, _context(digest))
        except SealedDataError:
            return None
        return cls(ecard_no, sign_no, family_id, datetime.fromtimestamp(ends, UTC))


def new_code() -> str:
    return PREFIX + urlsafe_b64encode(secrets.token_bytes(_BYTES)).rstrip(b"=").decode()


def digest_of(code: str) -> bytes | None:
    """SM3 of a text that may be a code, else None."""
    return default_engine().sm3(code.encode()) if _FORM.fullmatch(code) else None


def key_of(digest: bytes) -> str:
    """Of the one-time store."""
    return f"code:{digest.hex()}"


def _context(digest: bytes) -> str:
    return f"codes:{digest.hex()}"
