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
from cardlib.key_set import KeySet, set_versions
from cardlib.session import encode_pin
from hsm.api import Algorithm, CardFactors, KeyRef, KeyService, Purpose
from hsm.transactions import TYPE_PURCHASE, Purchase, TransactionKeys

FALL_BACK: Final = frozenset({-2201, -2202, -2203, -27272, -24})
"""Codes after which the security module may do what the PSAM could not (terminal.md §7); -21, -51, -52 never."""
_STEP_KEYS: Final = ("RK", "UK", "PUK")
_ALGORITHMS = {identifier: algorithm for algorithm, identifier in ALGORITHM_IDS.items()}


@dataclass(frozen=True, slots=True)
class DebitOrder:
    """One settlement as Step1 asked for it, numbered; `pkey` is the answer to the terminal.

    `key` is of the set `key_version`, which the receipt's other keys are of too.
    """

    purchase: Purchase
    key: KeyRef
    pkey: str
    key_version: int


@dataclass(frozen=True, slots=True)
class HsmRoute:
    """Answers under `keys`. `addresses` as in `DriverTerminal`; `next_number` gives transaction numbers, each once.

    `key_version` is the set the card's keys are of, 0 where no book tells. The steps do not tell either, as the card's
    answer stays in the terminal: then it is the oldest set there is, whose cards came before the books.
    """

    keys: KeyService
    transactions: TransactionKeys
    next_number: Callable[[], int]
    addresses: Mapping[str, str] = field(default_factory=dict)
    key_version: int = 0

    def card_bas(self, step1: str) -> str:
        """pKey of iReadCardBas_HSM_Step2. A ninth item, the terminal's own number, is let pass. Raises AddressError."""
        items = _basic_items(step1)
        factors = factors_of(items[0], items[1])
        keys = self._set(_algorithm(items[2]))
        internal = self._value(keys.ref("IRK"), factors, items[4], items[5])
        external = self._value(keys.ref("RK_SSSE"), factors, items[6], items[7]) if items[6] else ""
        return f"{internal}|{external}|"

    def authentication(self, step1: str, factors: CardFactors) -> str:
        """pKey for Step2 of reading, writing, PIN reload and unblock. Raises AddressError."""
        algorithm, address, factor, original = split_fields(step1, 4)
        ref = self._ref(address, algorithm)
        if not ref.name.startswith(_STEP_KEYS):
            raise AddressError(f"{ref.name} belongs to none of the steps")
        return self._value(ref, factors, factor, original)

    def key_of(self, step: str) -> KeyRef:
        """The card key a step is about, after basic information. Raises AddressError."""
        algorithm, _, rest = step.partition("|")
        return self._ref(rest.partition("|")[0], algorithm)

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
        return DebitOrder(purchase, ref, pkey, self._set(ref.algorithm).version)

    def check_debit(self, step2: str, order: DebitOrder, factors: CardFactors) -> None:
        """MAC2 and TAC of iDoDebit_HSM_Step2. Raises CryptogramError, AddressError."""
        mac2, *items, tac = split_fields(step2, 9)
        if items[2] != order.purchase.amounts[4:].hex().upper() or items[5] != order.purchase.number.hex().upper():
            raise AddressError("the receipt of another settlement")
        self.check_receipt(hex_field(mac2, 4), hex_field(tac, 4), order.purchase, order.key, factors)

    def check_receipt(self, mac2: bytes, tac: bytes, purchase: Purchase, key: KeyRef, factors: CardFactors) -> None:
        """What the card gave when it settled, or as proof of it later. Raises CryptogramError."""
        self.transactions.check_purchase(key, factors, purchase, mac2)
        self.transactions.check_tac(self._set(key.algorithm).ref("DTK"), factors, purchase, tac)

    def _value(self, ref: KeyRef, factors: CardFactors, factor: str, original: str) -> str:
        """鉴别16+原始16."""
        raw = hex_field(original, VALUE)
        if self.keys.info(ref).purpose is not Purpose.AUTHENTICATION:
            raise AddressError(f"{ref.name} authenticates nobody")
        return (self.keys.authentication_value(ref, factors, hex_field(factor, VALUE), raw) + raw).hex().upper()

    def _ref(self, address: str, algorithm: str) -> KeyRef:
        names = {given: name for name, given in self.addresses.items()}
        name = names.get(address, "" if address in self.addresses else address)
        return self._set(_algorithm(algorithm)).ref(name)

    def _set(self, algorithm: Algorithm) -> KeySet:
        return KeySet(self.keys, algorithm, self.key_version or set_versions(self.keys, algorithm)[-1])


def card_of(step1: str) -> tuple[str, str]:
    """卡识别码 and 复位信息 of the string of iReadCardBas_HSM_Step1, in capitals. Raises AddressError."""
    items = _basic_items(step1)
    code = hex_field(items[3], 16).hex().upper()
    if code[:6] != items[0]:
        raise AddressError("the region is not that of the identification code")
    return code, hex_field(items[1], 13).hex().upper()


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


def _basic_items(step1: str) -> list[str]:
    return split_fields(step1, 9 if step1.count("|") == 9 else 8)


def _algorithm(identifier: str) -> Algorithm:
    try:
        return _ALGORITHMS[identifier]
    except KeyError:
        raise AddressError("the algorithm identifier is 01 or 03") from None
