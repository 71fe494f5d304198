"""Golden recordings of `card read --all` on made-up persons: read again without a card, and still what is sent today.

After a change of what reading sends: `python -m tests.cardlib.test_recordings` writes them anew.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from apdu.channel import Channel
from apdu.errors import ReplayError
from apdu.inprocess import DEFAULT_READERS, InProcessReaders
from apdu.scripts.parser import parse
from apdu.scripts.recording import RecordingChannel, ReplayChannel
from apdu.scripts.runner import CardAccess, Outcome, run
from cardlib.files import CardContent
from cardlib.session import BasicInformation, SocialSecurityCard
from hsm.soft import SoftKeyService
from simulators.card import SimCard
from simulators.factory import build_card
from simulators.ministry import ALGORITHMS, RootKeys, key_lengths
from simulators.personas import load
from tests.cardlib.support import key_service_of

FOLDER = Path(__file__).parents[1] / "vectors" / "recordings"
PERSONAS = ("adult-1.0", "adult-2.0", "adult-3.0")


def _bytes(label: str, length: int) -> bytes:
    return hashlib.sha256(label.encode()).digest()[:length]


@cache
def roots() -> RootKeys:
    """Keys of the recordings: derived from their names, so that the card's proofs stay the same."""
    return RootKeys(
        {alg: {n: _bytes(f"{alg} {n}", size) for n, size in key_lengths(alg).items()} for alg in ALGORITHMS}
    )


@cache
def keys() -> SoftKeyService:
    return key_service_of(roots())


@cache
def simulated(persona: str) -> SimCard:
    return SimCard(build_card(load(persona), roots()))


def same_randoms() -> Callable[[int], bytes]:
    counter = itertools.count()
    return lambda length: _bytes(f"random {next(counter)}", length)


def read(channel: Channel, atr: bytes) -> tuple[BasicInformation, CardContent]:
    card = SocialSecurityCard(channel, atr, random=same_randoms())
    return card.read_basic(keys()), card.read_all(keys())


@cache
def read_now(persona: str) -> tuple[str, tuple[BasicInformation, CardContent]]:
    stream, card = io.StringIO(), simulated(persona)
    recorder = RecordingChannel(card, stream)
    atr = card.power_on()
    recorder.note_reset(atr)
    found = read(recorder, atr)
    card.power_off()
    return stream.getvalue(), found


def golden(persona: str) -> str:
    return (FOLDER / f"{persona}.apdu").read_text(encoding="utf-8")


@pytest.mark.parametrize("persona", PERSONAS)
def test_a_recording_reads_like_the_card(persona: str) -> None:
    replay = ReplayChannel(golden(persona))
    assert read(replay, replay.reset()) == read_now(persona)[1]
    assert replay.is_finished


@pytest.mark.parametrize("persona", PERSONAS)
def test_reading_sends_what_was_recorded(persona: str) -> None:
    assert re.sub("~[0-9A-F]+", "~", read_now(persona)[0]) == re.sub("~[0-9A-F]+", "~", golden(persona))


def against(card: SimCard, text: str) -> Any:
    readers = InProcessReaders()
    readers.insert(DEFAULT_READERS[0], card)
    connection = readers.connect(DEFAULT_READERS[0])
    return run(parse(text), CardAccess(connection, connection, lambda: connection.atr), keeps_going=True)


@pytest.mark.parametrize("persona", PERSONAS)
def test_a_recording_holds_against_the_card_and_not_against_another(persona: str) -> None:
    report = against(simulated(persona), golden(persona))
    assert report.is_ok
    assert report.count(Outcome.PASSED) > 15
    assert all(result.note_zh for result in report.results if result.outcome is Outcome.SKIPPED)
    other = SimCard(build_card(load("child-3.0"), roots()))
    assert not against(other, golden(persona)).is_ok


def test_a_recording_has_no_key_and_no_answer_to_another_command() -> None:
    text = golden("adult-3.0")
    assert not any(re.search(r"^(00|04)82.{5,}=>", line) and "?" not in line for line in text.splitlines())
    replay = ReplayChannel(text)
    replay.reset()
    with pytest.raises(ReplayError):
        replay.transmit(bytes.fromhex("00B0850000"))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in PERSONAS:
        (FOLDER / f"{name}.apdu").write_text(read_now(name)[0], encoding="utf-8")
