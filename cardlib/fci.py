"""FCI of the social security environment: which algorithm the card has (card_files.md §3)."""

from __future__ import annotations

from typing import Final

from apdu.errors import DecodingError
from apdu.tlv import parse
from cardlib.errors import CardDataError, CardUnsupportedError
from hsm.api import Algorithm

FCI_LENGTHS: Final = {Algorithm.TDES: 0x18, Algorithm.SM4: 0x1E}
"""Of an issued card: name and DIR; an SM4 card adds its algorithm identifier."""
_ALGORITHMS: Final = {0x01: Algorithm.TDES, 0x03: Algorithm.SM4}


def algorithm_of_fci(fci: bytes) -> Algorithm:
    """The algorithm identifier is tag 86 inside 9F0C, absent = 3DES (OPEN F1).

    Raises CardDataError, and CardUnsupportedError for SSF33 and unknown identifiers.
    """
    try:
        template = next(tlv for tlv in parse(fci) if tlv.tag == 0x6F)
        proprietary = [inner for tlv in parse(template.value) if tlv.tag == 0xA5 for inner in parse(tlv.value)]
        identifiers = [
            identifier.value
            for data in proprietary
            if data.tag == 0x9F0C
            for identifier in parse(data.value)
            if identifier.tag == 0x86
        ]
    except (DecodingError, StopIteration) as error:
        raise CardDataError("FCI of the environment is malformed") from error
    if not identifiers:
        return Algorithm.TDES
    try:
        return _ALGORITHMS[int.from_bytes(identifiers[0], "big")]
    except KeyError:
        raise CardUnsupportedError(f"algorithm identifier {identifiers[0].hex()} is not supported") from None
