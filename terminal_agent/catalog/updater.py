"""Keeps a terminal's set of published files up to date, in a thread of its own.

The thread has the usual priority: it shares Python's lock with the event loop, and a thread that the system lets wait
while it holds that lock makes cards wait too. What takes long (network, digests, disk) is done without the lock.
"""

from __future__ import annotations

import ctypes
import logging
import random
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx

from apps_catalog.distribution.errors import FrozenError, NothingHeldError, RootExpiredError, StaleError, alarm_of
from apps_catalog.distribution.held import Held, held
from apps_catalog.distribution.pace import Pace
from cardlib.client_auth import ClientAuth, ClientKey
from cardlib.failures import FailureCode, failure_of
from terminal_agent.catalog import configuration
from terminal_agent.catalog.contents import Contents
from terminal_agent.settings import AgentSettings

_MMAP_THRESHOLD: Final = -3
"""M_MMAP_THRESHOLD of glibc's malloc.h: larger blocks come from the system and go back to it."""
_LARGE: Final = 1 << 20
_RANDOM: Final = random.SystemRandom().random
_SPREAD: Final = 0.1
"""Part of the interval within which terminals that were switched on together ask."""

LOG = logging.getLogger("terminal_agent.catalog")


@dataclass(frozen=True, slots=True)
class Report:
    """How things stand after a round. `contents` are new ones to take the place of those before, or None.

    `failure` says why the round failed; `lost` why what was held at the start cannot be used, until something is held
    again. `asked` is the highest number of `Updater.wake` that it has served.
    """

    held: Held | None
    contents: Contents | None
    failure: FailureCode | None
    detail: str
    next_try: datetime
    asked: int
    lost: FailureCode | None = None


class Updater:
    """`tell` is called in the updater's thread and owns the contents it is given."""

    def __init__(
        self,
        settings: AgentSettings,
        tell: Callable[[Report], None],
        *,
        chance: Callable[[], float] = _RANDOM,
    ) -> None:
        assert settings.catalog_url is not None
        assert settings.state_dir is not None
        self._url = settings.catalog_url
        self._into = settings.state_dir / "catalog"
        self._settings = settings
        self._tell = tell
        self._auth = _auth_of(settings)
        self._chance = chance
        self._signal = threading.Condition()
        self._asked = 0
        self._served = 0
        self._is_stopped = False
        self._held: Held | None = None
        self._lost: FailureCode | None = None
        self._edition = 0
        self._failures = 0
        self.set_interval(settings.catalog_interval_s)
        self._thread = threading.Thread(target=self._run, name="catalog updater", daemon=True)

    def set_interval(self, interval_s: float) -> None:
        self._pace = Pace(interval_s, max(interval_s, Pace().longest_s))

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> int:
        """Fetch now; the number of this call, to be found in a report."""
        with self._signal:
            self._asked += 1
            self._signal.notify_all()
            return self._asked

    def stop(self, timeout_s: float) -> None:
        """Ends the thread between two rounds. One that waits for the network longer than this ends with the process,
        which leaves the set in force as it is."""
        with self._signal:
            self._is_stopped = True
            self._signal.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        _give_memory_back()
        wait_s = self._round(self._reopen, self._first_wait_s)
        while True:
            with self._signal:
                self._signal.wait_for(lambda: self._is_stopped or self._asked > self._served, wait_s)
                if self._is_stopped:
                    return
                self._served = self._asked
            wait_s = self._round(self._fetch, self._next_wait_s)

    def _round(self, work: Callable[[], Contents | None], wait: Callable[[], float]) -> float:
        """Do it, tell how it went, and return how long to wait now."""
        contents, failure, detail = None, None, ""
        try:
            contents = work()
        except Exception as raised:
            error = alarm_of(raised) if isinstance(raised, OSError) else raised
            failure, detail = failure_of(error), str(error)
            if failure is FailureCode.INTERNAL:
                LOG.error("unforeseen %s", type(error).__name__, exc_info=error)
            else:
                LOG.warning("%s: %s", failure.value, detail)
        if self._held is not None:
            self._lost = None
        elif work == self._reopen:
            self._lost = failure
        self._failures = 0 if failure is None else self._failures + 1
        wait_s = wait()
        next_try = datetime.now(UTC) + timedelta(seconds=wait_s)
        self._tell(Report(self._held, contents, failure, detail, next_try, self._served, self._lost))
        return wait_s

    def _first_wait_s(self) -> float:
        if self._held is None:
            return 0.0
        interval_s = self._pace.interval_s
        rest_s = interval_s - self._held.age_s(datetime.now(UTC))
        return min(max(0.0, rest_s), interval_s) + interval_s * _SPREAD * self._chance()

    def _next_wait_s(self) -> float:
        return self._pace.next_s(self._failures, self._chance)

    def _reopen(self) -> Contents | None:
        """What was in force when the agent ended, verified anew; what is only past its term still is."""
        from apps_catalog.distribution.client import verify

        try:
            current = verify(self._into)
        except NothingHeldError:
            return None
        except (StaleError, FrozenError, RootExpiredError):
            current = held(self._into)
        return self._open(current)

    def _fetch(self) -> Contents | None:
        """None when nothing is new. Raises what `fetch` and `Contents.open` raise."""
        from apps_catalog.distribution.client import fetch

        root = self._settings.catalog_root
        opened: list[Contents] = []

        def check(files: Path) -> None:
            contents = self._contents_of(files)
            if sys.platform == "win32":
                contents.close()  # a folder with open files cannot get its name there
            else:
                opened.append(contents)

        try:
            current = fetch(
                self._url,
                self._into,
                root=root.read_bytes() if root is not None and root.is_file() else None,
                check=check,
                auth=self._auth,
            )
            if self._held is None or self._held.folder != current.folder:
                return self._open(current, opened.pop() if opened else None)
            self._held = current
            return None
        finally:
            for contents in opened:
                contents.close()

    def _contents_of(self, files: Path) -> Contents:
        return Contents.open(files, self._settings.profile, at_least=self._edition)

    def _open(self, current: Held, opened: Contents | None = None) -> Contents:
        """`opened`: its contents, if they were opened to look at them: a block list is not read twice."""
        contents = opened or self._contents_of(current.files)
        with ExitStack() as undo:
            undo.callback(contents.close)
            catalog = current.catalog() if (current.folder / "catalog").is_dir() else None
            configuration.keep(self._settings, contents.configuration)
            undo.pop_all()
        if contents.block_list is not None:
            self._edition = contents.block_list.edition
        self._held = current
        return replace(contents, catalog=catalog)


def _auth_of(settings: AgentSettings) -> httpx.Auth | None:
    """The centre gives block lists to registered terminals only. No other server is shown a signature.

    Raises ClientKeyError.
    """
    if settings.client_key is None or settings.issuance_url is None:
        return None
    asked, centre = httpx.URL(settings.catalog_url or ""), httpx.URL(settings.issuance_url)
    is_centre = (asked.scheme, asked.netloc) == (centre.scheme, centre.netloc)
    return ClientAuth(ClientKey.load(settings.client_key)) if is_centre else None


def _give_memory_back() -> None:
    """glibc keeps large blocks once some were freed, so that each new block list would add to the memory held."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)
