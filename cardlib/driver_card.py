"""One card as the driver interface uses it: parts of authentications and of a settlement, with a pause in between.

The two- and three-step flows (terminal.md §11) leave the card while the centre computes; the card keeps its challenge.
"""

from __future__ import annotations

from datetime import datetime

from apdu.errors import StatusWordError
from cardlib import commands as c
from cardlib.errors import CardMismatchError
from cardlib.files import parse_all
from cardlib.medical import DF, Journal, MedicalAccount, Permit
from cardlib.session import BasicInformation, SocialSecurityCard
from hsm.api import CardAuthenticator, CardFactors, KeyRef
from hsm.transactions import Purchase

_LOCAL_KEY = 0x80


class DriverCard(SocialSecurityCard):
    """A session whose EXTERNAL AUTHENTICATION comes in two halves."""

    def challenge_for(self, key: str) -> tuple[bytes, bytes]:
        """Process factor and original: two challenges of the card, the last one the factor (terminal.md §11).

        Raises LastKeyTryError before anything is spent.
        """
        spec = self.known_spec().key(key)
        self._tries.require(self.reset_information, key, use_last_try=False)
        if spec.kid & _LOCAL_KEY:
            self.select(spec.df)
        original = self.send(c.get_challenge()).data
        return self.send(c.get_challenge()).data, original

    def prove(self, key: str, value: bytes, original: bytes) -> None:
        """EXTERNAL AUTHENTICATION right after `challenge_for`. Raises StatusWordError with the tries left."""
        try:
            self.send(c.external_authentication(self.known_spec().key(key).kid, value, original))
        except StatusWordError as error:
            self.remember_failure(key, error)
            raise
        self._tries.succeeded(self.reset_information, key)
        self._authenticated.add(key)

    def read_proved(self) -> BasicInformation:
        """持卡人基本信息 of a card that is open, genuine and authenticated; nothing but the reading is sent."""
        spec = self.known_spec()
        holder = parse_all(b"".join(self.files.read_runs(spec.ef("SSSEEF06"), Proved())))
        return self._basic(spec, {record.tag: record.value for record in holder}, genuine=True)


class Proved(CardAuthenticator):
    """Stands where a file's key was proved already; asked for another value, it has none."""

    def authentication_value(self, key: KeyRef, factors: CardFactors, challenge: bytes, original: bytes) -> bytes:
        raise CardMismatchError(f"{key.name} was not authenticated in this flow")


class SteppedPurchase(MedicalAccount):
    """医疗消费 in two halves (P7 §12)."""

    def begin(self, amounts: tuple[int, int, int], terminal: bytes, now: datetime, *, index: int = 1) -> Purchase:
        """INITIALIZE FOR PURCHASE; nothing has moved. The terminal's number is not in it yet."""
        self._card.select(DF)
        raw_amounts = b"".join(amount.to_bytes(4, "big") for amount in amounts)
        answer = self._exact(self._card.send(c.initialize_for_purchase(index, raw_amounts, terminal)), 22)
        self._check_key(answer[16:18], index)
        sequence = int.from_bytes(answer[14:16], "big")
        return Purchase(answer[18:22], sequence, *amounts, terminal, bytes(4), bcd_time(now))

    def complete(
        self, draft: Purchase, permit: Permit, time: bytes, journal: Journal, *, index: int = 1
    ) -> tuple[Purchase, bytes, bytes]:
        """DEBIT FOR PURCHASE: the settlement, its TAC and the card's MAC2. `journal` keeps it before money moves."""
        own = Purchase(
            draft.random,
            draft.sequence,
            draft.account,
            draft.self_paid,
            draft.pooling,
            draft.terminal,
            permit.number,
            time,
        )
        journal(self._pending(index, own))
        answer = self._exact(self._card.send(c.debit_for_purchase(permit.number, time, permit.mac1)), 8)
        return own, answer[:4], answer[4:]


def bcd_time(now: datetime) -> bytes:
    """Seven BCD bytes."""
    return bytes.fromhex(now.strftime("%Y%m%d%H%M%S"))
