"""A round of publishing: what is blocked now, the roots, the catalog; each part for itself, then dated anew."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from apps_catalog.distribution.errors import alarm_of
from cardlib.failures import failure_of
from issuance.clock import china_date
from issuance.logs import get_logger
from issuance.publication.edition import Edition, Order
from issuance.publication.models import PublicationRow
from issuance.publication.parts import Part, Publishing
from issuance.publication.repository import PublicationRepository
from issuance.publication.signing import signers
from issuance.services import Services
from issuance.transit_codes.issuer import issuer_of

log = get_logger("issuance.publication")


@dataclass(slots=True)
class Round:
    """What became of every part that this centre publishes: "" or the code of its failure."""

    outcomes: dict[Part, str] = field(default_factory=dict)
    edition: Edition | None = None
    valid_until: datetime | None = None

    @property
    def is_good(self) -> bool:
        return not any(self.outcomes.values())


class Publisher:
    """`is_full`: a whole block list, though a delta would do."""

    def __init__(self, services: Services, path: Path, *, is_full: bool = False) -> None:
        self._services = services
        self._settings = services.settings
        self._path = path
        self._is_full = is_full
        self._now = services.clock()

    async def run(self) -> Round:
        """Never raises for a part: its failure is stored, counted and logged. Ends early when cancelled."""
        async with self._services.database.look() as session:
            rows = await PublicationRepository(session).rows()
        done, is_stopped = Round(), threading.Event()
        catalog = await self._catalog(done)
        try:
            await asyncio.to_thread(self._publish, done, rows.get(Part.BLOCK_LIST), catalog, is_stopped.is_set)
        except asyncio.CancelledError:
            is_stopped.set()
            raise
        await self._keep(done)
        return done

    async def _catalog(self, done: Round) -> Mapping[str, bytes] | None:
        try:
            return await self._services.catalogs.files()
        except Exception as error:
            done.outcomes[Part.CATALOG] = _code(Part.CATALOG, error)
            return None

    def _publish(
        self,
        done: Round,
        last: PublicationRow | None,
        catalog: Mapping[str, bytes] | None,
        is_stopped: Callable[[], bool],
    ) -> None:
        try:
            with Publishing.opened(self._path, signers(self._services.keys), self._services.clock) as publishing:
                self._publish_parts(publishing, done, last, catalog, is_stopped)
        except Exception as error:
            done.outcomes[Part.REPOSITORY] = _code(Part.REPOSITORY, error)

    def _publish_parts(
        self,
        publishing: Publishing,
        done: Round,
        last: PublicationRow | None,
        catalog: Mapping[str, bytes] | None,
        is_stopped: Callable[[], bool],
    ) -> None:
        above = 0 if last is None else last.edition
        is_full = self._is_full or self._is_full_due(last)

        def block_list() -> None:
            done.edition = publishing.block_list(partial(self._order, is_full), above, is_stopped)

        def refresh() -> None:
            done.valid_until = publishing.refresh()
            publishing.prune(self._now)

        self._do(done, Part.BLOCK_LIST, block_list)
        if self._settings.transit_anchors_path is not None:
            self._do(done, Part.TRUST_ANCHORS, partial(publishing.trust_anchors, self._settings.transit_anchors_path))
        if catalog is not None:
            self._do(done, Part.CATALOG, partial(publishing.catalog, catalog))
        self._do(done, Part.REPOSITORY, refresh)

    def _do(self, done: Round, part: Part, work: Callable[[], object]) -> None:
        """Of a part for which there is nothing to do here, False, nothing is told."""
        try:
            if work() is not False:
                done.outcomes[part] = ""
        except Exception as error:
            done.outcomes[part] = _code(part, error)

    def _is_full_due(self, last: PublicationRow | None) -> bool:
        if last is None or last.full_at is None:
            return True
        return self._now - last.full_at >= timedelta(hours=self._settings.publication_full_h)

    def _order(self, is_full: bool, folder: Path, must_be_full: bool) -> Order:
        settings = self._settings
        as_of, today = int(self._now.timestamp()), china_date(self._now)
        is_full = is_full or must_be_full
        issuer = issuer_of(settings.transit_certificate_path)
        return Order(settings.database_url, settings.rules_path, today, folder, as_of, is_full, issuer)

    async def _keep(self, done: Round) -> None:
        async with self._services.database.transaction() as session:
            repository = PublicationRepository(session)
            await repository.drop(set(Part) - {Part.REPOSITORY, *done.outcomes} if done.is_good else set())
            for part, failure in done.outcomes.items():
                row = await repository.row(part, self._now)
                row.failure = failure
                if not failure:
                    row.published_at = self._now
            if done.edition is not None:
                row = await repository.row(Part.BLOCK_LIST, self._now)
                row.edition, row.entries = max(row.edition, done.edition.number), done.edition.entries
                row.full_at = self._now if done.edition.is_full else row.full_at
            if done.valid_until is not None:
                row = await repository.row(Part.REPOSITORY, self._now)
                row.valid_until = done.valid_until
        for part, failure in done.outcomes.items():
            self._services.metrics.publications.labels(part.value, failure or "ok").inc()
            if not failure:
                self._services.metrics.published_at.labels(part.value).set(self._now.timestamp())


def _code(part: Part, error: Exception) -> str:
    """Logged without its words, which may quote a row."""
    try:
        failure = failure_of(alarm_of(error))
    except Exception:  # `alarm_of` gives back what it has no name for
        failure = failure_of(error)
    log.error("publication_failed", part=part.value, failure=failure.value, error=type(error).__name__)
    return failure.value
