"""The text that a holder signs: plain UTF-8 that a person can read, the same for whoever checks it later.

Everything that decides is in it, so the signature covers nothing that the holder could not see. What others wrote into
it (purpose, explanation, the recipient's name) is on a line of its own and holds neither line breaks nor characters
that are invisible or turn the direction of writing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cardlib.wire import is_hidden
from issuance.clock import CHINA
from issuance.consents.catalogue import CATALOGUE

_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and signs by category that show nothing."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of a holder. `recipient` is the name under which `client_id` is registered."""

    consent_id: str
    centre: str
    ecard_no: str
    client_id: str
    recipient: str
    purpose: str
    explanation: str
    items: tuple[str, ...]
    begins_at: datetime
    ends_at: datetime

    def text(self) -> str:
        lines = [
            "个人信息授权书 / Consent to the use of personal data",
            f"编号 / Number: {self.consent_id}",
            f"服务中心 / Centre: {self.centre}",
            f"授权人 / Holder: 电子社保卡 / electronic card {self.ecard_no}",
            f"接收方 / Recipient: {self.recipient} ({self.client_id})",
            f"用途 / Purpose: {self.purpose}",
            f"说明 / Explanation: {self.explanation or '无 / none'}",
            "信息项 / Data:",
            *(f"- {CATALOGUE[name].zh} / {CATALOGUE[name].en} ({name})" for name in self.items),
            f"期限 / Period: {_moment(self.begins_at)} – {_moment(self.ends_at)} 北京时间 (UTC+8)",
            "可随时撤回。 / May be revoked at any time.",
        ]
        return "\n".join(lines) + "\n"


def in_order(items: Iterable[str]) -> tuple[str, ...]:
    """Each once, in the order of the catalogue. Raises KeyError for a name that is not in it."""
    wanted = set(items)
    if not wanted <= CATALOGUE.keys():
        raise KeyError(sorted(wanted - CATALOGUE.keys())[0])
    return tuple(name for name in CATALOGUE if name in wanted)


def is_plain(text: str) -> bool:
    """One line of characters that show as what they are."""
    return bool(text.strip()) and all(map(_shows, text))


def plain(text: str) -> str:
    """Of a registered name: whatever is not plain becomes a space."""
    return "".join(character if _shows(character) else " " for character in text).strip()


def _shows(character: str) -> bool:
    return not is_hidden(character) and character not in _BLANK


def _moment(at: datetime) -> str:
    return at.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")
