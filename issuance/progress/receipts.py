"""受理号: 16 digits that an applicant holds, and that say nothing about who that is.

Two digits of the year (China), twelve by chance, two check digits (ISO/IEC 7064, MOD 97-10): one wrong digit and two
that changed places are always found. Printed in four groups of four.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from datetime import datetime

from issuance.clock import china_date

DIGITS = 16
_BODY_DIGITS = DIGITS - 2
_RANDOM = 10 ** (_BODY_DIGITS - 2)
_GAPS = re.compile(r"[\s\-·]")


def new_receipt_number(now: datetime) -> str:
    year = china_date(now).year % 100
    return with_check_digits(f"{year:02d}{secrets.randbelow(_RANDOM):012d}")


def with_check_digits(body: str) -> str:
    return f"{body}{98 - int(body) * 100 % 97:02d}"


def parse_receipt_number(typed: str) -> str:
    """The 16 digits of what somebody typed: groups apart, full-width digits. Raises ValueError."""
    digits = _GAPS.sub("", unicodedata.normalize("NFKC", typed))
    if len(digits) != DIGITS or not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"a receipt number has {DIGITS} digits")
    if with_check_digits(digits[:_BODY_DIGITS]) != digits:
        raise ValueError("the check digits do not fit")
    return digits


def grouped(number: str) -> str:
    """As it is printed."""
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))
