"""What a key service computes for one card: authentication, secure messaging, keys wrapped for it, check values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

from hsm import card_rules
from hsm.api import CARD_PURPOSES, Authentication, CardFactors, KeyRef, Purpose, SecuredMessage
from hsm.device import DeviceKey

T = TypeVar("T")
R = TypeVar("R")


class CardOperations(ABC):
    """The card's side of `hsm.api.KeyService`, over what a key service is made of; purposes are enforced by it."""

    @abstractmethod
    def _each(
        self,
        key: KeyRef,
        purposes: frozenset[Purpose] | tuple[Purpose, ...],
        items: Sequence[tuple[CardFactors, T]],
        operation: Callable[[DeviceKey, T], R],
    ) -> list[R]:
        """`operation` with each card's own key."""

    @abstractmethod
    def _with_card_key(
        self, key: KeyRef, factors: CardFactors, purposes: tuple[Purpose, ...], operation: Callable[[DeviceKey], T]
    ) -> T:
        """`operation` with the card's own key."""

    @abstractmethod
    def _card_value(
        self, key: KeyRef, factors: CardFactors, purposes: frozenset[Purpose], *, is_new: bool = False
    ) -> bytes:
        """The card's own key itself."""

    def authentication_value(self, key: KeyRef, factors: CardFactors, challenge: bytes, original: bytes) -> bytes:
        return self.authentication_value_batch(key, [Authentication(factors, challenge, original)])[0]

    def authentication_value_batch(self, key: KeyRef, items: Sequence[Authentication]) -> list[bytes]:
        purposes = (Purpose.AUTHENTICATION, Purpose.MASTER)
        return self._each(
            key,
            purposes,
            [(item.factors, item) for item in items],
            lambda card, item: card_rules.authentication_value(card, item.challenge, item.original),
        )

    def secured_data(
        self, key: KeyRef, factors: CardFactors, challenge: bytes, header: bytes, data: bytes, *, encrypt: bool = False
    ) -> bytes:
        return self.secured_data_batch(key, [SecuredMessage(factors, challenge, header, data, encrypt)])[0]

    def secured_data_batch(self, key: KeyRef, items: Sequence[SecuredMessage]) -> list[bytes]:
        return self._each(
            key,
            (Purpose.MESSAGE,),
            [(item.factors, item) for item in items],
            lambda card, item: card_rules.secured_data(
                card, item.challenge, item.header, item.data, encrypt=item.encrypt
            ),
        )

    def decrypted_data(self, key: KeyRef, factors: CardFactors, challenge: bytes, cipher: bytes) -> bytes:
        return self._with_card_key(
            key,
            factors,
            (Purpose.MESSAGE,),
            lambda card: card_rules.decrypt_data(card_rules.session_key(card, challenge), cipher),
        )

    def wrap_card_key(
        self,
        key: KeyRef,
        factors: CardFactors,
        record_header: bytes,
        *,
        under: KeyRef,
        under_factors: CardFactors,
        challenge: bytes,
        header: bytes,
    ) -> bytes:
        value = self._card_value(key, factors, CARD_PURPOSES, is_new=True)
        return self.wrap_value(
            value, record_header, under=under, under_factors=under_factors, challenge=challenge, header=header
        )

    def wrap_value(
        self,
        value: bytes,
        record_header: bytes,
        *,
        under: KeyRef,
        under_factors: CardFactors,
        challenge: bytes,
        header: bytes,
    ) -> bytes:
        plain = card_rules.key_record(record_header, value)
        return self._with_card_key(
            under,
            under_factors,
            (Purpose.MASTER,),
            lambda master: card_rules.key_load_data(master, challenge, header, plain),
        )

    def master_mac(
        self, key: KeyRef, factors: CardFactors, challenge: bytes, header: bytes, data: bytes = b""
    ) -> bytes:
        return self._with_card_key(
            key, factors, (Purpose.MASTER,), lambda master: card_rules.load_mac(master, challenge, header, data)
        )

    def card_kcv(self, key: KeyRef, factors: CardFactors) -> bytes:
        return self.card_kcv_batch(key, [factors])[0]

    def card_kcv_batch(self, key: KeyRef, items: Sequence[CardFactors]) -> list[bytes]:
        return self._each(
            key,
            CARD_PURPOSES,
            [(factors, factors) for factors in items],
            lambda card, _: card_rules.key_check_value(card),
        )
