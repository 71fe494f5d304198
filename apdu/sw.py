"""Status words and what they mean for the command that got them (ISO/IEC 7816-4, 5.6; card draft P5, table 5 and the
tables of each command)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from apdu.errors import (
    AccessDeniedError,
    AuthenticationFailedError,
    CardBlockedError,
    KeyLockedError,
    KeyNotFoundError,
    NotFoundError,
    PinLockedError,
    PinWrongError,
    SecureMessagingError,
    StatusWordError,
)
from apdu.response import ResponseApdu


class SW(IntEnum):
    """Status words with a fixed value. 61xx, 63Cx and 6Cxx carry a number and are recognised by `meaning`."""

    OK = 0x9000
    FILE_INVALIDATED = 0x6283
    AUTHENTICATION_FAILED = 0x6300
    MEMORY_FAILURE = 0x6581
    WRONG_LENGTH = 0x6700
    TRANSACTION_STATE = 0x6901
    WRONG_FILE_STRUCTURE = 0x6981
    SECURITY_STATUS = 0x6982
    METHOD_BLOCKED = 0x6983
    REFERENCE_DATA_INVALID = 0x6984
    CONDITIONS = 0x6985
    NO_CURRENT_EF = 0x6986
    MAC_MISSING = 0x6987
    MAC_WRONG = 0x6988
    WRONG_DATA = 0x6A80
    NOT_SUPPORTED = 0x6A81
    FILE_NOT_FOUND = 0x6A82
    RECORD_NOT_FOUND = 0x6A83
    NO_SPACE = 0x6A84
    LC_AGAINST_TLV = 0x6A85
    WRONG_P1_P2 = 0x6A86
    KEY_NOT_FOUND = 0x6A88
    WRONG_OFFSET = 0x6B00
    INS_UNKNOWN = 0x6D00
    CLA_UNKNOWN = 0x6E00
    NO_DIAGNOSIS = 0x6F00
    TRANSACTION_MAC = 0x9302
    APPLICATION_BLOCKED = 0x9303
    AMOUNT_INSUFFICIENT = 0x9401
    COUNTER_EXHAUSTED = 0x9402
    KEY_INDEX_UNKNOWN = 0x9403
    MAC_UNAVAILABLE = 0x9406


class Ins(IntEnum):
    """Instructions of the user card, the PSAM, the reference COS profile and the transit purse; the draft's names."""

    APPLICATION_BLOCK = 0x1E
    CARD_BLOCK = 0x16
    VERIFY = 0x20
    PIN_CHANGE_UNBLOCK = 0x24
    GET_BALANCE = 0x26
    INITIALIZE = 0x28
    CREDIT_FOR_LOAD = 0x2A
    DEBIT_FOR_PURCHASE = 0x2C
    GET_TRANSACTION_PROOF = 0x2E
    TRANSIT_INITIALIZE = 0x50
    TRANSIT_CREDIT = 0x52
    TRANSIT_DEBIT = 0x54
    STARTING_DAY = 0x56
    TRANSIT_PROVE = 0x5A
    TRANSIT_GET_BALANCE = 0x5C
    CHANGE_PIN = 0x5E
    INIT_SAM_FOR_PURCHASE = 0x70
    CREDIT_SAM_FOR_PURCHASE = 0x72
    EXTERNAL_AUTHENTICATION = 0x82
    GET_CHALLENGE = 0x84
    INTERNAL_AUTHENTICATION = 0x88
    SELECT = 0xA4
    READ_BINARY = 0xB0
    READ_RECORD = 0xB2
    GET_RESPONSE = 0xC0
    WRITE_KEY = 0xD4
    UPDATE_BINARY = 0xD6
    UPDATE_RECORD = 0xDC
    DELIVERY_SESSION_KEY = 0xDE
    CREATE_FILE = 0xE0
    INITIALIZE_ENVIRONMENT = 0xEC
    DELETE_STRUCTURE = 0xEE
    GET_CARD_STATUS = 0xF2
    SET_STATE = 0xF4
    CIPHER_DATA = 0xFA


class Retry(StrEnum):
    """What must change before the same command has a chance."""

    NONE_NEEDED = "none_needed"
    WITH_LE = "with_le"  # the same command with the length the card named
    SAME = "same"  # the very same command
    NEW_CHALLENGE = "new_challenge"
    AFTER_AUTHENTICATION = "after_authentication"
    OTHER_INPUT = "other_input"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class StatusMeaning:
    """`failure` names a `FailureCode`; None means that the command was carried out."""

    sw: int
    text_zh: str
    text_en: str
    failure: str | None
    retry: Retry
    attempts_remaining: int | None = None


_Row = tuple[str, str, str | None, Retry]

_GENERAL: Final[dict[int, _Row]] = {
    SW.OK: ("成功", "done", None, Retry.NONE_NEEDED),
    SW.FILE_INVALIDATED: ("所选文件无效", "selected file invalidated", "APPLICATION_BLOCKED", Retry.NEVER),
    SW.AUTHENTICATION_FAILED: ("鉴别失败", "authentication failed", "AUTHENTICATION_FAILED", Retry.NEW_CHALLENGE),
    SW.MEMORY_FAILURE: ("写存储器失败", "memory write failed", "CARD_MEMORY", Retry.SAME),
    SW.WRONG_LENGTH: ("长度错误", "wrong length", "COMMAND_REJECTED", Retry.OTHER_INPUT),
    SW.TRANSACTION_STATE: ("命令不接受（无效状态）", "not allowed in this state", "CARD_STATE", Retry.OTHER_INPUT),
    SW.WRONG_FILE_STRUCTURE: (
        "命令与文件结构不相容", "command does not fit the file structure", "COMMAND_REJECTED", Retry.NEVER,
    ),
    SW.SECURITY_STATUS: (
        "不满足安全状态", "access condition not met", "ACCESS_DENIED", Retry.AFTER_AUTHENTICATION,
    ),
    SW.METHOD_BLOCKED: ("密钥已锁定", "key locked", "KEY_LOCKED", Retry.NEVER),
    SW.REFERENCE_DATA_INVALID: (
        "随机数无效", "no valid challenge", "AUTHENTICATION_FAILED", Retry.NEW_CHALLENGE,
    ),
    SW.CONDITIONS: ("使用条件不满足", "conditions of use not met", "CARD_STATE", Retry.OTHER_INPUT),
    SW.NO_CURRENT_EF: ("未选择基本文件", "no elementary file selected", "COMMAND_REJECTED", Retry.OTHER_INPUT),
    SW.MAC_MISSING: (
        "安全报文数据项丢失", "secure messaging object missing", "SECURE_MESSAGING_FAILED", Retry.NEW_CHALLENGE,
    ),
    SW.MAC_WRONG: (
        "安全报文数据项不正确", "secure messaging object wrong", "SECURE_MESSAGING_FAILED", Retry.NEW_CHALLENGE,
    ),
    SW.WRONG_DATA: ("数据域参数错误", "wrong data field", "COMMAND_REJECTED", Retry.OTHER_INPUT),
    SW.NOT_SUPPORTED: ("功能不支持或卡已锁定", "not supported, or card blocked", "CARD_BLOCKED", Retry.NEVER),
    SW.FILE_NOT_FOUND: ("文件未找到", "file not found", "FILE_NOT_FOUND", Retry.NEVER),
    SW.RECORD_NOT_FOUND: ("记录未找到", "record not found", "RECORD_NOT_FOUND", Retry.NEVER),
    SW.NO_SPACE: ("文件存储空间不足", "no space left in the file", "CARD_MEMORY", Retry.NEVER),
    SW.LC_AGAINST_TLV: ("Lc与TLV结构不符", "Lc does not fit the TLV", "COMMAND_REJECTED", Retry.OTHER_INPUT),
    SW.WRONG_P1_P2: ("P1P2参数错误", "wrong P1 P2", "COMMAND_REJECTED", Retry.OTHER_INPUT),
    SW.KEY_NOT_FOUND: ("引用的密钥未找到", "referenced key not found", "KEY_NOT_FOUND", Retry.NEVER),
    SW.WRONG_OFFSET: ("偏移量超出文件", "offset outside the file", "COMMAND_REJECTED", Retry.OTHER_INPUT),
    SW.INS_UNKNOWN: ("INS错误", "instruction not supported", "COMMAND_REJECTED", Retry.NEVER),
    SW.CLA_UNKNOWN: ("CLA错误", "class not supported", "COMMAND_REJECTED", Retry.NEVER),
    SW.NO_DIAGNOSIS: ("数据无效", "no precise diagnosis", "COMMAND_REJECTED", Retry.NEVER),
    SW.TRANSACTION_MAC: ("MAC无效", "MAC wrong", "SECURE_MESSAGING_FAILED", Retry.NEW_CHALLENGE),
    SW.APPLICATION_BLOCKED: ("应用已永久锁定", "application blocked for good", "APPLICATION_BLOCKED", Retry.NEVER),
    SW.AMOUNT_INSUFFICIENT: ("金额不足", "balance too small", "BALANCE_INSUFFICIENT", Retry.OTHER_INPUT),
    SW.COUNTER_EXHAUSTED: ("交易计数器达到最大值", "transaction counter exhausted", "CARD_STATE", Retry.NEVER),
    SW.KEY_INDEX_UNKNOWN: ("密钥索引不支持", "key index not supported", "KEY_NOT_FOUND", Retry.OTHER_INPUT),
    SW.MAC_UNAVAILABLE: ("所需MAC不可用", "requested MAC not available", "CARD_STATE", Retry.NEVER),
}  # fmt: skip

_NO_PIN_TRIES: Final[_Row] = ("密码已锁定", "PIN locked", "PIN_LOCKED", Retry.NEVER)
_NO_PIN: Final[_Row] = ("卡中无个人密码", "no PIN object on this card", "KEY_NOT_FOUND", Retry.NEVER)

# Where a command reads a status word differently from the general table.
_BY_COMMAND: Final[dict[int, dict[int, _Row]]] = {
    Ins.SELECT: {
        SW.FILE_NOT_FOUND: ("卡中没有该应用或文件", "no such application or file", "FILE_NOT_FOUND", Retry.NEVER),
    },
    Ins.GET_RESPONSE: {
        SW.NO_DIAGNOSIS: ("没有可取的数据", "no response data pending", "CARD_STATE", Retry.NEVER),
    },
    Ins.INTERNAL_AUTHENTICATION: {
        SW.KEY_NOT_FOUND: (
            "卡中没有内部认证密钥或版本", "no authentication key of this version", "KEY_NOT_FOUND", Retry.NEVER,
        ),
    },
    Ins.EXTERNAL_AUTHENTICATION: {
        SW.REFERENCE_DATA_INVALID: (
            "未取随机数", "no challenge was taken", "AUTHENTICATION_FAILED", Retry.NEW_CHALLENGE,
        ),
        SW.METHOD_BLOCKED: ("外部认证密钥已锁定", "authentication key locked", "KEY_LOCKED", Retry.NEVER),
    },
    Ins.VERIFY: {SW.METHOD_BLOCKED: _NO_PIN_TRIES, SW.KEY_NOT_FOUND: _NO_PIN},
    Ins.CHANGE_PIN: {SW.METHOD_BLOCKED: _NO_PIN_TRIES, SW.KEY_NOT_FOUND: _NO_PIN},
    Ins.READ_RECORD: {
        SW.RECORD_NOT_FOUND: ("卡中没有该数据项", "the card has no such record", "RECORD_NOT_FOUND", Retry.NEVER),
    },
    Ins.CREATE_FILE: {
        SW.WRONG_DATA: ("文件参数错误或文件已存在", "bad field, or the file exists", "CARD_STATE", Retry.NEVER),
    },
    Ins.DELIVERY_SESSION_KEY: {
        SW.WRONG_DATA: ("密钥分散级数不符", "wrong number of diversifications", "PSAM_KEY_LEVEL", Retry.OTHER_INPUT),
        SW.KEY_NOT_FOUND: ("PSAM中没有该密钥", "the PSAM has no such key", "KEY_NOT_FOUND", Retry.OTHER_INPUT),
    },
    Ins.CIPHER_DATA: {
        SW.TRANSACTION_STATE: ("未分散密钥", "no session key was delivered", "CARD_STATE", Retry.OTHER_INPUT),
    },
}  # fmt: skip

_PIN_COMMANDS: Final = frozenset({Ins.VERIFY, Ins.CHANGE_PIN})

_EXCEPTIONS: Final[dict[str, type[StatusWordError]]] = {
    "PIN_WRONG": PinWrongError,
    "PIN_LOCKED": PinLockedError,
    "KEY_LOCKED": KeyLockedError,
    "AUTHENTICATION_FAILED": AuthenticationFailedError,
    "SECURE_MESSAGING_FAILED": SecureMessagingError,
    "ACCESS_DENIED": AccessDeniedError,
    "FILE_NOT_FOUND": NotFoundError,
    "RECORD_NOT_FOUND": NotFoundError,
    "KEY_NOT_FOUND": KeyNotFoundError,
    "CARD_BLOCKED": CardBlockedError,
    "APPLICATION_BLOCKED": CardBlockedError,
}


def command_name(ins: int | None) -> str:
    """`READ RECORD` for B2; the two hex digits for an instruction without a name, "" for None."""
    if ins is None:
        return ""
    try:
        return Ins(ins).name.replace("_", " ")
    except ValueError:
        return f"INS {ins:02X}"


def meaning(sw: int, ins: int | None = None) -> StatusMeaning:
    """What `sw` says in answer to instruction `ins`; without one, the general reading."""
    row = _BY_COMMAND.get(ins, {}).get(sw) if ins is not None else None
    row = row or _GENERAL.get(sw)
    if row is not None:
        return StatusMeaning(sw, *row)
    counted = sw & 0xFF or 256
    if sw >> 8 == 0x61:
        return StatusMeaning(sw, f"还有{counted}字节", f"{counted} bytes to fetch", None, Retry.NONE_NEEDED)
    if sw >> 8 == 0x6C:
        text = f"Le错误，应为{counted}", f"wrong Le, {counted} bytes are there"
        return StatusMeaning(sw, *text, "COMMAND_REJECTED", Retry.WITH_LE)
    if sw & 0xFFF0 == 0x63C0:
        return _tries_left(sw, ins)
    if sw >> 8 in (0x62, 0x63):
        return StatusMeaning(sw, "卡返回警告", "warning from the card", "COMMAND_REJECTED", Retry.NEVER)
    return StatusMeaning(sw, f"未知状态字{sw:04X}", f"unknown status word {sw:04X}", "COMMAND_REJECTED", Retry.NEVER)


def _tries_left(sw: int, ins: int | None) -> StatusMeaning:
    tries = sw & 0x0F
    if ins in _PIN_COMMANDS:
        if not tries:
            return StatusMeaning(sw, *_NO_PIN_TRIES, 0)
        text = f"密码错误，还可尝试{tries}次", f"wrong PIN, {tries} tries left"
        return StatusMeaning(sw, *text, "PIN_WRONG", Retry.OTHER_INPUT, tries)
    if not tries:
        text = "鉴别失败，密钥已锁定", "authentication failed, key locked"
        return StatusMeaning(sw, *text, "KEY_LOCKED", Retry.NEVER, 0)
    text = f"鉴别失败，还可尝试{tries}次", f"authentication failed, {tries} tries left"
    return StatusMeaning(sw, *text, "AUTHENTICATION_FAILED", Retry.NEW_CHALLENGE, tries)


def error(sw: int, ins: int | None = None) -> StatusWordError:
    """The typed exception for a status word that refuses the command. Raises ValueError for one that does not."""
    said = meaning(sw, ins)
    if said.failure is None:
        raise ValueError(f"{sw:04X} is no refusal")
    kind = _EXCEPTIONS.get(said.failure, StatusWordError)
    name = command_name(ins)
    return kind(
        f"{name or 'command'}: {said.text_en} ({sw:04X})",
        sw=sw,
        command=name,
        attempts_remaining=said.attempts_remaining,
        failure=said.failure,
    )


def check(response: ResponseApdu, ins: int | None = None) -> ResponseApdu:
    """`response` itself when the card carried the command out (9000, 61xx); raises a StatusWordError otherwise."""
    if response.sw == SW.OK or response.sw1 == 0x61:
        return response
    raise error(response.sw, ins)
