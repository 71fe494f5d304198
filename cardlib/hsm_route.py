"""The centre's side of the security-module route: Step strings of a terminal in, pKey out (card_digest.md §3.6).

Only the card's own commands can be asked for: the messages are built or checked here, so that no key answers for
anything else. The factors of the card come from its basic string, or from the centre's records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cardlib.driver_address import AddressError, hex_field, parse_time, split_fields
from cardlib.driver_card import bcd_time
from cardlib.driver_hsm import RELOAD_HEADERS, UNBLOCK_HEADER, VALUE
from cardlib.driver_session import ALGORITHM_IDS, Answer, failed
from cardlib.identity import card_factor
from cardlib.session import encode_pin
from hsm.api import Algorithm, CardFactors, KeyRef, KeyService, Purpose
from hsm.transactions import TYPE_PURCHASE, Purchase, TransactionKeys

FALL_BACK: Final = frozenset({-2201, -2202, -2203, -27272, -24})
"""Codes after which the security module may do what the PSAM could not (terminal.md §7); -21, -51, -52 never."""
_ALGORITHMS = {identifier: algorithm for algorithm, identifier in ALGORITHM_IDS.items()}


@dataclass(frozen=True, slots=True)
class DebitOrder:
    """One settlement as Step1 asked for it, numbered; `pkey` is the answer to the terminal."""

    purchase: Purchase
    key: KeyRef
    pkey: str


@dataclass(frozen=True, slots=True)
class HsmRoute:
    """Answers under `keys`. `addresses` as in `DriverTerminal`; `next_number` gives transaction numbers, each once."""

    keys: KeyService
    transactions: TransactionKeys
    next_number: Callable[[], int]
    addresses: Mapping[str, str] = field(default_factory=dict)

    def card_bas(self, step1: str) -> str:
        """pKey of iReadCardBas_HSM_Step2. A ninth item, the terminal's own number, is let pass. Raises AddressError."""
        items = split_fields(step1, 9 if step1.count("|") == 9 else 8)
        factors = factors_of(items[0], items[1])
        algorithm = _algorithm(items[2])
        internal = self._value(KeyRef("IRK", algorithm), factors, items[4], items[5])
        external = self._value(KeyRef("RK_SSSE", algorithm), factors, items[6], items[7]) if items[6] else ""
        return f"{internal}|{external}|"

    def authentication(self, step1: str, factors: CardFactors) -> str:
        """pKey for Step2 of reading, writing, PIN reload and unblock. Raises AddressError."""
        algorithm, address, factor, original = split_fields(step1, 4)
        return self._value(self._ref(address, algorithm), factors, factor, original)

    def pin_command(self, step2: str, factors: CardFactors) -> str:
        """pKey for Step3: the secured command. Raises AddressError for any other than reload and unblock."""
        algorithm, address, factor, header, pin = split_fields(step2, 5)
        ref = self._ref(address, algorithm)
        expected = RELOAD_HEADERS[ref.algorithm] if pin else UNBLOCK_HEADER
        # Some drivers write a blank before Lc.
        raw = hex_field(header.replace(" ", ""), 5)
        if raw.hex().upper() != expected or ref.name != "STK":
            raise AddressError("neither a PIN reload nor an unblock")
        data = encode_pin(pin) if pin else b""
        challenge = hex_field(factor, VALUE)
        body = self.keys.secured_data(ref, factors, challenge, raw[:4], data, encrypt=bool(data))
        return (raw + body).hex().upper()

    def debit(self, step1: str, factors: CardFactors) -> DebitOrder:
        """MAC1 for a settlement, under a new transaction number. Raises AddressError."""
        algorithm, address, random, sequence, amounts, kind, terminal, time = split_fields(step1, 8)
        ref = self._ref(address, algorithm)
        raw = hex_field(amounts, 8)
        if kind != f"{TYPE_PURCHASE:02X}":
            raise AddressError("only a settlement is debited")
        purchase = Purchase(
            hex_field(random, 4),
            int.from_bytes(hex_field(sequence, 2), "big"),
            0,
            int.from_bytes(raw[:4], "big"),
            int.from_bytes(raw[4:], "big"),
            hex_field(terminal, 6),
            self.next_number().to_bytes(4, "big"),
            bcd_time(parse_time(time)),
        )
        mac1 = self.transactions.purchase_mac1(ref, factors, purchase)
        pkey = f"{purchase.number.hex().upper()}|{time}|{mac1.hex().upper()}|"
        return DebitOrder(purchase, ref, pkey)

    def check_debit(self, step2: str, order: DebitOrder, factors: CardFactors) -> None:
        """MAC2 and TAC of iDoDebit_HSM_Step2. Raises CryptogramError, AddressError."""
        mac2, *items, tac = split_fields(step2, 9)
        if items[2] != order.purchase.amounts[4:].hex().upper() or items[5] != order.purchase.number.hex().upper():
            raise AddressError("the receipt of another settlement")
        self.transactions.check_purchase(order.key, factors, order.purchase, hex_field(mac2, 4))
        self.transactions.check_tac(KeyRef("DTK", order.key.algorithm), factors, order.purchase, hex_field(tac, 4))

    def _value(self, ref: KeyRef, factors: CardFactors, factor: str, original: str) -> str:
        """鉴别16+原始16."""
        raw = hex_field(original, VALUE)
        if self.keys.info(ref).purpose is not Purpose.AUTHENTICATION:
            raise AddressError(f"{ref.name} authenticates nobody")
        return (self.keys.authentication_value(ref, factors, hex_field(factor, VALUE), raw) + raw).hex().upper()

    def _ref(self, address: str, algorithm: str) -> KeyRef:
        names = {given: name for name, given in self.addresses.items()}
        name = names.get(address, "" if address in self.addresses else address)
        return KeyRef(name, _algorithm(algorithm))


def factors_of(region: str, reset_information: str) -> CardFactors:
    """From items 1 and 6 of the basic string. Raises AddressError."""
    if not (len(region) == 6 and region.isascii() and region.isdigit()):
        raise AddressError("a region has six digits")
    return CardFactors(region, card_factor(hex_field(reset_information, 13)))


def needs_hsm(code: int) -> bool:
    return code in FALL_BACK


def fall_back(by_psam: Callable[[], Answer], by_hsm: Callable[[], Answer]) -> Answer:
    """The PSAM's answer, or the security module's where the PSAM lacks what it takes."""
    answer = by_psam()
    return by_hsm() if needs_hsm(answer[0]) else answer


def chain(first: Answer, *stages: tuple[Callable[[str], str], Callable[[str], Answer]]) -> Answer:
    """Carry a step's text to the centre and its pKey to the next step; the first refusal is the answer."""
    answer = first
    for ask, step in stages:
        if answer[0] != 0:
            return answer
        try:
            pkey = ask(answer[1])
        except Exception as error:
            return failed(error)
        answer = step(pkey)
    return answer


def _algorithm(identifier: str) -> Algorithm:
    try:
        return _ALGORITHMS[identifier]
    except KeyError:
        raise AddressError("the algorithm identifier is 01 or 03") from None
