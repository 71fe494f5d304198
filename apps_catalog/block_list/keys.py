"""How a card becomes an entry: SM3 over the edition's salt, the kind and the number, cut to eight bytes."""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from apps_catalog.errors import QueryError
from hsm.primitives import default_engine

SALT_BYTES: Final = 16
KEY_BYTES: Final = 8
"""Another card has one of 10 million blocked cards' keys with a chance of 10 million in 2^64, one in 10^12."""

NUMBER_DIGITS: Final = 32
_NUMBER_BYTES: Final = NUMBER_DIGITS // 2
_BUCKETS: Final = 1 << 16
_ISSUER_DIGITS: Final = 8
_FACE_DIGITS: Final = 19
_ACCOUNT_DIGITS: Final = 20


class Kind(StrEnum):
    """`card`: the identification code of the chip (卡识别码). `ecard`: the number of the electronic card.

    `purse`: a 交通联合 purse by `purse_number`. `transit_account`: an account of transit codes, by
    `transit_account_number`.
    """

    CARD = "card"
    ECARD = "ecard"
    PURSE = "purse"
    TRANSIT_ACCOUNT = "transit_account"


_CODES: Final = {Kind.CARD: b"\x01", Kind.ECARD: b"\x02", Kind.PURSE: b"\x03", Kind.TRANSIT_ACCOUNT: b"\x04"}


def purse_number(issuer: bytes, face_number: str) -> str:
    """Of a purse on the list: the first four bytes of its issuer, its face number of 19 digits, then F (transit_card.md
    §7). Raises QueryError."""
    return _listed(Kind.PURSE, issuer[:4].hex().upper(), face_number, _FACE_DIGITS)


def transit_account_number(issuer: str, card_account: str) -> str:
    """Of an account on the list: the issuer of its codes, eight digits, its 卡账户号 of 20 digits, then F.

    Issuers number their accounts each for itself, so an account alone names nobody. Raises QueryError.
    """
    return _listed(Kind.TRANSIT_ACCOUNT, issuer, card_account, _ACCOUNT_DIGITS)


def _listed(kind: Kind, issuer: str, number: str, digits: int) -> str:
    text = issuer + number
    if len(issuer) != _ISSUER_DIGITS or len(number) != digits or not (text.isascii() and text.isdigit()):
        raise QueryError(f"{kind}: an issuer of {_ISSUER_DIGITS} digits and a number of {digits} are needed")
    return text.ljust(NUMBER_DIGITS, "F")


class Keys:
    """Keys under one salt, which SM3 takes in once: a lookup has two microseconds."""

    def __init__(self, salt: bytes) -> None:
        begin = default_engine().sm3_after
        self._digests = {kind: begin(salt + code) for kind, code in _CODES.items()}

    def of(self, kind: Kind, number: str) -> bytes:
        """Raises QueryError, which does not repeat the number, unless it is 32 hex digits."""
        try:
            raw = unhexlify(number)
        except ValueError:
            raw = b""
        if len(raw) != _NUMBER_BYTES:
            raise QueryError(f"{kind}: a number is {NUMBER_DIGITS} hex digits")
        return self._digests[kind](raw)[:KEY_BYTES]


class KeySet:
    """Millions of keys without an object for each: six bytes per key, in buckets by their first two."""

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(_BUCKETS)]

    def add(self, key: bytes) -> None:
        self._buckets[key[0] << 8 | key[1]] += key[2:]

    def settle(self) -> int:
        """Sort every bucket and drop what is there twice; the number of keys."""
        rest = KEY_BYTES - 2
        count = 0
        for at, bucket in enumerate(self._buckets):
            kept = sorted({bytes(bucket[start : start + rest]) for start in range(0, len(bucket), rest)})
            self._buckets[at] = bytearray().join(kept)
            count += len(kept)
        return count

    def __iter__(self) -> Iterator[bytes]:
        """In order, once settled."""
        rest = KEY_BYTES - 2
        for at, bucket in enumerate(self._buckets):
            lead = at.to_bytes(2, "big")
            for start in range(0, len(bucket), rest):
                yield lead + bucket[start : start + rest]
