"""A card in use that the centre works on at a terminal: changed data, a new PIN, the tries of a PIN.

The work itself is done by `SocialSecurityCard` and what builds on it. It runs against the answers the card has given so
far and stops at the first command without one; that command is the script's next batch. So it needs no thread, and a
session interrupted by a crash is rebuilt like that of any other script. Each command is a network round trip: a visit
takes ten to thirty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from apdu.channel import has_secret_body
from apdu.response import ResponseApdu
from cardlib.codec import CodecError
from cardlib.management import reload_pin, unblock_pin
from cardlib.script import Script, ScriptError, ScriptStep, derive
from cardlib.session import SocialSecurityCard
from cardlib.wire import BatchCommand
from hsm.api import Algorithm, CardFactors, KeyRef, KeyService

ANY = ("xxxx",)
MAX_COMMANDS = 200
"""Far above what any visit takes: a script that asks on and on ends."""


@dataclass(frozen=True, slots=True)
class VisitOrder:
    """The card that must be in the reader, and what is done to it.

    `changes` are new values by slug (`rewrite`); `pin` is the new one (`pin_reset`) and no part of `to_json`.
    """

    seed: bytes
    atr: bytes
    card_number: str
    identification_code: str
    changes: dict[str, str] = field(default_factory=dict)
    pin: str = field(default="", repr=False)

    def to_json(self) -> dict[str, Any]:
        data = asdict(self) | {"seed": self.seed.hex(), "atr": self.atr.hex().upper()}
        del data["pin"]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> VisitOrder:
        """Raises CodecError when a field is missing, unknown or malformed."""
        try:
            return cls(**data | {"seed": bytes.fromhex(data["seed"]), "atr": bytes.fromhex(data["atr"])})
        except (KeyError, TypeError, ValueError) as error:
            raise CodecError(f"not an order: {type(error).__name__}") from None


def rewrite(order: VisitOrder, keys: KeyService) -> Script:
    """Write the changed items and read each of them back."""

    def work(card: SocialSecurityCard, keys: _Remembering) -> dict[str, str]:
        for slug, value in order.changes.items():
            card.files.write_and_check(slug, value, keys)
        return {"outcome": "rewritten", "items": ",".join(sorted(order.changes))}

    return _at_card(order, keys, work, ("更新卡内信息", "Updating the card"))


def reset_pin(order: VisitOrder, keys: KeyService) -> Script:
    """A new PIN and all its tries. The PIN is not in a rebuilt order: such a session is begun anew."""
    if not order.pin:
        raise ScriptError("PIN_ENTRY_CANCELLED", "the PIN is kept nowhere; it has to be typed again")

    def work(card: SocialSecurityCard, keys: _Remembering) -> dict[str, str]:
        reload_pin(card, keys, order.pin)
        return {"outcome": "pin_reset", "pin_tries": str(card.pin_tries())}

    return _at_card(order, keys, work, ("重置密码", "Setting the new PIN"))


def free_pin(order: VisitOrder, keys: KeyService) -> Script:
    """All tries of the PIN back; the PIN stays."""

    def work(card: SocialSecurityCard, keys: _Remembering) -> dict[str, str]:
        unblock_pin(card, keys)
        return {"outcome": "pin_unblocked", "pin_tries": str(card.pin_tries())}

    return _at_card(order, keys, work, ("解锁密码", "Unlocking the PIN"))


class _Remembering:
    """Keys that are asked once for each thing, however often the work is run over the answers so far."""

    def __init__(self, keys: KeyService) -> None:
        self._authentication_value = cache(keys.authentication_value)
        self._secured_data = cache(keys.secured_data)
        self._versions = cache(keys.versions)

    def authentication_value(self, key: KeyRef, factors: CardFactors, challenge: bytes, original: bytes) -> bytes:
        return self._authentication_value(key, factors, challenge, original)

    def secured_data(
        self, key: KeyRef, factors: CardFactors, challenge: bytes, header: bytes, data: bytes, *, encrypt: bool = False
    ) -> bytes:
        return self._secured_data(key, factors, challenge, header, data, encrypt=encrypt)

    def versions(self, name: str, algorithm: Algorithm, *, region: str = "") -> list[int]:
        return self._versions(name, algorithm, region=region)


class _Unanswered(BaseException):
    """The work wants to send what has no answer yet; not for the work to catch."""

    def __init__(self, command: bytes) -> None:
        self.command = command


class _Answers:
    """A channel that knows the answers so far, in order."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = iter(answers)

    def transmit(self, command: bytes) -> bytes:
        answer = next(self._answers, None)
        if answer is None:
            raise _Unanswered(command)
        return answer


Work = Callable[[SocialSecurityCard, _Remembering], dict[str, str]]


def _at_card(order: VisitOrder, keys: KeyService, work: Work, texts: tuple[str, str]) -> Script:
    """Raises CardNotGenuineError, ScriptError CARD_MISMATCH, and what the work raises."""
    remembering = _Remembering(keys)
    answers: list[bytes] = []
    while True:
        try:
            return _run(order, remembering, work, answers)
        except _Unanswered as asked:
            if len(answers) == MAX_COMMANDS:
                raise ScriptError("INTERNAL", "the work does not end") from None
            command = asked.command
        step = BatchCommand(apdu=command.hex().upper(), expect=ANY, is_secret=has_secret_body(command))
        responses: list[ResponseApdu] = yield ScriptStep((step,), *texts)
        if len(responses) != 1:
            raise ScriptError("CARD_REMOVED", "no answer to the command")
        answers.append(responses[0].to_bytes())


def _run(order: VisitOrder, keys: _Remembering, work: Work, answers: list[bytes]) -> dict[str, str]:
    """The whole work over the answers so far, with the same randoms each time."""
    drawn = iter(range(MAX_COMMANDS))
    card = SocialSecurityCard(
        _Answers(answers),
        order.atr,
        protocol="T=1",  # who executes the command has followed up what T=0 demands
        random=lambda length: derive(order.seed, f"random {next(drawn)}", length),
    )
    card.open()
    card.check_genuine(keys)
    found = card.identification_code, card.card_number
    if found != (order.identification_code, order.card_number):
        raise ScriptError("CARD_MISMATCH", "another card's data is on the chip")
    return work(card, keys)
