"""Which rules count at this gate: all in its own file, or those its network publishes, from their day on.

What was published last and could be used stays in a file here, so that a gate starts with it, network or not. Whoever
can write there is believed, as with the rest of the state folder.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from cardlib.transit_gate import GateClock
from cardlib.transit_network import GateFile, NetworkRules, in_force, of_network, own_rules, timeline
from cardlib.transit_rules import TransitRules, TransitRulesError, read_table
from hsm.sealed_store import write_atomically

KEPT: Final = "rules.json"
SOON: Final = timedelta(days=14)
LOG = logging.getLogger("terminal_agent.transit")


@dataclass(frozen=True, slots=True)
class Edition:
    """One of the network's, and what it makes of this gate's own file."""

    text: str
    published: NetworkRules
    rules: TransitRules


class RuleBook:
    """`renew` blocks and is called by one thread at a time. Raises TransitRulesError at once for an own file that
    cannot be used: such a gate is none."""

    def __init__(self, file: Path, folder: Path, clock: GateClock) -> None:
        self._file = file
        self._kept = folder / KEPT
        self._clock = clock
        self._stamp = _stamp(file)
        self._editions: dict[str, Edition] = {}
        self._current = ""
        self._taken: Mapping[str, bytes] | None = None
        self._refused: dict[str, str] = {}
        self._own = _own(file)
        if isinstance(self._own, GateFile):
            self._reopen(self._own)
            self._choose()
        self._settle()

    # -- how things stand -------------------------------------------------------------------------------------------

    @property
    def network(self) -> str | None:
        """None where the own file has all."""
        return self._own.network if isinstance(self._own, GateFile) else None

    @property
    def are_missing(self) -> bool:
        return self.network is not None and self._current not in self._editions

    @property
    def are_refused(self) -> bool:
        """Whether there are newer ones that cannot be used, or the network publishes none."""
        return bool(self._refused)

    @property
    def following(self) -> tuple[date, TransitRules] | None:
        """What counts next, and from which day on: one that has come where nobody agrees with the clock."""
        today = self._clock.now().date()
        for first, last, published in timeline([each.published for each in self._editions.values()]):
            if last >= today and published is not None and published.file_name != self._current:
                return first, self._editions[published.file_name].rules
        return None

    @property
    def standing(self) -> Literal["good", "due", "old", "missing"]:
        """`due`: newer ones are refused, or these end within two weeks and nothing follows them."""
        today = self._clock.now().date()
        if self.are_missing or today < self.rules.valid_from:
            return "missing"
        if today > self.rules.valid_until:
            return "old"
        is_ending = self.rules.valid_until - today < SOON and self.following is None
        return "due" if is_ending or self.are_refused else "good"

    def wait_s(self, most_s: float) -> float:
        """Until it is worth while to look again: rules begin and end with the day."""
        now = self._clock.now()
        midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time())
        return min(most_s, (midnight - now).total_seconds())

    # -- what changes them --------------------------------------------------------------------------------------------

    def renew(self, published: Mapping[str, bytes] | None) -> bool:
        """Look at the own file, at what is published (None: not known) and at the clock. True when other rules count
        from now on."""
        before, own = self.rules, self._own
        self._read_own()
        if isinstance(self._own, GateFile):
            mine = None if published is None else of_network(self._own.network, published)
            if mine is not None and (mine != self._taken or own is not self._own):
                self._take(self._own, mine)
            self._choose()
        self._settle()
        return self.rules != before

    def _read_own(self) -> None:
        stamp = _stamp(self._file)
        if stamp == self._stamp or stamp is None:
            return
        self._stamp = stamp
        try:
            own = _own(self._file)
            if isinstance(own, GateFile):
                kept = {name: text.encode() for name, text in self._texts.items()}
                self._editions = _editions(own, of_network(own.network, kept))
        except TransitRulesError as error:
            self._refuse("own", error)
            return
        self._own = own
        self._refused.pop("own", None)
        if not isinstance(own, GateFile):
            self._refused.clear()
            self._taken, self._editions = None, {}

    def _take(self, own: GateFile, mine: Mapping[str, bytes]) -> None:
        """The network's files of a new set, all or none of them."""
        self._taken = mine
        try:
            if not mine:
                raise TransitRulesError(f"nothing is published for network {own.network}")
            found = _editions(own, mine)
        except TransitRulesError as error:
            self._refuse("published", error)
            return
        self._refused.pop("published", None)
        today = self._clock.now().date()
        if self._current in self._editions and not _counting(found, today):
            # What counts goes on until the first of the new ones begins.
            found.setdefault(self._current, self._editions[self._current])
        if {name: each.text for name, each in found.items()} != self._texts:
            self._editions = found
            self._keep()

    def _choose(self) -> None:
        """The newest that has begun. A clock that the centre has not agreed with lately makes none begin or go back,
        unless the one that counts is over by it or not there any more."""
        today = self._clock.now().date()
        wanted = _counting(self._editions, today)
        current = self._editions.get(self._current)
        if wanted is None or wanted == self._current:
            return
        if current is None or self._clock.is_trusted() or current.rules.valid_until < today:
            self._current = wanted
            self._keep()

    def _refuse(self, which: str, error: Exception) -> None:
        LOG.error("the new rules are not used: %s", error)
        self._refused[which] = str(error)

    def _settle(self) -> None:
        own, current = self._own, self._editions.get(self._current)
        if isinstance(own, TransitRules):
            self.rules: TransitRules = own
        elif current is not None:
            self.rules = current.rules
        else:
            self.rules = own.no_rules()

    # -- what is kept -------------------------------------------------------------------------------------------------

    @property
    def _texts(self) -> dict[str, str]:
        return {name: each.text for name, each in self._editions.items()}

    def _keep(self) -> None:
        kept = {"in_force": self._current, "editions": self._texts}
        try:
            self._kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(self._kept, json.dumps(kept, ensure_ascii=False).encode())
        except OSError as error:
            LOG.error("the rules of %s cannot be kept: %s", self.network, error)

    def _reopen(self, own: GateFile) -> None:
        """What cannot be read counts as none: the set in force brings it anew."""
        try:
            kept: dict[str, Any] = json.loads(self._kept.read_bytes())
            raws = {str(name): str(text).encode() for name, text in kept["editions"].items()}
            self._editions = _editions(own, of_network(own.network, raws))
            self._current = str(kept["in_force"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            LOG.warning("the rules kept here cannot be used: %s", error)


def _own(file: Path) -> TransitRules | GateFile:
    """Raises TransitRulesError, which names the file."""
    try:
        return own_rules(read_table(file))
    except OSError as error:
        raise TransitRulesError(f"{file.name}: {error.strerror}") from error
    except TransitRulesError as error:
        raise TransitRulesError(f"{file.name}: {error}") from None


def _editions(own: GateFile, raws: Mapping[str, bytes]) -> dict[str, Edition]:
    """Raises TransitRulesError, which names the file."""
    found = {}
    for name, raw in raws.items():
        try:
            published = NetworkRules.parse(raw)
            if published.file_name != name:
                raise TransitRulesError(f"it is {published.file_name}")
            found[name] = Edition(raw.decode(), published, own.rules(published))
        except TransitRulesError as error:
            raise TransitRulesError(f"{name}: {error}") from None
    return found


def _counting(editions: Mapping[str, Edition], day: date) -> str | None:
    found = in_force((each.published for each in editions.values()), day)
    return None if found is None else found.file_name


def _stamp(file: Path) -> tuple[int, int] | None:
    """Changes when the file does; None while it is not there."""
    try:
        told = file.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size
