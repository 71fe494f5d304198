"""Ride codes at the gate: from what the scanner typed to a decision and its record, without the network."""

from __future__ import annotations

import base64
import binascii
import threading
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Final

from cardlib.failures import describe
from cardlib.transit_code import CHINA, TransitCode, TransitCodeError, user_signed_part
from cardlib.transit_code_uses import FileUses
from cardlib.transit_code_verifier import TransitCodeVerifier
from cardlib.transit_gate_result import Reason
from cardlib.transit_rules import TransitRules
from cardlib.transit_takings import Mode, TransitCodeRide
from hsm.primitives import default_engine
from terminal_agent.journal.store import JournalFullError
from terminal_agent.transit.books import Books
from terminal_agent.transit.decision import Decision, because
from terminal_agent.transit.place import mode_of, place_of
from terminal_agent.transit.published import Published
from terminal_agent.transit.screen import Sign
from terminal_agent.transit.words import Both, both

MAX_CHARS: Final = 1024
"""Of one code as a scanner types it: hex of 364 bytes has 728."""
_RETRIED: Final = frozenset({"TRANSIT_CODE_EXPIRED", "TRANSIT_CODE_DUPLICATE", "TRANSIT_CODE_MALFORMED"})
"""A code made anew helps; so the passenger tries again."""


def scanned_bytes(text: str) -> bytes:
    """Bytes of a code that a scanner typed as hex or as base64, either alphabet; empty for any other text."""
    text = "".join(text.split())
    if not text or len(text) > MAX_CHARS:
        return b""
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass
    try:
        plain = text.replace("-", "+").replace("_", "/").rstrip("=")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


class CodeGate:
    """`ride` blocks and is called by one thread at a time. `used` is a file: no code passes twice over a restart."""

    def __init__(
        self, rules: TransitRules, published: Published, used: FileUses, books: Books, clock: Callable[[], float]
    ) -> None:
        self.rules = rules
        self._published = published
        self._used = used
        self._books = books
        self._clock = clock
        self._verifier: TransitCodeVerifier | None = None
        self._turn = threading.Lock()

    def close(self) -> None:
        self._used.close()

    def ride(self, text: str) -> Decision:
        """Never raises for what is wrong with a code."""
        rules = self.rules
        fare, mode = rules.policy.code_fare_fen, mode_of(rules)
        if fare is None or mode is None:
            return Decision(Sign.STAFF, Reason.CODE.name, both("no_codes"))
        if not rules.holds(datetime.fromtimestamp(self._clock(), CHINA).date()):
            return because(Reason.RULES, Sign.STAFF)
        with self._turn:
            raw = scanned_bytes(text)
            verifier = self._current()
            if not raw:
                return Decision(Sign.AGAIN, Reason.CODE.name, both("unreadable_code"))
            if verifier is None:
                return because(Reason.CODE, Sign.STAFF)
            try:
                code = verifier.verify(raw, fare)
            except TransitCodeError as refused:
                return _refused(refused)
            return self._paid(raw, code, fare, mode)

    def _paid(self, raw: bytes, code: TransitCode, fare: int, mode: Mode) -> Decision:
        rules, fields = self.rules, code.authorisation.fields
        blocked = self._published.is_account_blocked(fields.issuer, fields.card_account)
        if blocked:
            return Decision(Sign.STOP, Reason.BLOCKED.name, both("code_blocked"))
        if blocked is None and rules.policy.block_list == "required":
            return because(Reason.BLOCK_LIST, Sign.STAFF)
        ride = TransitCodeRide(
            platform=fields.platform.hex().upper(),
            issuer=fields.issuer,
            payment_account=fields.payment_account,
            card_account=fields.card_account,
            code=default_engine().sm3(user_signed_part(raw)).hex(),
            authorised_until=fields.authorised_until,
            amount_fen=fare,
            fare_fen=fare,
            product="code",
            mode=mode,
            time=f"{datetime.fromtimestamp(self._clock(), CHINA):%Y%m%d%H%M%S}",
            place=place_of(rules),
        )
        try:
            self._books.take(ride, key=uuid.uuid4().hex)
        except JournalFullError:
            return because(Reason.JOURNAL, Sign.STAFF)
        return Decision(Sign.PASS, Reason.CODE_PAID.name, both("code_paid"), fare)

    def _current(self) -> TransitCodeVerifier | None:
        """For the roots of now; None without any."""
        anchors = self._published.anchors
        if anchors is None:
            self._verifier = None
        elif self._verifier is None or self._verifier.anchors is not anchors:
            self._verifier = TransitCodeVerifier(anchors, clock=self._clock, used=self._used)
        return self._verifier


def _refused(refused: TransitCodeError) -> Decision:
    failure = describe(refused.failure)
    sign = Sign.AGAIN if refused.failure in _RETRIED else Sign.STOP
    return Decision(sign, refused.failure, Both(failure.text_zh, failure.text_en))
