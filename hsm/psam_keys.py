"""Roots on their way into a PSAM: CREATE KEY and CHANGE KEY (draft P9 §9.5, §9.6), made inside the key service.

A PSAM of a province or a city gets a root that is diversified already by its region, as far as it is told (P9 §8).
"""

from __future__ import annotations

from typing import Protocol

from hsm import card_rules
from hsm.api import CARD_PURPOSES, BadInputError, CardFactors, KeyPurposeError, KeyRef, Purpose
from hsm.service import StoreKeyService

_ANY_CARD = bytes(8)


class PsamKeys(Protocol):
    """What a key service does to load a PSAM."""

    def psam_key_data(
        self,
        root: KeyRef,
        region: str,
        levels: int,
        record_header: bytes,
        *,
        under: KeyRef,
        psam: CardFactors,
        challenge: bytes,
        header: bytes,
    ) -> bytes:
        """Data field of CREATE or CHANGE KEY: `record_header` and the root with `levels` diversifications left,
        enciphered and MACed with the PSAM's own key `under` (purpose MASTER). Raises HsmError."""
        ...


class SoftPsamKeys(PsamKeys):
    """`PsamKeys` over a key service in this process, which enforces the purposes."""

    def __init__(self, service: StoreKeyService) -> None:
        self._service = service

    def psam_key_data(
        self,
        root: KeyRef,
        region: str,
        levels: int,
        record_header: bytes,
        *,
        under: KeyRef,
        psam: CardFactors,
        challenge: bytes,
        header: bytes,
    ) -> bytes:
        source = self._service.info(root)
        if source.purpose not in CARD_PURPOSES - {Purpose.MASTER}:
            raise KeyPurposeError(f"{root} serves {source.purpose} only")
        factors = card_rules.factors_of_level(source.level, CardFactors(region, _ANY_CARD))
        applied = factors[: len(factors) - levels]
        # A root never leaves the service as it stands, and a PSAM never holds the key of a single card.
        if levels < 1 or not applied:
            raise BadInputError(f"{root} cannot leave {levels} diversifications to a PSAM")
        value = self._service.use_key(root, source.purpose, lambda key: card_rules.diversified_value(key, applied))
        own = card_rules.factors_of_level(self._service.info(under).level, psam)
        return self._service.use_key(
            under,
            Purpose.MASTER,
            lambda key: card_rules.key_load_data(
                card_rules.diversified(key, own), challenge, header, record_header + value
            ),
        )
