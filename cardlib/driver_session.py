"""The driver functions of installed programs on one card (terminal.md §11), keys from the PSAM.

Every function answers `(code, text)`: (0, the documented string), or a negative code and the error text in Chinese;
none raises for what a card, a terminal or a program does. PINs come from `PinEntry`, never as a parameter, and are
in no answer of these functions. Thread rule: that of the card's session. The functions by the security module are in
`cardlib.driver_hsm`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from types import TracebackType
from typing import Any, ClassVar, Concatenate, Final, ParamSpec, Protocol, Self, cast

from apdu.channel import Channel
from apdu.errors import NotFoundError, PinWrongError
from cardlib.bank import read_bank_card
from cardlib.driver import OK, error_answer, format_card_bas
from cardlib.driver_address import (
    AddressError,
    format_values,
    parse_addresses,
    parse_card_info,
    parse_pay_info,
    parse_values,
)
from cardlib.driver_card import DriverCard
from cardlib.driver_values import cyclic_records, read_values, write_values
from cardlib.errors import CardDataError, CardMismatchError
from cardlib.failures import FailureCode, failure_of
from cardlib.guard import KeyTries
from cardlib.management import rehearse_reload, reload_pin, unblock_pin
from cardlib.medical import LOG as DEBIT_LOG
from cardlib.medical import Journal, MedicalAccount, PurchaseAuthority
from cardlib.psam import PsamAbsentError, PsamError
from cardlib.session import BasicInformation, LastTryError
from cardlib.spec import AccessKind
from hsm.api import Algorithm, CardAuthenticator, MessageKeys
from hsm.transactions import TYPE_PURCHASE, Purchase

LOGGER = logging.getLogger("cardlib.driver")
WRONG_PARAMETER: Final = -14
AUTH_PIN, AUTH_KEY = 1, 2
ALGORITHM_IDS: Final = {Algorithm.TDES: "01", Algorithm.SM4: "03"}
"""算法标识 in the strings (terminal.md OPEN T5)."""

Answer = tuple[int, str]
P = ParamSpec("P")


class ParameterError(AddressError):
    """A number outside the interface. Driver code -14."""


class NoPinEntryError(Exception):
    """The terminal has nothing to type a PIN on. Driver code -13: this terminal does not have the function."""

    failure: ClassVar[str] = "COMMAND_REJECTED"


class ApplicationMissingError(Exception):
    """The card does not carry the application this function is about. Driver code -13."""

    failure: ClassVar[str] = "COMMAND_REJECTED"


class EnteredPin(Protocol):
    """Digits that are wiped at the end of the `with`."""

    @property
    def digits(self) -> str: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PinEntry(Protocol):
    """Where the holder types a PIN: a PIN pad, or the terminal's own dialog. Blocks."""

    def enter(self, *, is_new: bool) -> EnteredPin:
        """A new PIN is asked for twice. Raises errors with failures PIN_ENTRY_CANCELLED, PIN_ENTRY_TIMEOUT,
        PIN_LENGTH and PIN_ENTRIES_DIFFER."""
        ...


@dataclass(frozen=True, slots=True)
class DriverTerminal:
    """What the functions need beside the card. `addresses` maps key names to 密钥地址 of the security module; a name
    that is not in it is its own address."""

    journal: Journal
    number: str = "000000000000"
    device_number: str = ""
    authenticator: CardAuthenticator | None = None
    purchase: PurchaseAuthority | None = None
    pin_entry: PinEntry | None = None
    addresses: dict[str, str] = field(default_factory=dict)

    def address(self, key: str) -> str:
        return self.addresses.get(key, key)

    def require_authenticator(self) -> CardAuthenticator:
        """Raises PsamAbsentError."""
        if self.authenticator is None:
            raise PsamAbsentError("this function needs a PSAM")
        return self.authenticator

    def enter_pin(self, *, is_new: bool) -> EnteredPin:
        """Raises NoPinEntryError, or what the entry raises."""
        if self.pin_entry is None:
            raise NoPinEntryError("this terminal has no PIN pad")
        return self.pin_entry.enter(is_new=is_new)


def answers(function: Callable[Concatenate[Any, P], str]) -> Callable[Concatenate[Any, P], Answer]:
    """The text with code 0, or code and text of the exception."""

    @wraps(function)
    def answer(self: Any, *args: P.args, **kwargs: P.kwargs) -> Answer:
        try:
            return OK, function(self, *args, **kwargs)
        except Exception as error:
            if failure_of(error) is FailureCode.INTERNAL:
                LOGGER.error("%s: unforeseen %s", function.__name__, type(error).__name__, exc_info=error)
            return failed(error)

    return cast("Callable[Concatenate[Any, P], Answer]", answer)


def failed(error: BaseException) -> Answer:
    """As `error_answer`; a wrong PIN says how many tries are left."""
    code, text = error_answer(error)
    if isinstance(error, ParameterError):
        return WRONG_PARAMETER, text
    if isinstance(error, PinWrongError) and error.attempts_remaining:
        text = f"密码错误，还可尝试{error.attempts_remaining}次。{text}"
    return code, text


class DriverSession:
    """The functions on one powered card, from its insertion on; what the PIN opened stays open."""

    def __init__(
        self,
        channel: Channel,
        atr: bytes,
        terminal: DriverTerminal,
        *,
        protocol: str = "T=0",
        tries: KeyTries | None = None,
    ) -> None:
        self.terminal = terminal
        self.channel = channel
        self.protocol = protocol
        self._make: Callable[[], DriverCard] = lambda: DriverCard(channel, atr, protocol=protocol, tries=tries)
        self._card: DriverCard | None = None

    # -- basic information --------------------------------------------------------------------------------------

    @answers
    def read_card_bas(self) -> str:
        """iReadCardBas: the 11 items. Begins the session anew."""
        self._card = None
        card = self._make()
        basic = card.read_basic(self.terminal.authenticator)
        self._card = card
        return self.bas(basic)

    def bas(self, basic: BasicInformation) -> str:
        return format_card_bas(basic, terminal_number=self.terminal.number, device_number=self.terminal.device_number)

    # -- files --------------------------------------------------------------------------------------------------

    @answers
    def read_card(self, auth_type: int, card_info: str, file_addr: str) -> str:
        """iReadCard. `auth_type` 1 PIN, 2 key, where a file takes either (OPEN T7)."""
        if auth_type not in (AUTH_PIN, AUTH_KEY):
            raise ParameterError("iAuthType is 1 or 2")
        addresses = parse_addresses(file_addr)
        card = self.matching(card_info)
        keys = self.terminal.authenticator
        found = []
        for address in addresses:
            ef = card.known_spec().ef(address.path)
            by_pin = auth_type == AUTH_PIN and ef.read.kind is AccessKind.PIN_OR_KEY
            found.append((address, read_values(card, ef, address, None if by_pin else keys)))
        return format_values(found)

    @answers
    def write_card(self, card_info: str, file_addr: str, data: str) -> str:
        """iWriteCard. All values are checked before the first is written. The text is empty."""
        addresses = parse_addresses(file_addr)
        values = parse_values(data, addresses)
        card = self.matching(card_info)
        keys = self.terminal.require_authenticator()
        write_values(card, addresses, values, keys)
        return ""

    @answers
    def read_debit_record(self) -> str:
        """iReadDebitRecord: the records of DF04/EF08 as hex, newest first (OPEN T8)."""
        card = self.opened()
        ef = card.known_spec().ef(DEBIT_LOG)
        return "".join(f"{record}|" for record in cyclic_records(card, ef, None, None))

    # -- the PIN ------------------------------------------------------------------------------------------------

    @answers
    def verify_pin(self) -> str:
        """iVerifyPIN. A card without PIN needs no entry."""
        card = self.opened()
        if self._tries(card) is not None:
            with self.terminal.enter_pin(is_new=False) as pin:
                card.verify_pin(pin.digits)
        return ""

    @answers
    def change_pin(self) -> str:
        """iChangePIN: the old one where there is one, the new one twice."""
        card = self.opened()
        if self._tries(card) is None:
            with self.terminal.enter_pin(is_new=True) as new:
                card.change_pin("", new.digits)
            return ""
        with self.terminal.enter_pin(is_new=False) as old, self.terminal.enter_pin(is_new=True) as new:
            card.change_pin(old.digits, new.digits)
        return ""

    @answers
    def reload_pin(self, card_info: str) -> str:
        """iReloadPIN. -24, before anything is typed, where the PSAM's STK gives MACs alone."""
        card, keys = self.matching(card_info), self._message_keys()
        rehearse_reload(card, keys)
        with self.terminal.enter_pin(is_new=True) as pin:
            reload_pin(card, keys, pin.digits)
        return ""

    @answers
    def unblock_pin(self, card_info: str) -> str:
        """iUnblockPIN."""
        unblock_pin(self.matching(card_info), self._message_keys())
        return ""

    # -- settlement ---------------------------------------------------------------------------------------------

    @answers
    def do_debit(self, card_info: str, pay_info: str) -> str:
        """iDoDebit under the PSAM. A lost answer leaves the pending transaction in the terminal's journal."""
        pay = parse_pay_info(pay_info)
        card = self.matching(card_info)
        if self.terminal.purchase is None:
            raise PsamAbsentError("a settlement needs a PSAM")
        receipt = MedicalAccount(card).purchase(pay.amounts, self.terminal.purchase, pay.time, self.terminal.journal)
        if not isinstance(receipt.transaction, Purchase):
            raise CardDataError("the card carried out something else")
        return self.debit_text(card, receipt.transaction, receipt.tac)

    def debit_text(self, card: DriverCard, purchase: Purchase, tac: bytes) -> str:
        """算法标识|密钥地址|金额 8+8 hex|类型|终端机编号|终端序号|时间|TAC|"""
        items = (
            ALGORITHM_IDS[card.known_algorithm()],
            self.terminal.address("DPK"),
            purchase.amounts[4:].hex().upper(),
            f"{TYPE_PURCHASE:02X}",
            purchase.terminal.hex().upper(),
            purchase.number.hex().upper(),
            purchase.time.hex(),
            tac.hex().upper(),
        )
        return "".join(f"{item}|" for item in items)

    # -- beside the social security part ------------------------------------------------------------------------

    @answers
    def read_ic_card_number(self) -> str:
        """iReadICCardNum, a vendors' extra: the bank card number (card_digest.md §4.3). -13 where there is none."""
        self.leave()
        try:
            return read_bank_card(self.channel, protocol=self.protocol).number
        except NotFoundError:
            raise ApplicationMissingError("this card has no bank application") from None

    # -- the session --------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Another application of the card is about to be selected; the next function opens this one anew."""
        self._card = None

    def opened(self) -> DriverCard:
        """The card, opened where no function did before."""
        if self._card is None:
            card = self._make()
            card.open()
            self._card = card
        return self._card

    def renewed(self) -> DriverCard:
        """The card, opened anew."""
        self.leave()
        return self.opened()

    def matching(self, card_info: str) -> DriverCard:
        """The card, when it is the one of pCardInfo. Raises CardMismatchError (-22), AddressError."""
        code, number = parse_card_info(card_info)
        card = self.opened()
        if (card.identification_code, card.card_number) != (code, number):
            raise CardMismatchError("another card is in the reader")
        return card

    def _message_keys(self) -> MessageKeys:
        keys = self.terminal.require_authenticator()
        if not isinstance(keys, MessageKeys):
            raise PsamError("this PSAM secures no commands of the card")
        return keys

    @staticmethod
    def _tries(card: DriverCard) -> int | None:
        tries = card.pin_tries()
        if tries == 0:
            raise LastTryError(0)
        return tries


__all__ = [
    "Answer",
    "ApplicationMissingError",
    "DriverSession",
    "DriverTerminal",
    "EnteredPin",
    "NoPinEntryError",
    "ParameterError",
    "PinEntry",
    "answers",
    "failed",
]
