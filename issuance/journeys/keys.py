"""Whose TACs can be proved here."""

from __future__ import annotations

from collections.abc import Collection

from cardlib.transit_clearing import Verdict, verdict_of
from cardlib.transit_takings import TransitTap
from hsm.api import Algorithm, KeyService
from hsm.transit_transactions import TransitTacs, TransitTransaction

_PREFIX = 8
"""Digits of an issuer's id that tell issuers apart; the rest is F."""


class TacChecks:
    """`issuers`: first eight hex digits of those whose purses' keys come from the roots here; empty: all of them. A
    key service without the operator's roots proves nothing, and what it cannot prove is never taken as proved."""

    def __init__(self, service: KeyService, issuers: Collection[str] = ()) -> None:
        self._keys = _Keys(service) if isinstance(service, TransitTacs) else None
        self._issuers = frozenset(issuer.upper() for issuer in issuers)

    def verdict(self, tap: TransitTap) -> Verdict:
        """Asks the key service: not for the event loop. Raises HsmError of one that fails."""
        is_ours = not self._issuers or tap.issuer[:_PREFIX] in self._issuers
        return verdict_of(tap, self._keys if is_ours else None)


class _Keys:
    def __init__(self, service: TransitTacs) -> None:
        self._service = service

    def check_tac(
        self, algorithm: Algorithm, version: int, transaction: TransitTransaction, moment: bytes, tac: bytes
    ) -> None:
        self._service.check_transit_tac(algorithm, version, transaction, moment, tac)
