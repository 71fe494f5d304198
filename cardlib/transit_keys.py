"""The transit operator's side of a purse: approving what changes it online, checking what terminals hand in.

The cryptograms come from a key service (`hsm.transit_transactions`); this puts a journal's transactions to it.
"""

from __future__ import annotations

from cardlib.transit_journal import Pending, Receipt
from cardlib.transit_psam import algorithm_of
from hsm.transactions import CryptogramError
from hsm.transit_transactions import TransitTransaction, TransitTransactionKeys


class TransitKeys:
    """Roots of one version, for both algorithms. As thread-safe as the service."""

    def __init__(self, keys: TransitTransactionKeys, *, version: int = 1) -> None:
        self._keys = keys
        self._version = version

    def purchase_macs(self, transaction: Pending) -> tuple[bytes, bytes]:
        """MAC1 and MAC2, as PSAM and purse compute them. Raises HsmError."""
        moment = bytes.fromhex(transaction.moment)
        return self._keys.purchase_macs(algorithm_of(transaction.algorithm), self._version, _of(transaction), moment)

    def is_genuine(self, receipt: Receipt) -> bool:
        """What clearing asks of a record: is its TAC the purse's own? False too for one without a TAC."""
        try:
            self.check_tac(receipt.transaction, bytes.fromhex(receipt.transaction.moment), bytes.fromhex(receipt.tac))
        except CryptogramError:
            return False
        return True

    def check_tac(self, transaction: Pending, moment: bytes, tac: bytes) -> None:
        """Raises CryptogramError when `tac` is not the purse's own for this transaction at this time."""
        self._keys.check_tac(algorithm_of(transaction.algorithm), self._version, _of(transaction), moment, tac)

    def online_mac2(self, transaction: Pending, moment: bytes) -> bytes:
        """The operator's leave; `moment` is its own clock. Raises CryptogramError when MAC1 is not the purse's."""
        algorithm = algorithm_of(transaction.algorithm)
        mac1 = bytes.fromhex(transaction.mac1)
        return self._keys.online_mac2(algorithm, self._version, _of(transaction), mac1, moment)

    def command_mac(self, algorithm: int, issuer: bytes, factor: bytes, challenge: bytes, header: bytes) -> bytes:
        """MAC of a maintenance command without data (the issuer's APPLICATION UNBLOCK); `header` is CLA INS P1 P2."""
        return self._keys.maintenance_mac(algorithm_of(algorithm), self._version, issuer, factor, challenge, header)


def _of(pending: Pending) -> TransitTransaction:
    return TransitTransaction(
        kind=pending.kind,
        issuer=bytes.fromhex(pending.issuer),
        factor=bytes.fromhex(pending.serial)[2:],
        random=bytes.fromhex(pending.random),
        sequence=pending.sequence,
        balance=pending.balance_fen,
        amount=pending.amount_fen,
        terminal=bytes.fromhex(pending.terminal),
        terminal_sequence=bytes.fromhex(pending.terminal_sequence),
        limit=pending.limit_fen,
    )
