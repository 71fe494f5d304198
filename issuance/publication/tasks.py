"""The job that publishes, and the round that somebody asks for."""

from __future__ import annotations

from datetime import timedelta

from issuance.publication.parts import NoRepositoryError
from issuance.publication.repository import PublicationRepository
from issuance.publication.service import Publisher, Round
from issuance.services import Services


async def publish_due(services: Services) -> int:
    """A round when it is time, by one replica of all; returns how many parts went well."""
    path = services.settings.publication_path
    if path is None:
        return 0
    now = services.clock()
    async with services.database.look() as session:
        due = await PublicationRepository(session).next_at()
    if due is not None and due > now:
        return 0
    next_at = now + timedelta(seconds=services.settings.publication_delta_s)
    async with services.database.transaction() as session:
        if not await PublicationRepository(session).claim(now, next_at):
            return 0
    done = await Publisher(services, path).run()
    return sum(not failure for failure in done.outcomes.values())


async def publish_now(services: Services, *, is_full: bool = False) -> Round:
    """At once, whatever is due; a round under way elsewhere is let end first. Raises NoRepositoryError."""
    path = services.settings.publication_path
    if path is None:
        raise NoRepositoryError("no repository is set: onecard issuance publication init")
    now = services.clock()
    next_at = now + timedelta(seconds=services.settings.publication_delta_s)
    async with services.database.transaction() as session:
        await PublicationRepository(session).claim(now, next_at, is_due=False)
    return await Publisher(services, path, is_full=is_full).run()
