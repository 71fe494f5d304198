"""Storing photos that were checked, and giving them to applications."""

from __future__ import annotations

import base64
import uuid

from issuance.input_rules import field_error
from issuance.photos.check import PhotoReport
from issuance.photos.models import PhotoRow
from issuance.photos.repository import PhotoRepository
from issuance.photos.schemas import PhotoOrder, PhotoView
from issuance.problems import ProblemError, bad_input
from issuance.unit import Unit

_GEOMETRY = "faces"


class PhotoService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._photos = PhotoRepository(unit.session)

    async def store(self, order: PhotoOrder, jpeg: bytes, report: PhotoReport) -> PhotoView:
        """Keep a photo whose report has no errors."""
        self._unit.caller.demand_region(order.accepted_region or order.region)
        photo_id = uuid.uuid4().hex
        row = PhotoRow(
            id=photo_id,
            region=order.region,
            accepted_region=order.accepted_region,
            sealed_jpeg=self._unit.services.sealer.seal(base64.b64encode(jpeg).decode(), _context(photo_id)),
            taken_on=order.taken_on,
            measures=report.measures,
            created_by=self._unit.caller.client_id,
            created_at=self._unit.now,
        )
        await self._photos.add(row)
        await self._unit.audit("photo.store", f"photo:{row.id}", region=row.region)
        return _view(row)

    async def view(self, photo_id: str) -> PhotoView:
        return _view(await self._row(photo_id))

    async def jpeg(self, photo_id: str) -> bytes:
        """The picture itself, for the screen of a clerk and for the printer."""
        row = await self._row(photo_id)
        await self._unit.audit("photo.read", f"photo:{row.id}", region=row.region)
        encoded: str = self._unit.services.sealer.unseal(row.sealed_jpeg, _context(row.id))
        return base64.b64decode(encoded)

    async def confirm(self, photo_id: str, *, is_face_good: bool) -> PhotoView:
        """A clerk's word on the face; when it is no, the photo is forgotten. Raises CONFLICT once it was taken."""
        row = await self._row(photo_id, is_locking=True)
        if not is_face_good and row.person_id is not None:
            raise ProblemError("CONFLICT", "an application has taken the photo", subject=f"photo:{row.id}")
        await self._unit.audit(
            "photo.confirm", f"photo:{row.id}", region=row.region, detail={"is_face_good": is_face_good}
        )
        if is_face_good:
            row.confirmed_by = self._unit.by
            return _view(row)
        view = _view(row)
        await self._photos.remove(row)
        return view

    async def take(self, photo_id: str, person_id: str, region: str) -> None:
        """Bind the photo to the person whose application takes it. Raises INPUT_INVALID."""
        row = await self._photos.get(photo_id, is_locking=True)
        reason = self._refusal(row, person_id, region)
        if reason is not None:
            raise bad_input(field_error("body.photo_id", reason))
        if row is not None:
            row.person_id = person_id
            await self._unit.session.flush()

    def _refusal(self, row: PhotoRow | None, person_id: str, region: str) -> str | None:
        if row is None:
            return "photo_unknown"
        rules = self._unit.services.rules
        if rules.pack(row.region) is not rules.pack(region):
            return "photo_other_region"
        if row.person_id not in (None, person_id):
            return "photo_other_person"
        return None if is_confirmed(row) else "photo_unconfirmed"

    async def _row(self, photo_id: str, *, is_locking: bool = False) -> PhotoRow:
        row = await self._photos.get(photo_id, is_locking=is_locking)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such photo", subject=f"photo:{photo_id}")
        return row


def is_confirmed(row: PhotoRow) -> bool:
    """Its geometry was checked, or a clerk has looked at it: an application may take it."""
    return not _view(row).needs_confirmation


def _view(row: PhotoRow) -> PhotoView:
    is_checked = _GEOMETRY in row.measures
    return PhotoView(
        id=row.id,
        region=row.region,
        taken_on=row.taken_on,
        measures=row.measures,
        is_geometry_checked=is_checked,
        needs_confirmation=not is_checked and row.confirmed_by is None,
        confirmed_by=row.confirmed_by,
        created_at=row.created_at,
    )


def _context(photo_id: str) -> str:
    return f"photos:{photo_id}"
