"""What this terminal knows from the centre's publications, how old it is, and what is wrong with it.

Everything here belongs to the event loop's thread, as the swap of new contents does: a question sees the old or the new
ones, and the old block list is closed when nobody can be reading it any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final

from apps_catalog import Catalog, load
from apps_catalog.block_list import BlockList, Freshness, Kind, Policy, policies
from cardlib.failures import FailureCode
from cardlib.transit_code_anchors import TrustAnchors
from terminal_agent.catalog.blocked import BlockView, judge, judge_card
from terminal_agent.catalog.configuration import CentreSettings, kept
from terminal_agent.catalog.contents import Contents
from terminal_agent.catalog.releases import Release, UpdateState
from terminal_agent.catalog.releases import judge as judge_release
from terminal_agent.hub import EventHub
from terminal_agent.levels import API_LEVEL
from terminal_agent.problems import AgentError
from terminal_agent.settings import AgentSettings

if TYPE_CHECKING:
    from terminal_agent.catalog.updater import Report, Updater

WATCH_S: Final = 30.0
STOP_S: Final = 1.0
FETCH_S: Final = 120.0
_NOTHING: Final = Contents(None, None, None, None, None)


class FetchTimeoutError(AgentError):
    """The fetch goes on by itself."""

    failure = "TIMEOUT"


@dataclass(frozen=True, slots=True)
class Alarm:
    failure: FailureCode
    since: datetime
    detail: str = ""


class CatalogDesk:
    """`apply` is given what the centre sets live, at the start from the last run; `version` is this program's."""

    def __init__(
        self,
        settings: AgentSettings,
        hub: EventHub,
        *,
        version: str,
        apply: Callable[[CentreSettings], None] = lambda settings: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._hub = hub
        self._version = version
        self._apply = apply
        self._clock = clock
        self._contents = _NOTHING
        self._last: Report | None = None
        self._alarms: Mapping[FailureCode, Alarm] = {}
        self._updater: Updater | None = None
        self._watch: asyncio.Task[None] | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._shipped = asyncio.Lock()
        self._is_stopped = False
        self.linger_s = 0.0
        """How long replaced contents stay open for threads that may still be looking into them."""
        self._lingering: list[Contents] = []

    # -- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        if self._settings.catalog_url is None:
            return
        from terminal_agent.catalog.updater import Updater

        if (before := kept(self._settings)) is not None:
            self._configure(before.settings)
        loop = asyncio.get_running_loop()

        def tell(report: Report) -> None:
            try:
                loop.call_soon_threadsafe(self.take, report)
            except RuntimeError:  # the loop was closed while this round went on
                if report.contents is not None:
                    report.contents.close()

        self._updater = Updater(self._settings, tell)
        self._updater.start()
        self._watch = asyncio.create_task(self._look_after())

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        if self._updater is not None:
            await asyncio.to_thread(self._updater.stop, STOP_S)
        for _, waiter in self._waiting:
            waiter.cancel()
        self._is_stopped = True
        for contents in (*self._lingering, self._contents):
            contents.close()
        self._contents = _NOTHING

    def take(self, report: Report) -> None:
        """What the updater tells."""
        if self._is_stopped:
            if report.contents is not None:
                report.contents.close()
            return
        self._last = report
        if report.contents is not None:
            before, self._contents = self._contents, report.contents
            self._let_go(before)
            configuration = report.contents.configuration
            self._configure(CentreSettings() if configuration is None else configuration.settings)
            self._hub.publish("catalog_updated", self._facts())
        self._settle_alarms()
        for asked, waiter in self._waiting:
            if asked <= report.asked and not waiter.done():
                waiter.set_result(None)
        self._waiting = [(asked, waiter) for asked, waiter in self._waiting if not waiter.done()]

    def _let_go(self, before: Contents) -> None:
        if not self.linger_s:
            before.close()
            return
        self._lingering.append(before)

        def close() -> None:
            self._lingering.remove(before)
            before.close()

        asyncio.get_running_loop().call_later(self.linger_s, close)

    def _configure(self, settings: CentreSettings) -> None:
        if self._updater is not None:
            self._updater.set_interval(settings.catalog_interval_s or self._settings.catalog_interval_s)
        self._apply(settings)

    # -- questions ------------------------------------------------------------------------------------------------

    async def catalog(self) -> Catalog:
        """The one in force; before anything was fetched, the one shipped with this program."""
        if self._contents.catalog is not None:
            return self._contents.catalog
        async with self._shipped:
            return await asyncio.to_thread(lambda: self._own_catalog)

    def look(self, kind: Kind, number: str, *, offline: bool) -> BlockView:
        """`offline`: the centre cannot be asked. Raises QueryError."""
        return judge(
            self._contents.block_list, self._policy, kind, number, now=self._clock(), online=self._can_ask(offline)
        )

    def look_card(self, number: str) -> BlockView | None:
        """For a card that was read; None where no block list is meant to be here."""
        if self._settings.catalog_url is None:
            return None
        return judge_card(
            self._contents.block_list, self._policy, number, now=self._clock(), online=self._can_ask(False)
        )

    @property
    def has_exact_list(self) -> bool:
        block_list = self._contents.block_list
        return block_list is not None and block_list.has_exact

    @property
    def anchors(self) -> TrustAnchors | None:
        """Roots of transit codes."""
        return self._contents.anchors

    def wake(self) -> None:
        """Fetch soon, without waiting for it."""
        if self._updater is not None:
            self._updater.wake()

    async def fetch_now(self) -> None:
        """Returns when a fetch that began after this call has ended, well or not; at once where nothing is fetched.

        Raises FetchTimeoutError.
        """
        if self._updater is None:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._updater.wake(), waiter))
        try:
            await asyncio.wait_for(waiter, FETCH_S)
        except TimeoutError:
            raise FetchTimeoutError("the fetch goes on") from None

    # -- how things stand -------------------------------------------------------------------------------------------

    @property
    def is_updating(self) -> bool:
        return self._updater is not None

    @property
    def last(self) -> Report | None:
        """None before the first round, and where nothing is fetched."""
        return self._last

    @property
    def contents(self) -> Contents:
        return self._contents

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        return tuple(self._alarms.values())

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def freshness(self, block_list: BlockList) -> Freshness:
        """By this terminal's policy."""
        return self._policy.freshness(self._clock() - block_list.as_of)

    def update(self) -> tuple[Release, UpdateState] | None:
        """The release for programs that speak this one's API; None where the centre names none."""
        releases = self._contents.releases
        release = None if releases is None else releases.levels.get(str(API_LEVEL))
        return None if release is None else (release, judge_release(release, self._version))

    def _can_ask(self, offline: bool) -> bool:
        return not offline and self._settings.issuance_url is not None

    @cached_property
    def _policy(self) -> Policy:
        return policies()[self._settings.profile.value]

    @cached_property
    def _own_catalog(self) -> Catalog:
        return load()

    # -- alarms ---------------------------------------------------------------------------------------------------

    async def _look_after(self) -> None:
        """Time alone makes things stale."""
        while True:
            await asyncio.sleep(WATCH_S)
            self._settle_alarms()

    def _settle_alarms(self) -> None:
        now, before = self.now, self._alarms
        found = {
            failure: Alarm(failure, before[failure].since if failure in before else now, detail)
            for failure, detail in self._wrong(now)
        }
        self._alarms = found
        for failure in found.keys() - before.keys():
            self._hub.publish("catalog_alarm", {"failure": failure.value} | self._facts())
        for failure in before.keys() - found.keys():
            self._hub.publish("catalog_cleared", {"failure": failure.value} | self._facts())

    def _wrong(self, now: datetime) -> list[tuple[FailureCode, str]]:
        last = self._last
        if last is None:
            return []
        wrong = [] if last.failure is None else [(last.failure, last.detail)]
        if last.lost is not None and last.lost is not last.failure:
            wrong.append((last.lost, ""))
        if last.held is not None and last.held.is_stale(now):
            wrong.append((FailureCode.CATALOG_STALE, ""))
        block_list = self._contents.block_list
        if block_list is not None and self.freshness(block_list) is Freshness.TOO_OLD:
            wrong.append((FailureCode.BLOCK_LIST_STALE, ""))
        return wrong

    def _facts(self) -> dict[str, str | int | None]:
        held = self._last.held if self._last is not None else None
        catalog, block_list = self._contents.catalog, self._contents.block_list
        return {
            "version": None if catalog is None else catalog.version,
            "set": None if held is None else held.number,
            "edition": None if block_list is None else block_list.edition,
            "age_s": None if held is None else int(held.age_s(self.now)),
        }
