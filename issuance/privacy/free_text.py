"""What people type as a reason or a note rests in plain and is read by many: numbers of persons in it are masked first.

A name in a sentence cannot be told from other words: clerks must write none.
"""

from __future__ import annotations

import re
from typing import Final

from pydantic import AfterValidator

_SHOWN: Final = 4
_APART: Final = r"[ -]?"
_NUMBERS: Final = re.compile(
    rf"""(?<![0-9A-Za-z])(?:
      \d{{6}}{_APART}\d{{8}}{_APART}\d{{3}}[\dXxＸｘ]             # social security number
    | (?:86{_APART})?[1１]\d{{2}}{_APART}\d{{4}}{_APART}\d{{4}}  # mobile telephone
    | [6６][2２]\d{{2}}(?:{_APART}\d{{4}}){{3}}(?:{_APART}\d{{1,3}})?  # bank account
    )(?![0-9A-Za-z])""",
    re.VERBOSE,
)


def masked_text(text: str) -> str:
    """With no more than the last four of every number that names a person, a telephone or a bank account."""
    return _NUMBERS.sub(lambda found: "*" * (len(found[0]) - _SHOWN) + found[0][-_SHOWN:], text)


Masked = AfterValidator(masked_text)
"""In `Annotated`, behind the constraints of the text."""
