"""The catalog's records. They hold no behaviour beyond questions about themselves; `reader` makes them from files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, Final

from apps_catalog.areas import contains, overlaps
from apps_catalog.rule import CardState, Category, Opened, Rule, values

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


class Equipment(StrEnum):
    """What the accepting side must have."""

    CONTACT_READER = "contact_reader"
    CONTACTLESS_READER = "contactless_reader"
    QR_SCANNER = "qr_scanner"
    PIN_PAD = "pin_pad"
    CAMERA = "camera"
    TRANSIT_VALIDATOR = "transit_validator"


class Datum(StrEnum):
    """What the accepting side learns about the holder."""

    NAME = "name"
    ID_NUMBER = "id_number"
    CARD_NUMBER = "card_number"
    CARD_STATE = "card_state"
    REGION = "region"
    ECARD_LEVEL = "ecard_level"
    CATEGORY = "category"


@dataclass(frozen=True, slots=True)
class Text:
    """One statement in both languages of the catalog."""

    zh: str
    en: str

    def to_json(self) -> dict[str, str]:
        return {"zh": self.zh, "en": self.en}


class _Labels(Mapping[StrEnum, Text]):
    """By class and value: Channel.ONLINE and Validation.ONLINE are the same string and no dict tells them apart."""

    def __init__(self, *tables: Mapping[StrEnum, Text]) -> None:
        self._texts = {(type(member), member.value): text for table in tables for member, text in table.items()}

    def __getitem__(self, member: StrEnum) -> Text:
        return self._texts[type(member), member.value]

    def __iter__(self) -> Iterator[StrEnum]:
        return (kind(value) for kind, value in self._texts)

    def __len__(self) -> int:
        return len(self._texts)


_OF_VALIDATION: Final[dict[StrEnum, Text]] = {
    Validation.ONLINE: Text("联网核验", "Checked online"),
    Validation.OFFLINE: Text("脱机核验", "Checked offline"),
    Validation.EITHER: Text("联网或脱机核验", "Checked online or offline"),
}
_OF_ALL_ELSE: Final[dict[StrEnum, Text]] = {
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
    Standing.STATED: Text("来源已写明", "Stated by the source"),
    Standing.INFERRED: Text("参照其他地区，未证实", "Seen elsewhere, not confirmed here"),
    Standing.PLANNED: Text("计划中", "Planned"),
    Equipment.CONTACT_READER: Text("接触式读卡器", "Contact reader"),
    Equipment.CONTACTLESS_READER: Text("非接触读卡器", "Contactless reader"),
    Equipment.QR_SCANNER: Text("扫码设备", "Code scanner"),
    Equipment.PIN_PAD: Text("密码键盘", "PIN pad"),
    Equipment.CAMERA: Text("摄像头", "Camera"),
    Equipment.TRANSIT_VALIDATOR: Text("公交地铁验票设备", "Transit validator"),
    Datum.NAME: Text("姓名", "Name"),
    Datum.ID_NUMBER: Text("社会保障号码", "Social security number"),
    Datum.CARD_NUMBER: Text("社保卡卡号", "Card number"),
    Datum.CARD_STATE: Text("卡状态", "Card state"),
    Datum.REGION: Text("发卡地", "Issuing place"),
    Datum.ECARD_LEVEL: Text("电子社保卡签发等级", "Level of the electronic card"),
    Datum.CATEGORY: Text("人员类别", "Category of the holder"),
    CardState.SEALED: Text("未启用", "Not enabled yet"),
    CardState.NORMAL: Text("正常", "Normal"),
    CardState.LOST: Text("挂失", "Reported lost"),
    CardState.LOCKED: Text("锁定", "Locked"),
    CardState.TEMPORARILY_LOST: Text("临时挂失", "Temporarily reported lost"),
    CardState.CANCELLED: Text("注销", "Cancelled"),
    Opened.BANK: Text("金融功能", "Bank function"),
    Opened.TRANSIT: Text("交通功能", "Transit function"),
    Category.INSURED: Text("参保人员", "Insured person"),
    Category.PENSIONER: Text("领取养老待遇人员", "Pensioner"),
    Category.JOB_SEEKER: Text("失业或求职人员", "Unemployed person or job seeker"),
    Category.GRADUATE: Text("毕业生", "Graduate"),
    Category.TRAINEE: Text("培训人员", "Trainee"),
    Category.MIGRANT_WORKER: Text("农民工", "Migrant worker"),
    Category.INJURED_WORKER: Text("工伤职工", "Worker with a recognised injury"),
    Category.FARMER: Text("农户", "Farmer"),
    Category.STUDENT: Text("学生", "Student"),
    Category.ELDERLY: Text("当地规定的老年人", "Older person under local rules"),
    Category.DISABLED: Text("残疾人", "Person with a disability certificate"),
    Category.BLOOD_DONOR: Text("献血者", "Blood donor"),
    Category.ASSISTED: Text("社会救助对象", "Recipient of social assistance"),
    Category.FAMILY_PLANNING: Text("计划生育奖励扶助对象", "Recipient of family planning grants"),
    Category.HOUSING_FUND: Text("缴存住房公积金人员", "Payer into the housing fund"),
}
LABELS: Final[Mapping[StrEnum, Text]] = _Labels(_OF_VALIDATION, _OF_ALL_ELSE)


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
    """Where a statement comes from; `confidence` is high, medium or low, `expires` its last day in force."""

    key: str
    title: Text
    confidence: str
    expires: date | None = None

    def to_json(self) -> dict[str, Any]:
        expires = _iso(self.expires)
        return {"key": self.key, "title": self.title.to_json(), "confidence": self.confidence, "expires": expires}


@dataclass(frozen=True, slots=True)
class Place:
    """A door one can go to; `closed` is its last day."""

    area: str
    name: Text
    address: Text | None = None
    closed: date | None = None

    def to_json(self) -> dict[str, Any]:
        address = self.address.to_json() if self.address else None
        return {"area": self.area, "name": self.name.to_json(), "address": address, "closed": _iso(self.closed)}


@dataclass(frozen=True, slots=True)
class Returned:
    """What the accepting side learns, and the source that lets it (法律依据)."""

    data: tuple[Datum, ...]
    basis: str

    def to_json(self) -> dict[str, Any]:
        return {"data": values(self.data), "basis": self.basis}


@dataclass(frozen=True, slots=True)
class Item:
    """One thing a card can do.

    `areas` offer it; `holders` are the areas whose cards are honoured, NATIONWIDE for all, LOCAL for each area's
    own. `effective_from` is the day from which a source attests the item, None while it is planned;
    `effective_to` is its last day. An empty `generations` means that every card generation will do. `change` says what
    the version changed; `differs` why another province's item of the same name promises something else.
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
    rule: Rule = field(default_factory=Rule)
    places: tuple[Place, ...] = ()
    guide: tuple[Text, ...] = ()
    materials: tuple[Text, ...] = ()
    equipment: tuple[Equipment, ...] = ()
    returns: Returned | None = None
    change: Text | None = None
    differs: Text | None = None

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
            "carriers": values(self.carriers),
            "functions": values(self.functions),
            "channels": values(self.channels),
            "validation": self.validation.value,
            "department": self.department.to_json(),
            "provider": self.provider.to_json(),
            "eligibility": self.eligibility.to_json(),
            "terms": self.terms.to_json(),
            "standing": self.standing.value,
            "sources": list(self.sources),
            "version": self.version,
            "effective_from": _iso(self.effective_from),
            "effective_to": _iso(self.effective_to),
            "generations": list(self.generations),
            "accessibility": self.accessibility.to_json() if self.accessibility else None,
            "rule": self.rule.to_json(),
            "places": [place.to_json() for place in self.places],
            "guide": [step.to_json() for step in self.guide],
            "materials": [paper.to_json() for paper in self.materials],
            "equipment": values(self.equipment),
            "returns": self.returns.to_json() if self.returns else None,
            "change": self.change.to_json() if self.change else None,
            "differs": self.differs.to_json() if self.differs else None,
        }


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None
