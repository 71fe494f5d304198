"""The transit operator's side of a purse, for keys at hand: approving loads, checking what terminals hand in.

Rules of transit_card.md §3. SM4 follows the recommended reading of OPEN X3, in one place: `hsm.card_crypto`, whose
session key and MAC are the same as the social security card's.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from cardlib.transit_journal import Pending, Receipt
from cardlib.transit_psam import algorithm_of
from hsm import card_crypto
from hsm.api import Algorithm
from hsm.primitives import Engine

_LOAD_SEED_END = b"\x80\x00"


class TransitKeys:
    """Root keys DPK, DLK, DTK and DAMK of one algorithm. Safe to share between threads.

    `is_mac_folded` False takes the left four bytes of SM4 MACs, for issuers that read OPEN X3 so.
    """

    def __init__(
        self, engine: Engine, algorithm: Algorithm, roots: Mapping[str, bytes], *, is_mac_folded: bool = True
    ) -> None:
        self._engine = engine
        self._algorithm = algorithm
        self._roots = dict(roots)
        self._takes_left = not is_mac_folded and algorithm is Algorithm.SM4

    def card_key(self, name: str, issuer: bytes, factor: bytes) -> bytes:
        """Two diversifications (两级分散): by the issuer, then by the last 8 bytes of the serial."""
        key = self._roots[name]
        for part in (issuer, factor):
            key = card_crypto.diversify(self._engine, self._algorithm, key, part)
        return key

    def _key(self, name: str, transaction: Pending) -> bytes:
        factor = bytes.fromhex(transaction.serial)[2:]
        if algorithm_of(transaction.algorithm) is not self._algorithm:
            raise ValueError("transaction and keys are of different algorithms")
        return self.card_key(name, bytes.fromhex(transaction.issuer), factor)

    def _session_key(self, name: str, transaction: Pending, end: bytes) -> bytes:
        seed = bytes.fromhex(transaction.random) + transaction.sequence.to_bytes(2, "big") + end
        return card_crypto.session_key(self._engine, self._algorithm, self._key(name, transaction), seed)

    def _mac(self, key: bytes, message: bytes) -> bytes:
        if self._takes_left:
            padded = message + b"\x80"
            return self._engine.sm4_cbc(key, bytes(16), padded + bytes(-len(padded) % 16))[-16:-12]
        return card_crypto.mac(self._engine, self._algorithm, key, message)

    def _tac(self, transaction: Pending, message: bytes) -> bytes:
        key = self._key("DTK", transaction)
        if self._takes_left:
            return self._mac(key, message)
        return card_crypto.tac(self._engine, self._algorithm, key, message)

    # -- purchases ------------------------------------------------------------------------------------------------

    def purchase_macs(self, transaction: Pending) -> tuple[bytes, bytes]:
        """MAC1 and MAC2, as PSAM and card compute them."""
        key = self._session_key("DPK", transaction, bytes.fromhex(transaction.terminal_sequence)[2:])
        amount = transaction.amount_fen.to_bytes(4, "big")
        start = amount + bytes((transaction.kind,)) + bytes.fromhex(transaction.terminal)
        return self._mac(key, start + bytes.fromhex(transaction.moment)), self._mac(key, amount)

    def purchase_tac(self, transaction: Pending) -> bytes:
        start = transaction.amount_fen.to_bytes(4, "big") + bytes((transaction.kind,))
        place = bytes.fromhex(transaction.terminal + transaction.terminal_sequence + transaction.moment)
        return self._tac(transaction, start + place)

    def is_genuine(self, receipt: Receipt) -> bool:
        """What clearing asks of a purchase record: is its TAC the card's own?"""
        return hmac.compare_digest(self.purchase_tac(receipt.transaction).hex(), receipt.tac.lower())

    # -- loads ----------------------------------------------------------------------------------------------------

    def is_load_request_genuine(self, load: Pending) -> bool:
        """Whether MAC1 of INITIALIZE FOR LOAD comes from the card it names."""
        message = load.balance_fen.to_bytes(4, "big") + self._load_start(load)
        mac1 = self._mac(self._session_key("DLK", load, _LOAD_SEED_END), message)
        return hmac.compare_digest(mac1.hex(), load.mac1.lower())

    def load_mac2(self, load: Pending, moment: bytes) -> bytes:
        """The operator's leave; `moment` is its own clock."""
        return self._mac(self._session_key("DLK", load, _LOAD_SEED_END), self._load_start(load) + moment)

    def load_tac(self, load: Pending, moment: bytes) -> bytes:
        after = (load.balance_fen + load.amount_fen).to_bytes(4, "big")
        return self._tac(load, after + load.sequence.to_bytes(2, "big") + self._load_start(load) + moment)

    def _load_start(self, load: Pending) -> bytes:
        return load.amount_fen.to_bytes(4, "big") + bytes((load.kind,)) + bytes.fromhex(load.terminal)

    # -- maintenance ----------------------------------------------------------------------------------------------

    def command_mac(self, issuer: bytes, factor: bytes, challenge: bytes, header: bytes) -> bytes:
        """MAC of a maintenance command without data under DAMK; IV = challenge (the issuer's APPLICATION UNBLOCK)."""
        key = self.card_key("DAMK", issuer, factor)
        message = header + b"\x04"
        if self._algorithm is Algorithm.SM4:
            return card_crypto.mac(self._engine, self._algorithm, key, message, iv=challenge)
        padded = message + b"\x80" + bytes(-(len(message) + 1) % 8)
        first = bytes(a ^ b for a, b in zip(padded[:8], challenge.ljust(8, b"\0"), strict=True))
        return self._engine.des_retail_mac(key, first + padded[8:])[:4]
