"""What was published last, as operators see it."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from issuance.publication.models import PublicationRow
from issuance.publication.parts import Part
from issuance.publication.repository import PublicationRepository
from issuance.publication.schemas import PartView, PublicationView
from issuance.settings import Settings


async def publication_view(session: AsyncSession, settings: Settings) -> PublicationView:
    rows = await PublicationRepository(session).rows()
    bound = rows.get(Part.REPOSITORY)
    return PublicationView(
        is_on=settings.publication_path is not None,
        next_at=None if bound is None else bound.next_at,
        valid_until=None if bound is None else bound.valid_until,
        parts=[_part(part, rows[part]) for part in Part if part in rows],
    )


def _part(part: Part, row: PublicationRow) -> PartView:
    view = PartView(part=part, begun_at=row.begun_at, published_at=row.published_at, failure=row.failure)
    if part is Part.BLOCK_LIST:
        view = view.model_copy(update={"edition": row.edition, "entries": row.entries, "full_at": row.full_at})
    return view
