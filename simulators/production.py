"""The partners of batch production: bank, certification authority, card factory, initialization centre.

Each reads the file it was sent by the titles in its first line and writes the file it sends back, with its own columns
(ecard_and_business §4.3), line by line. What goes wrong is drawn from a seed: lines no program can take (`bad`), things
that failed (`failed`), lines that never come back (`missing`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO, ClassVar, Final

from cardlib.spec import Generation, load
from simulators.card import crypto
from simulators.card.crypto import Algorithm
from simulators.factory import Factors, algorithm_name, historical_bytes
from simulators.ministry import RootKeys

ENCODING: Final = "gb18030"
END: Final = b"\r\n"
_RID: Final = "D156000005"
_NOT_SENT: Final = 900_000_000
Line = list[str]


class PartnerFileError(Exception):
    """The file that was sent cannot be read."""

    failure: ClassVar[str] = "INPUT_INVALID"


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares of lines, each drawn by itself; the same seed gives the same faults."""

    bad: float = 0.0
    failed: float = 0.0
    missing: float = 0.0
    seed: int = 1


@dataclass(slots=True)
class Answer:
    """What a partner did: lines read and written, and which of those it spoiled, by their number in its file."""

    read: int = 0
    written: int = 0
    failed: int = 0
    missing: int = 0
    bad: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Partner:
    """`titles` of the file sent back; `good` and `failed` make its values from a line of the file that came."""

    titles: tuple[str, ...]
    delimiter: str
    good: Callable[[dict[str, str], random.Random], Line]
    failed: Callable[[dict[str, str], random.Random], Line]

    def answer(self, source: Iterable[bytes], target: BinaryIO, faults: Faults) -> Answer:
        """Read `source` line by line and write the return file. Raises PartnerFileError."""
        dice = random.Random(faults.seed)
        done = Answer()
        target.write(self.delimiter.join(self.titles).encode(ENCODING) + END)
        for sent in _records(source):
            done.read += 1
            fate = dice.random()
            if fate < faults.missing:
                done.missing += 1
                continue
            has_failed = fate < faults.missing + faults.failed
            line = (self.failed if has_failed else self.good)(sent, dice)
            done.failed += has_failed
            done.written += 1
            data = self.delimiter.join(line).encode(ENCODING)
            if not has_failed and fate < faults.missing + faults.failed + faults.bad:
                kind = dice.choice(tuple(_SPOILED))
                data = _SPOILED[kind](line, self.delimiter)
                done.bad[done.written + 1] = kind
            target.write(data + END)
        return done


def _records(source: Iterable[bytes], delimiter: str = "|") -> Iterator[dict[str, str]]:
    titles: Sequence[str] = ()
    for raw in source:
        values = raw.rstrip(b"\r\n").decode(ENCODING).split(delimiter)
        if not titles:
            titles = values
        elif len(values) != len(titles):
            raise PartnerFileError("a line has another number of columns than the titles")
        else:
            yield dict(zip(titles, values, strict=True))


# -- what spoils a line -----------------------------------------------------------------------------------------------


def _joined(line: Line, delimiter: str) -> bytes:
    return delimiter.join(line).encode(ENCODING)


def _cut(line: Line, delimiter: str) -> bytes:
    return _joined(line[:-2], delimiter)


def _garbled(line: Line, delimiter: str) -> bytes:
    return _joined(line[:2], delimiter) + b"\xff\xff" + _joined(line[2:], delimiter)


def _other_digit(line: Line, delimiter: str) -> bytes:
    number = line[1][:-1] + ("1" if line[1][-1] != "1" else "2")
    return _joined([line[0], number, *line[2:]], delimiter)


def _no_number(line: Line, delimiter: str) -> bytes:
    return _joined([line[0], "", *line[2:]], delimiter)


def _not_sent(line: Line, delimiter: str) -> bytes:
    return _joined([str(int(line[0]) % _NOT_SENT + _NOT_SENT), *line[1:]], delimiter)


def _control(line: Line, delimiter: str) -> bytes:
    return _joined([*line[:-1], line[-1] + "\x07"], delimiter)


_SPOILED: Final[dict[str, Callable[[Line, str], bytes]]] = {
    "columns are missing": _cut,
    "bytes are no GB 18030": _garbled,
    "check digit is wrong": _other_digit,
    "card number is empty": _no_number,
    "line was not sent": _not_sent,
    "control character": _control,
}
"""Each of these makes a line that must not be taken, whatever else it says."""


# -- the partners -----------------------------------------------------------------------------------------------------


def bank(name: str = "模拟银行", prefix: str = "622848") -> Partner:
    """Opens an account for everybody, with a card number that has a right check digit."""

    def good(sent: dict[str, str], dice: random.Random) -> Line:
        number = prefix + f"{dice.randrange(10**12):012d}"
        account = f"{dice.randrange(10**15):015d}"
        return [*_identity(sent), "0", name, number + _luhn_digit(number), account, ""]

    def failed(sent: dict[str, str], dice: random.Random) -> Line:
        result, reason = dice.choice((("1", "客户资料不全"), ("2", "姓名与号码不符")))
        return [*_identity(sent), result, "", "", "", reason]

    titles = ("序号", "社保卡号", "社会保障号码", "姓名", "开户结果", "服务银行", "银行卡号", "个人帐户", "失败原因")
    return Partner(titles, "|", good, failed)


def certification_authority() -> Partner:
    def good(sent: dict[str, str], dice: random.Random) -> Line:
        return [sent["序号"], sent["社保卡号"], "0", dice.randbytes(16).hex().upper(), ""]

    def failed(sent: dict[str, str], _dice: random.Random) -> Line:
        return [sent["序号"], sent["社保卡号"], "1", "", "证书申请被拒绝"]

    return Partner(("序号", "社保卡号", "结果", "证书序列号", "失败原因"), "|", good, failed)


def card_factory(region: str, first_serial: int = 1, box_size: int = 500) -> Partner:
    """Chips of its own, numbered upwards from `first_serial` in the order of the lines."""

    def good(sent: dict[str, str], _dice: random.Random) -> Line:
        place = int(sent["序号"])
        serial = first_serial + place - 1
        chip = historical_bytes(region, serial).hex().upper()
        code = f"{region}{_RID}{serial:08X}FFFFFFFF"
        dates = [sent["制卡日期"], sent["有效期至"]]
        box = f"{1 + (place - 1) // box_size}-{1 + (place - 1) % box_size}"
        return [*_identity(sent), *dates, code, chip, "", sent["银行卡号"], sent["个人帐户"], box, "", ""]

    def failed(sent: dict[str, str], dice: random.Random) -> Line:
        stage, reason = dice.choice((("制卡", "芯片写入失败"), ("银行", "银行卡号重复")))
        return [*_identity(sent), *[""] * 8, stage, reason]

    titles = (
        *("序号", "社保卡号", "社会保障号码", "姓名", "发卡日期", "卡有效期", "卡识别码", "卡复位码"),
        *("服务银行", "银行卡号", "个人帐户", "装箱位置", "失败环节", "失败原因"),
    )
    return Partner(titles, ",", good, failed)


def initialization_centre(region: str, generation: Generation, roots: RootKeys) -> Partner:
    """Puts every card on a reader: it answers INTERNAL AUTHENTICATION, a failed one with another card's key."""
    algorithm = Algorithm(load(generation).algorithm_id)
    spec = load(generation).key("IRK")

    @lru_cache(maxsize=4)
    def city_key(place: str) -> bytes:
        value = roots.root(spec.name, algorithm_name(algorithm))
        for factor in Factors(place, bytes(13)).of_level(spec.root_level)[:-1]:
            value = crypto.diversify(algorithm, value, factor)
        return value

    def answer(sent: dict[str, str], factor: bytes) -> Line:
        key = crypto.diversify(algorithm, city_key(region), factor)
        session = crypto.session_key(algorithm, key, bytes.fromhex(sent["鉴别随机数"]))
        value = crypto.authentication_value(algorithm, session, bytes.fromhex(sent["鉴别原始数据"]))
        return [sent["序号"], sent["社保卡号"], value.hex().upper(), ""]

    def good(sent: dict[str, str], _dice: random.Random) -> Line:
        return answer(sent, bytes.fromhex(sent["卡复位码"])[5:])

    def failed(sent: dict[str, str], dice: random.Random) -> Line:
        return answer(sent, dice.randbytes(8))

    return Partner(("序号", "社保卡号", "鉴别数据", "失败原因"), "|", good, failed)


def _identity(sent: dict[str, str]) -> Line:
    return [sent[title] for title in ("序号", "社保卡号", "社会保障号码", "姓名")]


def _luhn_digit(body: str) -> str:
    total = 0
    for place, character in enumerate(reversed(body)):
        digit = int(character) * (2 - place % 2)
        total += digit - 9 if digit > 9 else digit
    return str(-total % 10)
