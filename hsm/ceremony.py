"""A ceremony secret, its shares for paper, and the national test roots that follow from it.

Sixteen random bytes stand above all card roots of an installation. They are split among officers, either so that all
are needed (XOR) or so that some are (Shamir over GF(2^128)), and exist in one piece only while a ceremony runs. A wrong
share would give a wrong secret without a sign, so every share carries checks of its own and the ceremony's number,
which follows from the secret: nothing is made from a secret that does not have the number on the shares.

As text a share is ten groups of five characters, the last of each a check, in an alphabet without 0, 1, I and O:
a typing mistake is found in its group.
"""

from __future__ import annotations

import hmac
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import ClassVar, Final

from Crypto.Protocol.SecretSharing import Shamir

from hsm import card_rules
from hsm.api import Algorithm, BadInputError, HsmError
from hsm.primitives import Engine
from hsm.sealing import derived_key
from hsm.soft_device import SoftKey

SECRET_LENGTH: Final = 16
MAX_SHARES: Final = 9
ROOT_KDF: Final = "onecard ceremony root 1"
"""Name and version of `root_value`: SP 800-108 counter mode, CMAC-SM4, context = algorithm/key name."""
NUMBER_KDF: Final = "onecard ceremony number 1"

ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
GROUPS: Final = 10
GROUP_LENGTH: Final = 5
GROUPS_PER_LINE: Final = 5
_SYMBOLS: Final = GROUPS * GROUP_LENGTH
_MAX_TEXT: Final = 400
_NUMBER_LENGTH: Final = 5
_BODY: Final = 2 + _NUMBER_LENGTH + SECRET_LENGTH
_FIELD: Final = 0x25  # x^5 + x^2 + 1: GF(32)


class ShareError(HsmError):
    """The shares do not give the secret they were made from; nothing was made of them."""

    failure: ClassVar[str] = "SHARE_INVALID"


class ShareTextError(ShareError):
    """A mistake in a share as it was typed; `group` counts from 1, None when it cannot be told. Never the text."""

    def __init__(self, text: str, group: int | None = None) -> None:
        line = "" if group is None else f"group {group} of {GROUPS} (line {(group - 1) // GROUPS_PER_LINE + 1}): "
        super().__init__(line + text)
        self.group = group


class Scheme(IntEnum):
    """How a secret was split; the number is the one in the encoded share."""

    SHAMIR = 1
    XOR = 2


@dataclass(frozen=True, slots=True)
class Share:
    """One officer's part; `number` counts from 1, `ceremony` is the 5-byte number of the secret."""

    scheme: Scheme
    number: int
    threshold: int
    total: int
    ceremony: bytes
    value: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not (2 <= self.threshold <= self.total <= MAX_SHARES and 1 <= self.number <= self.total):
            raise BadInputError(f"a secret has 2 to {MAX_SHARES} shares and at least two are needed")
        if self.scheme is Scheme.XOR and self.threshold != self.total:
            raise BadInputError("XOR components are needed all")
        if (len(self.ceremony), len(self.value)) != (_NUMBER_LENGTH, SECRET_LENGTH):
            raise BadInputError("a share has 16 bytes and a ceremony number of 5")

    def check(self, engine: Engine) -> str:
        """Four hexadecimal digits that show on the record which share was used, without telling it."""
        return engine.sm3(b"onecard share\0" + self._body())[:2].hex().upper()

    def text(self, engine: Engine) -> list[str]:
        """The lines for paper, five groups each."""
        encoded = self._body() + bytes.fromhex(self.check(engine))
        bits = int.from_bytes(encoded, "big")
        symbols = [bits >> (5 * at) & 31 for at in reversed(range(8 * len(encoded) // 5))]
        size = GROUP_LENGTH - 1
        groups = [_with_check(n, symbols[size * n : size * n + size]) for n in range(GROUPS)]
        return [" ".join(groups[at : at + GROUPS_PER_LINE]) for at in range(0, GROUPS, GROUPS_PER_LINE)]

    @classmethod
    def parse(cls, text: str, engine: Engine) -> Share:
        """A share as an officer typed it: full-width, lower case, any spaces. Raises ShareTextError."""
        symbols: list[int] = []
        for number, group in enumerate(_groups(text)):
            symbols += _checked(number, group)
        encoded = _packed(symbols)
        body, check = encoded[:_BODY], encoded[_BODY:]
        try:
            share = cls(
                Scheme(body[0] >> 4),
                body[0] & 15,
                body[1] >> 4,
                body[1] & 15,
                body[2 : 2 + _NUMBER_LENGTH],
                body[2 + _NUMBER_LENGTH :],
            )
        except ValueError:
            raise ShareTextError("this is no share; two mistakes may hide each other, type it again") from None
        if not hmac.compare_digest(bytes.fromhex(share.check(engine)), check):
            raise ShareTextError("the check of the whole share is wrong; two mistakes may hide each other")
        return share

    def _body(self) -> bytes:
        head = bytes((self.scheme << 4 | self.number, self.threshold << 4 | self.total))
        return head + self.ceremony + self.value


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_LENGTH)


def ceremony_number(engine: Engine, secret: bytes) -> bytes:
    """Five bytes that belong to the secret and tell nothing of it; also the proof that it was put together right."""
    return derived_key(_key(engine, secret), NUMBER_KDF.encode(), b"", _NUMBER_LENGTH)


def secret_kcv(engine: Engine, secret: bytes) -> bytes:
    """3-byte check value, as of any SM4 key."""
    return card_rules.key_check_value(_key(engine, secret))


def split(engine: Engine, secret: bytes, total: int, threshold: int, scheme: Scheme = Scheme.SHAMIR) -> list[Share]:
    """`total` shares of which `threshold` give the secret back. Raises BadInputError."""
    number = ceremony_number(engine, secret)
    probe = Share(scheme, 1, threshold, total, number, bytes(SECRET_LENGTH))
    if scheme is Scheme.SHAMIR:
        values = [value for _, value in Shamir.split(threshold, total, secret)]
    else:
        values = [secrets.token_bytes(SECRET_LENGTH) for _ in range(total - 1)]
        values.append(_xor([secret, *values]))
    return [Share(scheme, n, probe.threshold, total, number, value) for n, value in enumerate(values, 1)]


def combine(engine: Engine, shares: Sequence[Share]) -> bytes:
    """The secret, proved by the ceremony number; shares beyond the threshold are proved too. Raises ShareError."""
    if not shares:
        raise ShareError("no shares")
    first = shares[0]
    for left, right in pairwise(shares):
        if (left.scheme, left.threshold, left.total, left.ceremony) != (
            right.scheme,
            right.threshold,
            right.total,
            right.ceremony,
        ):
            raise ShareError(f"share {right.number} is of another ceremony than share {left.number}")
    if len({share.number for share in shares}) != len(shares):
        raise ShareError("the same share came twice")
    if len(shares) < first.threshold:
        raise ShareError(f"{len(shares)} of the {first.threshold} shares that are needed")
    needed, more = list(shares[: first.threshold]), shares[first.threshold :]
    secret = _combined(needed)
    for extra in [needed[-1], *more]:
        found = _combined([*needed[:-1], extra])
        if not hmac.compare_digest(ceremony_number(engine, found), first.ceremony):
            raise ShareError("the shares do not give the secret of their ceremony; one of them is not genuine")
    return secret


def root_value(engine: Engine, secret: bytes, name: str, algorithm: Algorithm, length: int) -> bytes:
    """The national test root of a card key name in one environment (`ROOT_KDF`)."""
    return derived_key(_key(engine, secret), ROOT_KDF.encode(), f"{algorithm}/{name}".encode("ascii"), length)


@dataclass(frozen=True, slots=True)
class Component:
    """A component of one key as a custodian brings it, proved by its own check value."""

    value: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str, kcv: str, algorithm: Algorithm, engine: Engine) -> Component:
        """`text` is hexadecimal in any groups. Raises ShareTextError."""
        digits = "".join(unicodedata.normalize("NFKC", text[:_MAX_TEXT]).split()).replace("-", "")
        try:
            value = bytes.fromhex(digits)
            card_rules.check_key_length(algorithm, len(value))
            expected = bytes.fromhex("".join(kcv.split()))
        except ValueError:
            raise ShareTextError("a component is 16 or 32 hexadecimal digits, a check value six") from None
        found = card_rules.key_check_value(SoftKey(engine, algorithm, value))
        if not hmac.compare_digest(found, expected):
            raise ShareTextError("the component does not have this check value; one of the two has a typing mistake")
        return cls(value)


def components_kcv(engine: Engine, algorithm: Algorithm, components: Sequence[Component]) -> bytes:
    """Check value of the key the components give together. Raises ShareError for unequal lengths."""
    if len({len(component.value) for component in components}) != 1:
        raise ShareError("the components have unequal lengths")
    key = _xor([component.value for component in components])
    return card_rules.key_check_value(SoftKey(engine, algorithm, key))


def _key(engine: Engine, secret: bytes) -> SoftKey:
    if len(secret) != SECRET_LENGTH:
        raise BadInputError("a ceremony secret has 16 bytes")
    return SoftKey(engine, Algorithm.SM4, secret)


def _combined(shares: Sequence[Share]) -> bytes:
    if shares[0].scheme is Scheme.XOR:
        return _xor([share.value for share in shares])
    return Shamir.combine([(share.number, share.value) for share in shares])


def _xor(values: Sequence[bytes]) -> bytes:
    found = 0
    for value in values:
        found ^= int.from_bytes(value, "big")
    return found.to_bytes(len(values[0]), "big")


def _groups(text: str) -> list[str]:
    if len(text) > _MAX_TEXT:
        raise ShareTextError("much longer than a share")
    typed = "".join(" " if c in "-‐–—·.,、" else c for c in unicodedata.normalize("NFKC", text).upper()).split()
    joined = "".join(typed)
    if len(joined) != _SYMBOLS:
        for number, group in enumerate(typed, 1):
            if len(group) != GROUP_LENGTH and number <= GROUPS:
                raise ShareTextError(f"{len(group)} characters instead of {GROUP_LENGTH}", number)
        raise ShareTextError(f"{len(typed)} groups instead of {GROUPS}")
    return [joined[at : at + GROUP_LENGTH] for at in range(0, _SYMBOLS, GROUP_LENGTH)]


def _with_check(number: int, symbols: Sequence[int]) -> str:
    return "".join(ALPHABET[symbol] for symbol in (*symbols, _syndrome(number, (*symbols, 0))))


def _checked(number: int, group: str) -> list[int]:
    symbols = [ALPHABET.find(character) for character in group]
    if -1 in symbols:
        raise ShareTextError("0, 1, I, O and signs do not occur in a share", number + 1)
    if _syndrome(number, symbols):
        raise ShareTextError("a typing mistake, or the group belongs elsewhere", number + 1)
    return symbols[:-1]


def _syndrome(number: int, symbols: Sequence[int]) -> int:
    """Zero for a right group: any one wrong character, any two exchanged, and a group at another place are found."""
    found = number
    for at, symbol in enumerate(reversed(symbols)):
        for _ in range(at):
            symbol = symbol << 1 ^ (_FIELD if symbol & 16 else 0)
        found ^= symbol
    return found


def _packed(symbols: Sequence[int]) -> bytes:
    bits = 0
    for symbol in symbols:
        bits = bits << 5 | symbol
    return bits.to_bytes(5 * len(symbols) // 8, "big")
