"""The PSAM as a gate needs it: its troubles are told apart from those of the card in the field."""

from __future__ import annotations

from typing import ClassVar

from apdu.errors import ApduError, KeyNotFoundError
from cardlib.psam import PsamAlgorithmError
from cardlib.transit_psam import PurchaseSam, SamRequest
from hsm.api import HsmError


class SamLostError(Exception):
    """The PSAM does not answer, or not as one does. Nothing was charged."""

    failure: ClassVar[str] = "PSAM_ABSENT"


class SamKeyError(Exception):
    """The PSAM has no key for this card. Nothing was charged."""

    failure: ClassVar[str] = "KEY_NOT_FOUND"


class GateSam(PurchaseSam):
    """`inner` with every failure as SamLostError; a PSAM that fails after the debit just has nothing to say of it."""

    def __init__(self, inner: PurchaseSam) -> None:
        self._inner = inner

    @property
    def terminal_number(self) -> bytes:
        return self._inner.terminal_number

    @property
    def key_index(self) -> int:
        try:
            return self._inner.key_index
        except (ApduError, HsmError) as error:
            raise SamLostError(str(error)) from error

    def initialize(self, request: SamRequest) -> tuple[bytes, bytes]:
        try:
            return self._inner.initialize(request)
        except (KeyNotFoundError, PsamAlgorithmError) as error:
            raise SamKeyError(str(error)) from error
        except (ApduError, HsmError) as error:
            raise SamLostError(str(error)) from error

    def credit(self, terminal_sequence: bytes, mac2: bytes) -> bool | None:
        try:
            return self._inner.credit(terminal_sequence, mac2)
        except (ApduError, HsmError):
            return None

    def command_mac(self, algorithm: int, factor: bytes, issuer: bytes, challenge: bytes, header: bytes) -> bytes:
        try:
            return self._inner.command_mac(algorithm, factor, issuer, challenge, header)
        except (ApduError, HsmError) as error:
            raise SamLostError(str(error)) from error
