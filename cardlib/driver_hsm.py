"""The same functions in two and three steps, keys from the security module (terminal.md §11, card_digest.md §3.6).

A step's text goes to the centre, its answer comes back as pKey of the next step. In between the card stays powered and
nothing else is sent to it: a step out of order, or a lost card, ends the flow. Reading and writing handle the first
file of pFileAddr, as installed drivers do. The centre's side is `cardlib.hsm_route`.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import ClassVar, Final

from apdu.command import CommandApdu
from cardlib import commands as c
from cardlib.driver_address import (
    FileAddress,
    format_values,
    hex_field,
    parse_addresses,
    parse_pay_info,
    parse_time,
    parse_values,
    split_fields,
)
from cardlib.driver_card import DriverCard, Proved, SteppedPurchase, bcd_time
from cardlib.driver_session import ALGORITHM_IDS, DriverSession, answers
from cardlib.driver_values import read_values, write_values
from cardlib.errors import CardNotGenuineError
from cardlib.medical import Permit
from cardlib.session import encode_pin
from cardlib.spec import Access, AccessKind
from hsm.api import Algorithm
from hsm.transactions import TYPE_PURCHASE, Purchase

VALUE: Final = 8
UNBLOCK_HEADER: Final = "8424000004"
RELOAD_HEADERS: Final = {Algorithm.TDES: "842400010C", Algorithm.SM4: "8424000114"}
READ_BAS, READ, WRITE, RELOAD, UNBLOCK, DEBIT = "bas", "read", "write", "reload", "unblock", "debit"


class StepNotNeededError(Exception):
    """The file opens without a key, or is open already. Driver code -2204."""

    failure: ClassVar[str] = "HSM_STEP_NOT_NEEDED"


class StepOrderError(Exception):
    """A later step without its earlier ones. Driver code -23."""

    failure: ClassVar[str] = "INPUT_INVALID"


@dataclass(slots=True)
class _Pending:
    """What a step left for the next one; `original` was sent to the centre and must come back."""

    flow: str
    step: int
    key: str = ""
    factor: bytes = b""
    original: bytes = b""
    addresses: tuple[FileAddress, ...] = ()
    internal: tuple[bytes, bytes] = (b"", b"")
    header: bytes = b""
    purchase: Purchase | None = None


class HsmSteps:
    """Steps on the card of `session`, one flow at a time."""

    def __init__(self, session: DriverSession) -> None:
        self._session = session
        self._pending: _Pending | None = None

    def reset(self) -> None:
        """Another function used the card: a flow begun before cannot go on."""
        self._pending = None

    # -- basic information --------------------------------------------------------------------------------------

    @answers
    def read_card_bas_step1(self) -> str:
        """区划|复位信息|算法标识|卡识别码|内部过程因子|内部原始|外部过程因子|外部原始|

        The last two are empty where EF06 is free, as on 1.0 and 2.0.
        """
        self.reset()
        card = self._session.renewed()
        factor, original = secrets.token_bytes(VALUE), secrets.token_bytes(VALUE)
        # Asked now: the challenge of the external authentication must be the card's last command before Step2.
        answer = card.send(c.internal_authentication(factor, original)).data
        pending = _Pending(READ_BAS, 1, internal=(answer, original))
        access = card.known_spec().ef("SSSEEF06").read
        if access.names_key:
            pending.key = access.key
            pending.factor, pending.original = card.challenge_for(access.key)
        self._pending = pending
        items = (
            card.region,
            card.reset_information.hex().upper(),
            _algorithm_id(card),
            card.identification_code,
            *(part.hex().upper() for part in (factor, original, pending.factor, pending.original)),
        )
        return "".join(f"{item}|" for item in items)

    @answers
    def read_card_bas_step2(self, key: str) -> str:
        """内部鉴别16+内部原始16|外部鉴别16+外部原始16| in; the 11 items out."""
        pending, card = self._next(READ_BAS, 1)
        internal, external = split_fields(key, 2)
        answer, original = pending.internal
        if not hmac.compare_digest(_value(internal, original), answer):
            raise CardNotGenuineError("internal authentication failed")
        if pending.key:
            card.prove(pending.key, _value(external, pending.original), pending.original)
        return self._session.bas(card.read_proved())

    # -- files --------------------------------------------------------------------------------------------------

    @answers
    def read_card_step1(self, card_info: str, file_addr: str) -> str:
        """算法标识|密钥地址|过程因子|原始信息|, or -2204."""
        self.reset()
        addresses = parse_addresses(file_addr)[:1]
        card = self._session.matching(card_info)
        return self._authentication(READ, card, card.known_spec().ef(addresses[0].path).read, addresses)

    @answers
    def read_card_step2(self, key: str) -> str:
        pending, card = self._next(READ, 1)
        self._prove(pending, card, key)
        address = pending.addresses[0]
        ef = card.known_spec().ef(address.path)
        return format_values([(address, read_values(card, ef, address, Proved()))])

    @answers
    def write_card_step1(self, card_info: str, file_addr: str) -> str:
        """As for reading."""
        self.reset()
        addresses = parse_addresses(file_addr)[:1]
        card = self._session.matching(card_info)
        return self._authentication(WRITE, card, card.known_spec().ef(addresses[0].path).write, addresses)

    @answers
    def write_card_step2(self, key: str, data: str) -> str:
        pending, card = self._next(WRITE, 1)
        values = parse_values(data, pending.addresses)
        self._prove(pending, card, key)
        write_values(card, pending.addresses, values, Proved())
        return ""

    # -- the PIN ------------------------------------------------------------------------------------------------

    @answers
    def reload_pin_step1(self, card_info: str) -> str:
        """算法标识|密钥地址|过程因子|原始信息| of PUK."""
        return self._pin_step1(RELOAD, card_info)

    @answers
    def reload_pin_step2(self, key: str) -> str:
        """算法标识|密钥地址|过程因子|命令头|新PIN|: the holder types the PIN now, and it goes to the centre alone."""
        return self._pin_step2(RELOAD, key)

    @answers
    def reload_pin_step3(self, key: str) -> str:
        """The whole command in hex: header, cipher, MAC."""
        return self._pin_step3(RELOAD, key)

    @answers
    def unblock_pin_step1(self, card_info: str) -> str:
        """As for the reload."""
        return self._pin_step1(UNBLOCK, card_info)

    @answers
    def unblock_pin_step2(self, key: str) -> str:
        """As for the reload, 新PIN empty."""
        return self._pin_step2(UNBLOCK, key)

    @answers
    def unblock_pin_step3(self, key: str) -> str:
        """The whole command in hex: header, MAC."""
        return self._pin_step3(UNBLOCK, key)

    def _pin_step1(self, flow: str, card_info: str) -> str:
        self.reset()
        card = self._session.matching(card_info)
        card.select("SSSE")
        factor, original = card.challenge_for("PUK")
        self._pending = _Pending(flow, 1, key="PUK", factor=factor, original=original)
        return self._line(card, "PUK", factor, original)

    def _pin_step2(self, flow: str, key: str) -> str:
        pending, card = self._next(flow, 1)
        _value(key, pending.original)  # a malformed pKey is no reason to ask the holder
        header, pin = UNBLOCK_HEADER, ""
        if flow == RELOAD:
            header = RELOAD_HEADERS[card.known_algorithm()]
            with self._session.terminal.enter_pin(is_new=True) as entered:
                encode_pin(entered.digits)
                pin = entered.digits
        self._prove(pending, card, key)
        factor = card.send(c.get_challenge()).data
        self._pending = _Pending(flow, 2, header=bytes.fromhex(header))
        items = (_algorithm_id(card), self._session.terminal.address("STK"), factor.hex().upper(), header, pin)
        return "".join(f"{item}|" for item in items)

    def _pin_step3(self, flow: str, key: str) -> str:
        pending, card = self._next(flow, 2)
        cla, ins, p1, p2, length = pending.header
        command = hex_field(key, 5 + length)
        if command[:5] != pending.header:
            raise StepOrderError("the centre secured another command")
        # Whatever the outcome, the card asks for PUK anew.
        card.forget_authentication("PUK")
        card.send(CommandApdu(cla, ins, p1, p2, command[5:]))
        card.forget_pin()
        return ""

    # -- settlement ---------------------------------------------------------------------------------------------

    @answers
    def do_debit_step1(self, card_info: str, pay_info: str) -> str:
        """算法标识|密钥地址|伪随机数|交易序号|金额 8+8 hex|交易类型|终端机编号|时间|"""
        self.reset()
        pay = parse_pay_info(pay_info)
        card = self._session.matching(card_info)
        terminal = hex_field(self._session.terminal.number, 6)
        draft = SteppedPurchase(card).begin(pay.amounts, terminal, pay.time)
        self._pending = _Pending(DEBIT, 1, purchase=draft)
        items = (
            _algorithm_id(card),
            self._session.terminal.address("DPK"),
            draft.random.hex().upper(),
            f"{draft.sequence:04X}",
            draft.amounts[4:].hex().upper(),
            f"{TYPE_PURCHASE:02X}",
            self._session.terminal.number,
            draft.time.hex(),
        )
        return "".join(f"{item}|" for item in items)

    @answers
    def do_debit_step2(self, key: str) -> str:
        """终端交易序号|时间|MAC1| in; MAC2 and the items of iDoDebit out."""
        pending, card = self._next(DEBIT, 1)
        number, time, mac1 = split_fields(key, 3)
        permit = Permit(hex_field(number, 4), hex_field(mac1, 4))
        if pending.purchase is None:
            raise StepOrderError("no settlement was begun")
        purchase, tac, mac2 = SteppedPurchase(card).complete(
            pending.purchase, permit, bcd_time(parse_time(time)), self._session.terminal.journal
        )
        return f"{mac2.hex().upper()}|{self._session.debit_text(card, purchase, tac)}"

    # -- helpers ------------------------------------------------------------------------------------------------

    def _authentication(self, flow: str, card: DriverCard, access: Access, addresses: tuple[FileAddress, ...]) -> str:
        path = addresses[0].path
        card.select(card.known_spec().ef(path).df)
        is_open = access.kind is AccessKind.PIN_OR_KEY and card.is_pin_verified
        if not access.names_key or is_open:
            raise StepNotNeededError(f"{path} needs no key")
        factor, original = card.challenge_for(access.key)
        self._pending = _Pending(flow, 1, key=access.key, factor=factor, original=original, addresses=addresses)
        return self._line(card, access.key, factor, original)

    def _line(self, card: DriverCard, key: str, factor: bytes, original: bytes) -> str:
        items = (_algorithm_id(card), self._session.terminal.address(key), factor.hex().upper(), original.hex().upper())
        return "".join(f"{item}|" for item in items)

    def _next(self, flow: str, step: int) -> tuple[_Pending, DriverCard]:
        """What the step before left; used up, whatever comes. Raises StepOrderError."""
        pending, self._pending = self._pending, None
        if pending is None or (pending.flow, pending.step) != (flow, step):
            raise StepOrderError("the step before this one is missing")
        return pending, self._session.opened()

    @staticmethod
    def _prove(pending: _Pending, card: DriverCard, key: str) -> None:
        card.prove(pending.key, _value(key, pending.original), pending.original)


def _value(text: str, original: bytes) -> bytes:
    """鉴别数据 of `鉴别16+原始16`. Raises AddressError, StepOrderError when it is about another original."""
    raw = hex_field(text, 2 * VALUE)
    if raw[VALUE:] != original:
        raise StepOrderError("the centre answered another request")
    return raw[:VALUE]


def _algorithm_id(card: DriverCard) -> str:
    return ALGORITHM_IDS[card.known_algorithm()]
