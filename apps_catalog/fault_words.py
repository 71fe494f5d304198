"""What a `Fault` says, for people who fill in a form: in both languages, without the words of TOML."""

from __future__ import annotations

import re
from typing import Final

from apps_catalog.model import Text

_WORDS: Final[tuple[tuple[str, str, str], ...]] = (
    (r"is missing: a version above 1 says what it changed", "改过的事项要写明改了什么", "Say what was changed"),
    (r"is missing|must have 1 to \d+ entries", "还没有填写", "Nothing was given"),
    (
        r"must not be empty or begin or end with a space",
        "不能为空，首尾不能有空格",
        "Must not be empty, nor begin or end with a space",
    ),
    (r"must be one line of at most (\d+) characters", "只能写一行，最多{}个字符", "One line of at most {} characters"),
    (
        r"has the invisible character (\S+)",
        "有看不见的字符{}，请删去重写",
        "Has the invisible character {}: type it anew",
    ),
    (r"must have at most (\d+) characters", "最多{}个字符", "At most {} characters"),
    (r".* does not have the form .*", "写法不对", "Not in the form it must have"),
    (r"has no Chinese character", "中文栏里没有汉字", "The Chinese text has no Chinese character"),
    (r"has Chinese characters", "英文栏里有汉字", "The English text has Chinese characters"),
    (r"must be a (?:string|table|list of tables|list of strings)", "写法不对", "Not in the form it must have"),
    (r"names an entry twice", "同一项写了两次", "The same entry is there twice"),
    (r".* is none of .*", "不在可选范围内", "None of the choices"),
    (r"must be a whole number from (\d+)", "要写不小于{}的整数", "A whole number from {}"),
    (r"must be a whole number from (\d+) to (\d+)", "要写{}到{}的整数", "A whole number from {} to {}"),
    (r"must be true or false", "只能是或否", "Must be yes or no"),
    (r"must be a date written as .*", "不是日期", "Not a date"),
    (r"is not a known field", "没有这一项", "There is no such field"),
    (r"(.*) is no domain of this catalog", "目录里没有这个领域", "The catalog has no such domain"),
    (r".* is no source of this catalog", "目录里没有这个依据", "The catalog has no such source"),
    (r"must begin with (\S+)", "编号要以{}开头", "Must begin with {}"),
    (r".* is no area of the regions covered", "不是目录覆盖的地区", "Outside the regions of the catalog"),
    (
        r".* is in none of the areas that offer the item",
        "这个地点不在“可用地区”之内",
        "The place lies in none of the areas that offer the item",
    ),
    (r".* is no area, nor .*", "不是区划代码", "No area code"),
    (r"\d+ already holds every other entry", "选了“全国”就不再选其他", "“Every place” already holds every other entry"),
    (
        r".* does not belong in the part of .*",
        "层级与归属不符：三地共有的为国家或京津冀，一省的为省级或市级",
        "The level does not fit: national or regional where three share it, province or city for one's own",
    ),
    (r".* is not in \w+, which owns this file", "不在本省（市）之内", "Not in the province that answers for it"),
    (r".* does not fit the area .*", "层级与地区不符", "The level does not fit the area"),
    (
        r"a benefit is paid to the bank_account",
        "领取待遇要用社保卡银行账户，请在用卡方式中选它",
        "A benefit is paid to the card's bank account: choose it among the carriers",
    ),
    (
        r"a bank_account serves benefit, payment or finance only",
        "银行账户只用于领取待遇、缴费或金融支付，请选其中一种用途",
        "A bank account serves benefits, fees or payment only: choose one of them",
    ),
    (
        r"a QR code outside transport is checked online",
        "交通以外的二维码都要联网核验",
        "A code outside transport is checked online",
    ),
    (
        r"an online matter needs the qr or bank_account carrier",
        "线上办理要有二维码或银行账户",
        "An online matter needs the code or the bank account",
    ),
    (
        r"is given exactly when the item is more than planned",
        "计划中的事项没有启用日期，其他事项必须有",
        "A planned item has no first day, every other has one",
    ),
    (r"lies before effective_from", "早于启用日期", "Lies before the first day"),
    (
        r"is less than age_from, so that nobody is of that age",
        "小于最低年龄，没有人符合",
        "Less than the lowest age, so that nobody is of that age",
    ),
    (
        r"asks for an electronic card, but qr is not among the carriers",
        "要求电子社保卡，用卡方式里却没有二维码",
        "Asks for the electronic card, but its code is not among the carriers",
    ),
    (
        r"asks for the account, but .*",
        "要求开通金融功能，用卡方式里却没有银行账户或二维码",
        "Asks for the account, but neither it nor the code is among the carriers",
    ),
    (
        r"asks for the transit purse, but .*",
        "要求开通交通功能，用卡方式里却没有刷卡",
        "Asks for the transit purse, but tapping is not among the carriers",
    ),
    (r".* has no use: .*", "设备与用卡方式不符", "The equipment reads none of the carriers"),
    (r"is used by an earlier item", "编号已被别的事项使用", "Another item has this id"),
    (r"is not UTF-8", "文件不是UTF-8编码", "The file is not in UTF-8"),
    (r"is not TOML.*", "不是TOML的写法", "Not written as TOML"),
    (r"(?:.* )?is larger than (\d+) bytes", "文件超过{}字节", "The file is larger than {} bytes"),
    (r"unpacks to more than (\d+) bytes", "工作簿展开后超过{}字节", "The workbook unpacks to more than {} bytes"),
    (r"is no readable XLSX workbook.*", "打不开这个XLSX工作簿，文件可能不完整", "The XLSX workbook cannot be opened"),
    (r"is neither UTF-8 nor GB 18030.*", "文件编码既不是UTF-8也不是GB 18030", "Neither in UTF-8 nor in GB 18030"),
    (r".* has no line under its headings", "栏目名下面没有内容", "There is no line under the headings"),
    (r".* is there already", "草稿里已有同名文件", "The draft has a file of this name"),
    (
        r"unknown heading '(.*?)'; there are (.*)",
        "不认识栏目“{}”；可用的有{}",
        'No heading "{}" is known; there are {}',
    ),
    (r"heading '(.*)' is there twice", "栏目“{}”写了两次", 'The heading "{}" is there twice'),
    (r"the heading '(.*)' is missing", "缺少栏目“{}”", 'The heading "{}" is missing'),
    (r"line (\d+): more than (\d+) lines", "第{}行起超过{}行的上限", "Line {}: more than {} lines"),
    (
        r"line (\d+): more than (\d+) columns, or a cell of over (\d+) characters",
        "第{}行超过{}栏，或有一格超过{}个字符",
        "Line {}: more than {} columns, or a cell of over {} characters",
    ),
    (r"line (\d+): .*", "第{}行的引号或分隔符不对", "Line {}: its quotes or commas are wrong"),
    (r"must have at least one entry", "至少要有一项", "At least one entry is needed"),
    (
        r"(.*) is neither 'joint' nor a region of this catalog",
        "归属{}不是目录里的省份",
        "{} is no province of the catalog",
    ),
)
_KNOWN: Final = tuple((re.compile(pattern, re.DOTALL), zh, en) for pattern, zh, en in _WORDS)
_OTHER: Final = Text("写法不对", "Not in the form it must have")


def words_of(text: str) -> Text:
    """For the `text` of a Fault."""
    return known_words(text) or _OTHER


def known_words(text: str) -> Text | None:
    """As `words_of`; None for what is no Fault of an item."""
    for pattern, zh, en in _KNOWN:
        found = pattern.fullmatch(text)
        if found:
            return Text(zh.format(*found.groups()), en.format(*found.groups()))
    return None
