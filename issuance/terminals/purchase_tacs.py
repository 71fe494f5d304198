"""Whether a settlement's TAC is that of the card it names: proved where the card is ours and its key is here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from cardlib.hsm_route import factors_of
from cardlib.key_set import KeySet
from cardlib.terminal_records import PurchaseRecord
from cardlib.transit_clearing import Verdict
from hsm.api import Algorithm, KeyNotFoundError
from hsm.transactions import CryptogramError, Purchase
from issuance.services import Services

_ALGORITHMS: Final = {"2.0": Algorithm.TDES, "3.0": Algorithm.SM4}


class PurchaseTacs:
    """`chips`: rows of our cards by number and identification code (`TerminalRepository.chips`)."""

    def __init__(self, services: Services, chips: dict[tuple[str, str], list[Any]]) -> None:
        self._services = services
        self._chips = chips

    async def verdicts(self, purchases: Sequence[PurchaseRecord]) -> list[Verdict]:
        return await asyncio.to_thread(lambda: [self._verdict(purchase) for purchase in purchases])

    def _verdict(self, purchase: PurchaseRecord) -> Verdict:
        """Another issuer's card is proved by nobody here; one that bore the number before may have paid as well."""
        if purchase.tac is None:
            return Verdict.NONE
        chips = self._chips.get((purchase.card_number, purchase.identification_code), [])
        found = {self._by(chip, purchase, bytes.fromhex(purchase.tac)) for chip in chips}
        for verdict in (Verdict.GENUINE, Verdict.FOREIGN, Verdict.WRONG):
            if verdict in found:
                return verdict
        return Verdict.FOREIGN

    def _by(self, chip: Any, purchase: PurchaseRecord, tac: bytes) -> Verdict:
        key = KeySet(self._services.keys, _ALGORITHMS[chip.generation], chip.key_version).ref("DTK")
        factors = factors_of(chip.identification_code[:6], chip.reset_information)
        try:
            self._services.transactions.check_tac(key, factors, _transaction(purchase), tac)
        except KeyNotFoundError:
            return Verdict.FOREIGN
        except CryptogramError:
            return Verdict.WRONG
        return Verdict.GENUINE


def _transaction(purchase: PurchaseRecord) -> Purchase:
    """As far as the TAC covers it; the card's random and its counter are in none."""
    return Purchase(
        random=bytes(4),
        sequence=0,
        account=purchase.account_fen,
        self_paid=purchase.self_paid_fen,
        pooling=purchase.pooling_fen,
        terminal=bytes.fromhex(purchase.terminal),
        number=bytes.fromhex(purchase.number),
        time=bytes.fromhex(purchase.time),
    )
