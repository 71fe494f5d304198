"""What a rule pack holds. The descriptions below are the published schema (docs/rule-pack.schema.json)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

Text = Annotated[str, StringConstraints(pattern=r"\S")]
Fen = Annotated[int, Field(ge=0, le=100_000)]
CardClass = Literal["1", "2", "3", "4"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _ordered(table: BaseModel, *pairs: tuple[str, str]) -> None:
    for low, high in pairs:
        if getattr(table, low) > getattr(table, high):
            raise PydanticCustomError("order", "{low} is above {high}", {"low": low, "high": high})


class PhotoProfile(_Table):
    """相片规格: the portrait a card of this region may bear (GA 461 and the ministry's collection text)."""

    width: int = Field(ge=100, le=4000, description="宽，像素 / width in pixels")
    height: int = Field(ge=100, le=4000, description="高，像素 / height in pixels")
    dpi: int = Field(ge=72, le=1200, description="分辨率 / dots per inch")
    jpeg_quality: int = Field(ge=30, le=100, description="JPEG 质量下限 / lowest JPEG quality")
    min_kb: int = Field(ge=1, le=700, description="文件最小，KB（1024 字节）/ smallest file in KB of 1024 bytes")
    max_kb: int = Field(ge=1, le=700, description="文件最大，KB / largest file in KB")
    face_width_min: int = Field(ge=1, description="脸宽下限，像素 / least width of the face")
    face_width_max: int = Field(ge=1, description="脸宽上限 / greatest width of the face")
    hair_top_min: int = Field(ge=0, description="头顶发迹距上边下限，像素 / least distance of the hair from the top")
    hair_top_max: int = Field(ge=0, description="头顶发迹距上边上限 / greatest distance of the hair from the top")
    eye_mid_x_min: int = Field(ge=0, description="两眼中点横坐标下限 / least x of the middle between the eyes")
    eye_mid_x_max: int = Field(ge=0, description="两眼中点横坐标上限 / greatest x of the middle between the eyes")
    eyes_above_bottom_min: int = Field(ge=0, description="眼睛距下边下限 / least height of the eyes above the bottom")
    background_min: int = Field(ge=0, le=255, description="背景亮度下限 0-255 / least brightness of the background")
    background_spread_max: int = Field(ge=1, le=255, description="背景不匀上限 / greatest unevenness of the background")
    sharpness_min: int = Field(ge=0, description="清晰度下限 / least sharpness (variance of the Laplacian)")
    taken_within_days: int = Field(ge=1, le=3660, description="拍摄后多少天内有效 / how old a photo may be, days")

    @model_validator(mode="after")
    def _is_ordered(self) -> PhotoProfile:
        names = ("face_width", "hair_top", "eye_mid_x")
        _ordered(self, ("min_kb", "max_kb"), *((f"{name}_min", f"{name}_max") for name in names))
        return self


class Fees(_Table):
    """工本费，分 / fees in fen."""

    new: Fen = Field(description="首次申领 / first card")
    replacement_lost: Fen = Field(description="遗失补卡 / after a loss")
    replacement_damaged: Fen = Field(description="损坏换卡 / of a damaged card")
    renewal: Fen = Field(description="到期换卡 / at expiry")


class FamilySlots(_Table):
    """亲情账户名额: how many of each relation one electronic card may have."""

    parent: int = Field(ge=0, le=20, description="父母、长辈 / parents and elders")
    child: int = Field(ge=0, le=20, description="子女 / children")
    spouse: int = Field(ge=0, le=1, description="配偶 / spouse")
    other: int = Field(ge=0, le=20, description="其他亲属 / other relatives")


class Rules(_Table):
    """The rules of one region from `effective_from` (China date) until the next version begins."""

    effective_from: date = Field(description="生效日期 / first day these rules hold")
    validity_years: int = Field(ge=1, le=50, description="卡有效期，年 / validity of a card in years")
    validity_years_of_class: dict[CardClass, Annotated[int, Field(ge=1, le=50)]] = Field(
        description="按卡类别（CL01）不同的有效期 / validity of card classes that differ"
    )
    preschool_age: int = Field(ge=0, le=17, description="小于此周岁为学龄前卡 / below: card class 1")
    minor_age: int = Field(ge=1, le=18, description="小于此周岁为学生卡 / below: card class 2")
    guardian_age: int = Field(ge=1, le=18, description="小于此周岁由监护人代办 / below: a guardian acts")
    photo_required_age: int = Field(ge=0, le=18, description="达到此周岁须有相片 / from this age a photo is needed")
    photo_required_channels: tuple[Literal["counter", "kiosk", "bank", "online"], ...] = Field(
        strict=False, description="申请时就要相片的渠道 / channels where the photo comes with the application"
    )
    temporary_loss_days: int = Field(ge=1, le=60, description="临时挂失天数，到期解挂 / days until released by itself")
    formal_loss_can_be_lifted: Literal["never", "until_replacement"] = Field(
        description="正式挂失能否解挂 / whether a formal loss can be lifted"
    )
    online_release_allowed: bool = Field(description="可否网上解挂 / whether a loss may be released online")
    pin_tries: int = Field(ge=3, le=10, description="社保密码可错次数 / wrong PINs before the card locks")
    renewal_window_days: int = Field(ge=0, le=366, description="到期前多少天可换 / days before expiry to renew in")
    reissue_keeps_number: bool = Field(description="可否同号换卡 / whether a replacement may keep the card number")
    cross_province_allowed: bool = Field(description="可否跨省受理 / whether other provinces may take applications")
    post_allowed: bool = Field(description="可否邮寄 / whether cards may be posted")
    newborn_days: int = Field(ge=1, le=366, description="出生多少天内可联办 / days after birth to apply in")
    newborn_name_days: int = Field(ge=1, le=366, description="补登姓名期限，天 / days to register a newborn in")
    identity_wait_hours: int = Field(ge=1, le=720, description="身份核验等待，小时 / hours that a check may wait")
    four_eyes: tuple[Literal["card.cancel", "holder.end", "stock.destroy", "number.change"], ...] = Field(
        strict=False, description="须两人办理的事项 / acts that need a second clerk"
    )
    ecard_password_tries: int = Field(
        ge=3, le=10, description="电子社保卡密码 24 小时内可错次数 / wrong passwords in 24 hours before it locks"
    )
    ecard_password_lock_hours: int = Field(ge=1, le=72, description="密码锁定，小时 / hours a password stays locked")
    ecard_on_loss: Literal["authorise", "blocked"] = Field(
        description="挂失后电子社保卡可否经本人授权使用 / whether the holder may go on with it after a loss"
    )
    ecard_payment_limit_fen: int = Field(
        ge=1, le=10_000_000, description="扫码支付单笔限额，分 / most that one payment code pays, fen"
    )
    transit_limit_fen: int = Field(
        ge=1, le=1_000_000, description="脱机乘车码单次限额，分 / highest fare of one offline transit code, fen"
    )
    transit_code_hours: int = Field(
        ge=1, le=168, description="乘车授权有效，小时 / hours a phone may make transit codes without asking again"
    )
    transit_code_validity_s: int = Field(ge=10, le=300, description="乘车码有效，秒 / seconds a transit code lives")
    transit_code_profile: Literal["a_c", "b"] = Field(
        description="闸机对乘车码布局的读法 / how the region's gates read the layout"
    )
    family_slots: FamilySlots = Field(description="亲情账户各关系名额 / family members by relation")
    family_total: int = Field(ge=0, le=50, description="亲情账户总名额 / family members in all")
    fees_fen: Fees = Field(description="工本费，分 / fees in fen")
    photo: PhotoProfile = Field(description="相片规格 / photo profile")

    @model_validator(mode="after")
    def _is_ordered(self) -> Rules:
        _ordered(self, ("preschool_age", "minor_age"))
        return self

    def card_class(self, age: int) -> str:
        """卡的类别 (CL01) when the applicant is put in none: 1 preschool child, 2 student, 3 adult."""
        if age < self.preschool_age:
            return "1"
        return "2" if age < self.minor_age else "3"

    def validity(self, card_class: str) -> int:
        """Years a card of this class is valid."""
        years = {str(name): years for name, years in self.validity_years_of_class.items()}
        return years.get(card_class, self.validity_years)


class Institution(_Table):
    """What a pack says once, whatever the day.

    `institution` is the 初始化机构编号 (24 hex digits, V2.0 T12) without regard to the outlet; `number_prefixes` are
    the first letters its card numbers may have (V2.0 App. A).
    """

    region: str = Field(pattern=r"^[1-9][0-9]{5}$", description="行政区划代码 / division code (GB/T 2260)")
    name: Text = Field(description="名称 / name in Chinese")
    name_en: Text = Field(description="英文名称 / name in English")
    institution: str = Field(
        pattern=r"^9156000002[0-9]{14}$", description="初始化机构编号，24 位 / number of the initializing institution"
    )
    number_prefixes: tuple[Annotated[str, StringConstraints(pattern=r"^[A-Z]$")], ...] = Field(
        min_length=1, description="卡号首字母 / first letters of card numbers", strict=False
    )

    @model_validator(mode="after")
    def _is_of_its_region(self) -> Institution:
        if self.institution[10:16] != self.region:
            raise PydanticCustomError("institution_region", "institution names another region", {})
        return self
