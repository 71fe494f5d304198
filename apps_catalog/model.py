"""The catalog's records. They hold no behaviour beyond questions about themselves; `reader` makes them from files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final

from apps_catalog.areas import contains, overlaps

LOCAL: Final = "local"
"""In `Item.holders`: holders of a card issued in the very area that offers the item."""

JOINT: Final = "joint"
"""Owner of the part the three provinces keep together; the other owners are province codes."""


class Level(StrEnum):
    """At which level an item is agreed (国家 / 京津冀 / 省 / 市)."""

    NATIONAL = "national"
    REGIONAL = "regional"
    PROVINCE = "province"
    CITY = "city"


class Carrier(StrEnum):
    """What the holder presents."""

    CONTACT = "contact"
    CONTACTLESS = "contactless"
    QR = "qr"
    BANK_ACCOUNT = "bank_account"


class Function(StrEnum):
    """The seven classes of card use in human resources and social security (人社用卡)."""

    IDENTITY = "identity"
    PAYMENT = "payment"
    BENEFIT = "benefit"
    SETTLEMENT = "settlement"
    RECORD = "record"
    SELF_SERVICE = "self_service"
    FINANCE = "finance"


class Channel(StrEnum):
    """Where the matter is handled: over the network (线上) or at a place (线下)."""

    ONLINE = "online"
    OFFLINE = "offline"


class Validation(StrEnum):
    """How the accepting side checks what is presented: by asking a platform, on the spot, or either way."""

    ONLINE = "online"
    OFFLINE = "offline"
    EITHER = "either"


class Standing(StrEnum):
    """How well the item is known: its sources name it for these areas, name it elsewhere only, or announce it."""

    STATED = "stated"
    INFERRED = "inferred"
    PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class Text:
    """One statement in both languages of the catalog."""

    zh: str
    en: str

    def to_json(self) -> dict[str, str]:
        return {"zh": self.zh, "en": self.en}


LABELS: Final[dict[StrEnum, Text]] = {
    Level.NATIONAL: Text("国家", "National"),
    Level.REGIONAL: Text("京津冀", "Beijing-Tianjin-Hebei"),
    Level.PROVINCE: Text("省（市）级", "Province"),
    Level.CITY: Text("市级", "City"),
    Carrier.CONTACT: Text("插卡", "Card in a reader"),
    Carrier.CONTACTLESS: Text("刷卡（非接触）", "Card tapped"),
    Carrier.QR: Text("电子社保卡二维码", "Electronic card QR code"),
    Carrier.BANK_ACCOUNT: Text("社保卡银行账户", "Bank account of the card"),
    Function.IDENTITY: Text("身份凭证", "Proof of identity"),
    Function.PAYMENT: Text("缴费", "Paying fees"),
    Function.BENEFIT: Text("待遇领取", "Receiving benefits"),
    Function.SETTLEMENT: Text("就医结算", "Medical settlement"),
    Function.RECORD: Text("信息记录", "Keeping a record"),
    Function.SELF_SERVICE: Text("自助查询", "Self-service enquiry"),
    Function.FINANCE: Text("金融支付", "Bank payment"),
    Channel.ONLINE: Text("线上", "Online"),
    Channel.OFFLINE: Text("线下", "At a place"),
    Validation.ONLINE: Text("联网核验", "Checked online"),
    Validation.OFFLINE: Text("脱机核验", "Checked offline"),
    Validation.EITHER: Text("联网或脱机核验", "Checked online or offline"),
    Standing.STATED: Text("来源已写明", "Stated by the source"),
    Standing.INFERRED: Text("参照其他地区，未证实", "Seen elsewhere, not confirmed here"),
    Standing.PLANNED: Text("计划中", "Planned"),
}


@dataclass(frozen=True, slots=True)
class Domain:
    """A field of life; `glyph` is the one character that stands for it on screens."""

    key: str
    name: Text
    glyph: str

    def to_json(self) -> dict[str, Any]:
        return {"key": self.key, "name": self.name.to_json(), "glyph": self.glyph}


@dataclass(frozen=True, slots=True)
class Region:
    """A province whose offers the catalog covers."""

    code: str
    name: Text

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "name": self.name.to_json()}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a statement comes from; `confidence` is high, medium or low."""

    key: str
    title: Text
    confidence: str

    def to_json(self) -> dict[str, Any]:
        return {"key": self.key, "title": self.title.to_json(), "confidence": self.confidence}


@dataclass(frozen=True, slots=True)
class Item:
    """One thing a card can do.

    `areas` offer it; `holders` are the areas whose cards are honoured, NATIONWIDE for all, LOCAL for each area's
    own. `effective_from` is the day from which a source attests the item, None while it is planned;
    `effective_to` is its last day. An empty `generations` means that every card generation will do.
    """

    id: str
    owner: str
    name: Text
    summary: Text
    domain: str
    level: Level
    areas: tuple[str, ...]
    holders: tuple[str, ...]
    carriers: tuple[Carrier, ...]
    functions: tuple[Function, ...]
    channels: tuple[Channel, ...]
    validation: Validation
    department: Text
    provider: Text
    eligibility: Text
    terms: Text
    standing: Standing
    sources: tuple[str, ...]
    version: int
    effective_from: date | None = None
    effective_to: date | None = None
    generations: tuple[str, ...] = ()
    accessibility: Text | None = None

    @property
    def is_physical_only(self) -> bool:
        return not {Carrier.QR, Carrier.BANK_ACCOUNT} & set(self.carriers)

    def is_offered_in(self, region: str) -> bool:
        """Whether some place of `region` offers the item."""
        return any(overlaps(area, region) for area in self.areas)

    def honours(self, holder_region: str, *, region: str) -> bool:
        """Whether a card issued in `holder_region` is taken in `region`."""
        if any(holder != LOCAL and contains(holder, holder_region) for holder in self.holders):
            return self.is_offered_in(region)
        return LOCAL in self.holders and any(
            overlaps(area, region) and contains(area, holder_region) for area in self.areas
        )

    def is_in_force(self, on: date) -> bool:
        """Whether `on` lies in the item's days; a planned item has none."""
        if self.effective_from is None or on < self.effective_from:
            return False
        return self.effective_to is None or on <= self.effective_to

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "owner": self.owner,
            "name": self.name.to_json(),
            "summary": self.summary.to_json(),
            "domain": self.domain,
            "level": self.level.value,
            "areas": list(self.areas),
            "holders": list(self.holders),
            "carriers": _values(self.carriers),
            "functions": _values(self.functions),
            "channels": _values(self.channels),
            "validation": self.validation.value,
            "department": self.department.to_json(),
            "provider": self.provider.to_json(),
            "eligibility": self.eligibility.to_json(),
            "terms": self.terms.to_json(),
            "standing": self.standing.value,
            "sources": list(self.sources),
            "version": self.version,
            "effective_from": self.effective_from.isoformat() if self.effective_from else None,
            "effective_to": self.effective_to.isoformat() if self.effective_to else None,
            "generations": list(self.generations),
            "accessibility": self.accessibility.to_json() if self.accessibility else None,
        }


def _values(members: Iterable[StrEnum]) -> list[str]:
    return [member.value for member in members]
