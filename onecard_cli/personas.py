"""Simulated cards and PSAMs of this installation: built once with its keys, then kept like a chip keeps its memory."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from cardlib.failures import FailureCode
from onecard_cli.home import Home
from onecard_cli.output import CommandError
from simulators.card import CardState, CardStateError, CardStore, SimCard
from simulators.contactless import ContactlessCard
from simulators.factory import build_card, complete
from simulators.personas import load
from simulators.psam import PsamStateError, PsamStore, SimPsam

PSAMS_MAX = 16


@dataclass(frozen=True, slots=True)
class PersonaCard:
    """The card and the region a PSAM beside it would be of."""

    card: SimCard | ContactlessCard
    region: str
    generation: str
    lock: TextIO
    """Held open while the card is in a reader: one chip cannot be in two places."""

    @property
    def state(self) -> CardState:
        return self.card.state


@dataclass(frozen=True, slots=True)
class InstalledPsam:
    psam: SimPsam
    lock: TextIO


def _take(path: Path) -> TextIO:
    """Raises BlockingIOError while another run has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock


def _unreadable(path: Path, error: Exception, remedy: str) -> CommandError:
    return CommandError(FailureCode.SIM_IMAGE_INVALID, f"{path.name}: {error}; {remedy}")


def persona_card(home: Home, name: str, *, fresh: bool = False, is_contactless: bool = False) -> PersonaCard:
    """The card of a persona in its last state, or a new one; what an earlier version did not know is added to it.

    Raises PersonaError, CommandError CARD_BUSY, SIM_IMAGE_INVALID.
    """
    persona = load(name)
    try:
        lock = _take(home.path / "cards" / f"{name}.lock")
    except OSError:
        raise CommandError(FailureCode.CARD_BUSY, f"the simulated card {name} is in another run") from None
    try:
        card = _stored_card(home, name, fresh=fresh, is_contactless=is_contactless)
    except BaseException:
        lock.close()
        raise
    return PersonaCard(card, persona.region, persona.generation, lock)


def _stored_card(home: Home, name: str, *, fresh: bool, is_contactless: bool) -> SimCard | ContactlessCard:
    persona = load(name)
    store = CardStore(home.path / "cards" / f"{name}.json")
    if fresh or not store.path.exists():
        store.save(build_card(persona, home.roots()))
    try:
        state = store.load()
    except CardStateError as error:
        raise _unreadable(store.path, error, f"./onecard sim card --persona {name} --fresh") from error
    if complete(state, persona, home.roots()):
        store.save(state)
    kind = ContactlessCard if is_contactless else SimCard
    return kind(state, faults=persona.faults(), store=store)


def installed_psam(home: Home, region: str, *, fresh: bool = False) -> InstalledPsam:
    """The region's first PSAM that is in no other run, with the transaction numbers and keys of its last one.

    Raises CommandError CARD_BUSY, SIM_IMAGE_INVALID.
    """
    for number in range(1, PSAMS_MAX + 1):
        path = home.path / "cards" / f"psam-{region}-{number:02d}.json"
        try:
            lock = _take(path.with_suffix(".lock"))
        except OSError:
            continue
        if fresh:
            path.unlink(missing_ok=True)
        serial, terminal = f"{region}{number:014d}", f"{region}{number:06d}"
        try:
            psam = SimPsam(home.roots(), region, terminal, serial=serial, store=PsamStore(path))
        except PsamStateError as error:
            lock.close()
            raise _unreadable(path, error, f"./onecard sim psam --region {region} --fresh") from error
        return InstalledPsam(psam, lock)
    raise CommandError(FailureCode.CARD_BUSY, f"all {PSAMS_MAX} simulated PSAMs of {region} are in other runs")
