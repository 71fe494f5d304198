"""Names of the card's commands and the meaning of their parameters in Chinese and English (draft P5, reference COS)."""

from __future__ import annotations

from apdu.command import CommandApdu
from apdu.sw import Ins, command_name
from cardlib.spec import CardSpec

_CHINESE = {
    Ins.APPLICATION_BLOCK: "应用锁定",
    Ins.CARD_BLOCK: "卡片锁定",
    Ins.VERIFY: "校验密码",
    Ins.PIN_CHANGE_UNBLOCK: "密码重装/解锁",
    Ins.GET_BALANCE: "查询余额",
    Ins.INITIALIZE: "交易初始化",
    Ins.CREDIT_FOR_LOAD: "账户划入",
    Ins.DEBIT_FOR_PURCHASE: "医疗消费",
    Ins.GET_TRANSACTION_PROOF: "取交易认证码",
    Ins.TRANSIT_INITIALIZE: "交通卡交易初始化",
    Ins.TRANSIT_CREDIT: "交通卡圈存",
    Ins.TRANSIT_DEBIT: "交通卡消费",
    Ins.STARTING_DAY: "年度起始日期",
    Ins.TRANSIT_PROVE: "交通卡取交易认证",
    Ins.TRANSIT_GET_BALANCE: "交通卡查询余额",
    Ins.CHANGE_PIN: "修改密码",
    Ins.INIT_SAM_FOR_PURCHASE: "PSAM消费初始化",
    Ins.CREDIT_SAM_FOR_PURCHASE: "PSAM消费确认",
    Ins.EXTERNAL_AUTHENTICATION: "外部认证",
    Ins.GET_CHALLENGE: "取随机数",
    Ins.INTERNAL_AUTHENTICATION: "内部认证",
    Ins.SELECT: "选择文件",
    Ins.READ_BINARY: "读二进制文件",
    Ins.READ_RECORD: "读记录",
    Ins.GET_RESPONSE: "取应答",
    Ins.WRITE_KEY: "写密钥",
    Ins.UPDATE_BINARY: "写二进制文件",
    Ins.UPDATE_RECORD: "写记录",
    Ins.DELIVERY_SESSION_KEY: "PSAM分散密钥",
    Ins.CREATE_FILE: "建立文件",
    Ins.INITIALIZE_ENVIRONMENT: "PSAM环境初始化",
    Ins.DELETE_STRUCTURE: "删除文件结构",
    Ins.GET_CARD_STATUS: "取卡状态",
    Ins.SET_STATE: "置卡状态",
    Ins.CIPHER_DATA: "PSAM数据计算",
}
_MODES = {
    0: ("标识的第一条", "first with this identifier"),
    1: ("标识的最后一条", "last with this identifier"),
    2: ("标识的下一条", "next with this identifier"),
    3: ("标识的上一条；循环文件为追加", "previous with this identifier; appends to a cyclic file"),
    4: ("记录号", "record number"),
    5: ("从该记录号到最后", "from this number to the last"),
    6: ("从最后到该记录号", "from the last to this number"),
}
_SELECTIONS = {
    0x00: ("按文件标识", "by identifier"),
    0x02: ("当前应用下的文件", "file of the current application"),
    0x04: ("按名称", "by name"),
}
_BALANCES = {
    1: ("个人账户余额", "balance"),
    2: ("年度自付累计", "self-paid total"),
    3: ("年度统筹累计", "pooling total"),
}
_Words = tuple[str, str, str]


def name_of(cla: int, ins: int) -> tuple[str, str]:
    """Chinese and English name; the class tells ACTIVATE COS from SET STATE."""
    if (cla, ins) == (0x80, Ins.SET_STATE):
        return "激活COS", "ACTIVATE COS"
    try:
        return _CHINESE[Ins(ins)], command_name(ins)
    except (ValueError, KeyError):
        return "未知指令", f"unknown instruction {ins:02X}"


def describe_parameters(command: CommandApdu, spec: CardSpec) -> list[_Words]:
    """(label zh, label en, value) for what P1 and P2 say."""
    p1, p2 = command.p1, command.p2
    found: list[_Words] = []
    if command.cla & 0x0F == 0x04:
        found.append(("安全报文", "secure messaging", "MAC"))
    match command.ins:
        case Ins.SELECT:
            zh, en = _SELECTIONS.get(p1, ("未知方式", "unknown way"))
            found.append(("选择方式", "selection", f"{zh} / {en}"))
        case Ins.READ_RECORD | Ins.UPDATE_RECORD:
            zh, en = _MODES.get(p2 & 7, ("未知方式", "unknown mode"))
            found += [_file(p2 >> 3), ("方式", "mode", f"{zh} / {en}"), _record(p1, p2)]
        case Ins.READ_BINARY | Ins.UPDATE_BINARY:
            found += [_file(p1 & 0x1F if p1 & 0x80 else 0)]
            found.append(("偏移", "offset", str(p2 if p1 & 0x80 else p1 << 8 | p2)))
        case Ins.EXTERNAL_AUTHENTICATION:
            names = ", ".join(key.name for key in spec.keys if key.kid == p2 and not key.is_internal_only)
            found.append(("密钥标识", "key id", f"{p2:02X} ({names or '?'})"))
        case Ins.PIN_CHANGE_UNBLOCK:
            found.append(("方式", "mode", "重装 / reload" if p2 else "解锁 / unblock"))
        case Ins.INITIALIZE:
            found.append(("交易", "transaction", "医疗消费 / purchase" if p1 else "账户划入 / load"))
        case Ins.GET_BALANCE:
            found.append(("金额", "amount", " / ".join(_BALANCES.get(p2, ("未知", "unknown")))))
        case Ins.GET_TRANSACTION_PROOF:
            kinds = {0x31: "账户划入 / load", 0x32: "医疗消费 / purchase"}
            found.append(("交易", "transaction", kinds.get(p2, "未知 / unknown")))
        case Ins.STARTING_DAY:
            found.append(("方式", "mode", "读 / get" if p1 else "写 / update"))
        case Ins.DELIVERY_SESSION_KEY:
            found.append(("用途/标识", "usage/id", f"{p1:02X}/{p2:02X}"))
        case Ins.CREATE_FILE:
            found.append(("文件标识", "file identifier", f"{p1:02X}{p2:02X}"))
        case _:
            found.append(("参数", "P1 P2", f"{p1:02X} {p2:02X}"))
    return found


def _file(sfi: int) -> _Words:
    return "文件", "file", f"EF{sfi:02X} (SFI {sfi:02X})" if sfi else "当前文件 / current file"


def _record(p1: int, p2: int) -> _Words:
    if p2 & 7 >= 4:
        return "记录号", "record", str(p1) if p1 else "当前 / current"
    return "标识", "identifier", f"{p1:02X}"
