"""States of batches and of their lines in words, and the codes the trade has for them (ecard_and_business §4.1)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Stage(StrEnum):
    """Who works on a batch, in this order; `ca` only where the cards bear certificates."""

    BANK = "bank"
    CA = "ca"
    FACTORY = "factory"
    KEYS = "keys"


class BatchState(StrEnum):
    """A stage is `sent` once its outgoing file is whole, `returned` once one of its return files was taken in."""

    CREATED = "created"
    BANK_SENT = "bank_sent"
    BANK_RETURNED = "bank_returned"
    CA_SENT = "ca_sent"
    CA_RETURNED = "ca_returned"
    FACTORY_SENT = "factory_sent"
    FACTORY_RETURNED = "factory_returned"
    KEYS_SENT = "keys_sent"
    KEYS_RETURNED = "keys_returned"
    HANDED_OUT = "handed_out"


class LineState(StrEnum):
    """Where one card of a batch stands. `released`: its application left the batch and waits for another card."""

    CREATED = "created"
    ACCOUNT = "account"
    NO_ACCOUNT = "no_account"
    ACCOUNT_MISMATCH = "account_mismatch"
    CERTIFIED = "certified"
    NOT_CERTIFIED = "not_certified"
    MADE = "made"
    MAKE_FAILED = "make_failed"
    MAKE_EXCEPTION = "make_exception"
    FINISHED = "finished"
    KEY_WRONG = "key_wrong"
    ISSUED = "issued"
    RELEASED = "released"


class ApplyType(StrEnum):
    """申请类型."""

    NEW = "01"
    REPLACEMENT_LOST = "05"
    REPLACEMENT = "06"
    WARRANTY = "07"
    PRE_PRINTED = "08"


class MakeType(StrEnum):
    """制卡类型. Instant cards (03) never come in batches."""

    FINISHED = "01"
    PRE_PRINTED = "02"
    CENTRE = "04"


class Mark(StrEnum):
    """制卡标志."""

    NORMAL = "0"
    URGENT = "1"
    CENTRE = "3"


class Outcome(StrEnum):
    """What a stage's partner says about a line; `unsent` ones could not be written in the partner's format."""

    UNSENT = "unsent"
    SENT = "sent"
    OK = "ok"
    FAILED = "failed"


_B, _L = BatchState, LineState
BATCH_CODES: Final[dict[BatchState, tuple[str, str, str]]] = {
    _B.CREATED: ("10", "生成批次", "batch made"),
    _B.BANK_SENT: ("20", "银行已导出", "sent to the bank"),
    _B.BANK_RETURNED: ("21", "银行已回盘", "returned by the bank"),
    _B.CA_SENT: ("21", "CA 证书申请已导出", "sent to the CA"),
    _B.CA_RETURNED: ("21", "CA 证书申请已回盘", "returned by the CA"),
    _B.FACTORY_SENT: ("30", "工厂已导出", "sent to the factory"),
    _B.FACTORY_RETURNED: ("31", "工厂已回盘", "returned by the factory"),
    _B.KEYS_SENT: ("40", "初始化中心已导出", "sent to the key check"),
    _B.KEYS_RETURNED: ("41", "初始化中心已回盘", "keys checked"),
    _B.HANDED_OUT: ("50", "已下发网点", "handed out to the outlets"),
}
"""Code, Chinese, English. The trade's batch states know no CA stage: it shows as 21."""
LINE_CODES: Final[dict[LineState, tuple[str, str, str]]] = {
    _L.CREATED: ("10", "已入批次", "in the batch"),
    _L.ACCOUNT: ("20", "有账号", "bank account opened"),
    _L.NO_ACCOUNT: ("21", "无账号", "no bank account"),
    _L.ACCOUNT_MISMATCH: ("22", "匹配失败", "the bank knows another person"),
    _L.CERTIFIED: ("20", "有账号，证书已签发", "certificate issued"),
    _L.NOT_CERTIFIED: ("22", "证书申请失败", "no certificate"),
    _L.MADE: ("30", "制卡成功", "card made"),
    _L.MAKE_FAILED: ("31", "制卡失败", "card not made"),
    _L.MAKE_EXCEPTION: ("32", "制卡异常", "card made, but not usable"),
    _L.FINISHED: ("40", "成品卡", "finished card, keys right"),
    _L.KEY_WRONG: ("41", "密钥错误", "keys wrong"),
    _L.ISSUED: ("60", "已发卡", "handed to the holder"),
    _L.RELEASED: ("", "已退出批次", "left the batch"),
}
PRODUCTION_CODES: Final[dict[LineState, str]] = {
    _L.CREATED: "10",
    _L.ACCOUNT: "21",
    _L.NO_ACCOUNT: "23",
    _L.ACCOUNT_MISMATCH: "23",
    _L.CERTIFIED: "2b",
    _L.NOT_CERTIFIED: "2d",
    _L.MADE: "31",
    _L.MAKE_FAILED: "33",
    _L.MAKE_EXCEPTION: "33",
    _L.FINISHED: "41",
    _L.KEY_WRONG: "41",
    _L.ISSUED: "70",
    _L.RELEASED: "",
}
"""制卡状态 of a card. 2a to 2d in the order of the bank's codes (export, return, and their failures); the source lists
the four without meanings."""


def sent(stage: Stage) -> BatchState:
    return BatchState(f"{stage.value}_sent")


def returned(stage: Stage) -> BatchState:
    return BatchState(f"{stage.value}_returned")


def before(stage: Stage, *, has_certificates: bool) -> Stage | None:
    """The stage whose good lines this one takes over."""
    stages = stages_of(has_certificates)
    place = stages.index(stage)
    return stages[place - 1] if place else None


def stages_of(has_certificates: bool) -> list[Stage]:
    return [stage for stage in Stage if has_certificates or stage is not Stage.CA]
