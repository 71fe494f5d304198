"""Numbers that identify cards, persons, organisations and regions, and how much of them a screen shows.

Sources: V2.0 App. A (card number), §8.1 (identification code, institution, social security number), GB 11643,
GB 11714, GB/T 2260; draft P2 T16 and P9 §7.3 (reset information and card factor).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Literal

from apdu.atr import Atr
from apdu.errors import DecodingError
from cardlib.spec.names import ISSUER_INSTITUTION, RID

RESET_INFORMATION_LENGTH = 0x0D
IDENTIFICATION_CODE_LENGTH = 0x10
NO_AUTHENTICATION_CODE = b"\xff" * 4

_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
_CARD_BODY = re.compile(r"[A-Z][0-9A-Z]{7}", re.ASCII)
_ORGANISATION_BODY = re.compile(r"[0-9A-Z]{8}", re.ASCII)
_REGION = re.compile(r"[1-9][0-9]{5}", re.ASCII)
_TERMINAL = re.compile(r"[1-9][0-9]{11}", re.ASCII)
# Country (ISO 3166-1 alpha-3), one reserved character, document number filled with 0 on the left to 14.
_ASSIGNED = re.compile(r"[A-Z]{3}[0-9][0-9A-Z]{14}", re.ASCII)


class IdentityError(ValueError):
    """A number without the right form or check digit. The message names the rule and never repeats the number."""

    failure: ClassVar[str] = "INPUT_INVALID"


class UnknownResetError(ValueError):
    """An answer to reset without the 13 historical bytes of a social security card (draft P2 T16)."""

    failure: ClassVar[str] = "NOT_SOCIAL_SECURITY_CARD"


# -- numbers with a check character -----------------------------------------------------------------------------------


def card_number_check(body: str) -> str:
    """Ninth character of 卡号 for its eight-character body (V2.0 App. A)."""
    if not _CARD_BODY.fullmatch(body):
        raise IdentityError("a card number begins with a letter and seven digits or letters")
    return _check_character(body)


def card_number(body: str) -> str:
    """The whole 卡号: body and check character."""
    return body + card_number_check(body)


def validate_card_number(number: str) -> str:
    """The number as stored, upper case and without the printed hyphen. Raises IdentityError."""
    number = number.strip().upper().replace("-", "")
    if len(number) != 9:
        raise IdentityError("a card number has nine characters")
    if card_number_check(number[:8]) != number[8]:
        raise IdentityError("the check character of the card number is wrong")
    return number


def validate_organisation_code(code: str) -> str:
    """组织机构代码 (GB 11714) as stored, without hyphen. Raises IdentityError."""
    code = code.strip().upper().replace("-", "")
    if len(code) != 9 or not _ORGANISATION_BODY.fullmatch(code[:8]):
        raise IdentityError("an organisation code has nine digits or letters")
    if _check_character(code[:8]) != code[8]:
        raise IdentityError("the check character of the organisation code is wrong")
    return code


def _check_character(body: str) -> str:
    """Both standards: weighted sum, 11 minus the remainder, 10 as X and 11 as 0; letters count A=10 … Z=35."""
    check = 11 - sum(weight * int(character, 36) for weight, character in zip(_WEIGHTS, body, strict=True)) % 11
    return {10: "X", 11: "0"}.get(check, str(check))


@dataclass(frozen=True, slots=True)
class SocialSecurityNumber:
    """社会保障号码 (V2.0 §8.1.2.1). An assigned number tells neither region, birth date nor sex."""

    number: str
    kind: Literal["citizen", "assigned"]
    region: str = ""
    birth_date: date | None = None
    sex: Literal["1", "2", ""] = ""

    @classmethod
    def parse(cls, number: str) -> SocialSecurityNumber:
        """Raises IdentityError. Numbers of GB 11643 form, residence permits among them, must have a right check digit.

        The region part is not looked up: numbers keep divisions abolished long ago, permits use codes of their own.
        """
        number = number.strip().upper()
        if _ASSIGNED.fullmatch(number):
            return cls(number, "assigned")
        if not re.fullmatch(r"[0-9]{17}[0-9X]", number, re.ASCII):
            raise IdentityError("a social security number has 17 digits and a digit or X, or is an assigned number")
        # Its tables of letters take a megabyte, which a terminal at rest need not carry.
        from stdnum.cn import ric
        from stdnum.exceptions import ValidationError

        if ric.calc_check_digit(number) != number[-1]:
            raise IdentityError("the check digit of the social security number is wrong")
        try:
            born = ric.get_birth_date(number)
        except ValidationError as error:
            raise IdentityError("the birth date in the social security number does not exist") from error
        return cls(number, "citizen", number[:6], born, "1" if int(number[16]) % 2 else "2")


def validate_social_security_number(number: str) -> str:
    """The number as stored, 18 characters, X upper case. Raises IdentityError."""
    return SocialSecurityNumber.parse(number).number


def citizen_number(body: str) -> str:
    """17 digits and their check digit (GB 11643, ISO 7064 MOD 11-2); for synthetic people."""
    if not re.fullmatch(r"[0-9]{17}", body, re.ASCII):
        raise IdentityError("17 digits were expected")
    from stdnum.cn import ric

    return body + ric.calc_check_digit(body + "0")


# -- regions, terminals, institutions ---------------------------------------------------------------------------------


def validate_region(code: str) -> str:
    """Six digits of GB/T 2260 (应用城市代码); whether it is served is for the caller to know."""
    if not _REGION.fullmatch(code):
        raise IdentityError("a region code has six digits")
    return code


def validate_terminal_number(number: str) -> str:
    """终端机编号: region and six digits of the PSAM's issuer (V2.0 §8.5.3.3)."""
    if not _TERMINAL.fullmatch(number):
        raise IdentityError("a terminal number has twelve digits")
    return number


def institution_number(region: str, seat: str, sequence: int) -> str:
    """初始化机构编号, 24 hex digits: issuing region, region of the institution's seat, sequence (V2.0 T12)."""
    if not 0 <= sequence <= 99:
        raise IdentityError("an institution has a sequence of two digits")
    return f"{ISSUER_INSTITUTION.hex()}{validate_region(region)}{validate_region(seat)}{sequence:02d}"


# -- what a card says of itself ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IdentificationCode:
    """卡的识别码, 16 bytes: region, scheme identifier, serial, authentication code (V2.0 T10).

    How the authentication code is computed is not published; it is FFFFFFFF and never checked. The serial should be
    decimal, cards with hexadecimal ones exist.
    """

    region: str
    serial: bytes
    authentication: bytes = NO_AUTHENTICATION_CODE

    def __post_init__(self) -> None:
        validate_region(self.region)
        if len(self.serial) != 4 or len(self.authentication) != 4:
            raise IdentityError("serial and authentication code have four bytes each")

    def to_bytes(self) -> bytes:
        return bytes.fromhex(self.region) + RID + self.serial + self.authentication

    def __bytes__(self) -> bytes:
        return self.to_bytes()

    def __str__(self) -> str:
        """32 hex digits, as drivers show it."""
        return self.to_bytes().hex().upper()

    @classmethod
    def from_bytes(cls, raw: bytes) -> IdentificationCode:
        """Raises IdentityError when length, region digits or scheme identifier are wrong."""
        raw = bytes(raw)
        if len(raw) != IDENTIFICATION_CODE_LENGTH or raw[3:8] != RID:
            raise IdentityError("an identification code has 16 bytes and the scheme identifier D156000005")
        return cls(raw[:3].hex(), raw[8:12], raw[12:])

    @classmethod
    def from_hex(cls, text: str) -> IdentificationCode:
        try:
            return cls.from_bytes(bytes.fromhex(text))
        except ValueError as error:
            raise IdentityError("an identification code has 32 hex digits") from error


def reset_information(atr: bytes) -> bytes:
    """卡复位信息: the 13 historical bytes of a contact card; of a contactless one the last 13.

    Raises UnknownResetError for any other card.
    """
    try:
        historical = Atr.from_bytes(atr).historical_bytes
    except DecodingError as error:
        raise UnknownResetError("the answer to reset is malformed") from error
    if len(historical) < RESET_INFORMATION_LENGTH:
        raise UnknownResetError(f"{len(historical)} historical bytes, {RESET_INFORMATION_LENGTH} were expected")
    return historical[-RESET_INFORMATION_LENGTH:]


def card_factor(reset: bytes) -> bytes:
    """Diversification factor L3: bytes 6 to 13 of the reset information (draft P9 §7.3.3)."""
    if len(reset) != RESET_INFORMATION_LENGTH:
        raise IdentityError("reset information has 13 bytes")
    return reset[5:]


# -- masking ----------------------------------------------------------------------------------------------------------


def mask_name(name: str, *, is_public: bool = False) -> str:
    """陆*兰, 陆*; on call screens and gates (`is_public`) only the first character stays: 陆**."""
    if len(name) <= 1:
        return "*" * len(name)
    if is_public or len(name) == 2:
        return name[0] + "*" * (len(name) - 1)
    return name[0] + "*" * (len(name) - 2) + name[-1]


def mask_id(number: str, *, first: int = 0, last: int = 4) -> str:
    """Social security or other personal number: the last four characters; consoles may show the first three as well."""
    return _mask(number, first, last)


def mask_card_number(number: str) -> str:
    """The first five characters, the rest masked."""
    return _mask(number, 5, 0)


def _mask(text: str, first: int, last: int) -> str:
    """Never shows more than half of a text that is shorter than expected."""
    if first + last > (len(text) + 1) // 2:
        return "*" * len(text)
    return text[:first] + "*" * (len(text) - first - last) + text[len(text) - last :]
