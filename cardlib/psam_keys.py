"""The PSAM in the reader as a backend of the key contract (`hsm.api`, `hsm.transactions`).

It serves authentications, secured commands, random and, once, the settlement it numbers itself. Everything else of the
contract is refused by name: a PSAM has no command for it, and keys of another kind are at the centre.
Thread rule: as of its `PsamAuthenticator`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from apdu.errors import StatusWordError
from cardlib.psam import PsamAuthenticator, PsamError
from hsm.api import (
    Algorithm,
    Authentication,
    BadInputError,
    CardFactors,
    KeyRef,
    KeyService,
    MessageKeys,
    SecuredMessage,
)
from hsm.transactions import CryptogramError, Purchase, TransactionKeys

_MAC2_WRONG: Final = (0x9302, 0x63CF)
"""psam.md OPEN S6."""


class PsamOperationError(PsamError):
    """A PSAM has no command for this; the security-module route may."""


class PsamKeys(MessageKeys):
    """`KeyService` and `TransactionKeys` as far as `psam` goes; `psam_keys` gives it its type."""

    def __init__(self, psam: PsamAuthenticator) -> None:
        self._psam = psam
        self._settled: tuple[KeyRef, CardFactors, Purchase] | None = None

    def versions(self, name: str, algorithm: Algorithm, *, region: str = "") -> list[int]:
        """One, by whatever number the roots have at the centre; whether this PSAM holds the key shows in its use."""
        return [1]

    def random(self, length: int) -> bytes:
        return self._psam.random(length)

    def authentication_value(self, key: KeyRef, factors: CardFactors, challenge: bytes, original: bytes) -> bytes:
        return self._psam.authentication_value(key, factors, challenge, original)

    def authentication_value_batch(self, key: KeyRef, items: Sequence[Authentication]) -> list[bytes]:
        return [self.authentication_value(key, item.factors, item.challenge, item.original) for item in items]

    def secured_data(
        self, key: KeyRef, factors: CardFactors, challenge: bytes, header: bytes, data: bytes, *, encrypt: bool = False
    ) -> bytes:
        return self._psam.secured_data(key, factors, challenge, header, data, encrypt=encrypt)

    def secured_data_batch(self, key: KeyRef, items: Sequence[SecuredMessage]) -> list[bytes]:
        return [self.secured_data(key, i.factors, i.challenge, i.header, i.data, encrypt=i.encrypt) for i in items]

    def purchase_mac1(self, key: KeyRef, factors: CardFactors, purchase: Purchase) -> bytes:
        """Uses up the PSAM's number. Raises BadInputError, before, for another terminal's purchase or number."""
        self._settled = None
        own = (self._psam.terminal_number, self._psam.next_number(key.algorithm))
        if (purchase.terminal.hex().upper(), int.from_bytes(purchase.number, "big")) != own:
            raise BadInputError(f"this PSAM settles for terminal {own[0]}, next under number {own[1]}")
        number, mac1 = self._psam.init_purchase(key, factors, purchase)
        if number != purchase.number:
            raise PsamError("the PSAM gave another number than its next")
        self._settled = (key, factors, purchase)
        return mac1

    def check_purchase(self, key: KeyRef, factors: CardFactors, purchase: Purchase, mac2: bytes) -> None:
        """Once, for the purchase that got its MAC1 last (P9 §9.10). Raises PsamOperationError for any other."""
        settled, self._settled = self._settled, None
        if settled != (key, factors, purchase):
            raise PsamOperationError("a PSAM checks the purchase it permitted last, once")
        try:
            self._psam.credit_purchase(mac2)
        except StatusWordError as error:
            if error.sw not in _MAC2_WRONG:
                raise
            raise CryptogramError("MAC2 of the card is wrong") from None


def psam_keys(psam: PsamAuthenticator) -> KeyService:
    """The PSAM behind the contract; `hsm.transactions.transaction_keys` of it gives the account's side."""
    return cast(KeyService, PsamKeys(psam))


def _refusal(name: str) -> Callable[..., Any]:
    def refuse(self: PsamKeys, *_arguments: object, **_options: object) -> Any:
        raise PsamOperationError(f"a PSAM has no {name}")

    refuse.__name__ = name
    return refuse


for _contract in (KeyService, TransactionKeys):
    for _name in dir(_contract):
        if not _name.startswith("_") and _name not in vars(PsamKeys):
            setattr(PsamKeys, _name, _refusal(_name))
