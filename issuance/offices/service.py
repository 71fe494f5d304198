"""The office tree: made from the top down, closed from the bottom up."""

from __future__ import annotations

from sqlalchemy import update

from issuance.clerks.repository import ClerkRepository
from issuance.input_rules import field_error
from issuance.offices.models import OfficeRow
from issuance.offices.repository import OfficeRepository
from issuance.offices.schemas import OfficeRequest, OfficeView
from issuance.paging import Page, PageRequest, page_of
from issuance.problems import ProblemError, bad_input
from issuance.scope import region_prefix
from issuance.unit import Unit

MAX_DEPTH = 8


class OfficeService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._offices = OfficeRepository(unit.session)

    async def create(self, request: OfficeRequest) -> OfficeView:
        """Raises NOT_FOUND for the office above, INPUT_INVALID when the region is not one of its own."""
        self._unit.services.rules.pack(request.region)
        self._unit.caller.demand_region(request.region)
        above = await self._above(request)
        row = OfficeRow(**request.model_dump(), status="open", created_by=self._unit.by, created_at=self._unit.now)
        await self._offices.add(row, above)
        await self._unit.audit("office.create", _subject(row.id), region=row.region, detail={"kind": row.kind})
        return office_view(row)

    async def _above(self, request: OfficeRequest) -> str:
        if request.parent_id is None:
            if self._unit.caller.office:
                raise ProblemError("CLIENT_FORBIDDEN", "a clerk makes offices below the own one only")
            return "/"
        parent = await self.row(request.parent_id, is_locking=True)
        is_within = request.region.startswith(region_prefix(parent.region))
        if parent.status != "open" or not is_within or parent.office.count("/") > MAX_DEPTH:
            raise bad_input(field_error("body.parent_id", "office_parent"))
        return parent.office

    async def find(self, parent_id: int | None, status: str | None, page: PageRequest) -> Page[OfficeView]:
        query = self._offices.listed(parent_id=parent_id, status=status)
        return await page_of(self._unit.session, query, [OfficeRow.id], page, office_view)

    async def get(self, office_id: int) -> OfficeView:
        return office_view(await self.row(office_id))

    async def close(self, office_id: int) -> OfficeView:
        """Raises CONFLICT while clerks or offices below are left; closing twice changes nothing."""
        row = await self.row(office_id, is_locking=True)
        if row.status == "closed":
            return office_view(row)
        below = await self._offices.open_below(row.id)
        clerks = await ClerkRepository(self._unit.session).active_at(row.id)
        if below or clerks:
            raise ProblemError("CONFLICT", f"{below} offices and {clerks} clerks are left", subject=_subject(row.id))
        row.status = "closed"
        await self._unit.audit("office.close", _subject(row.id), region=row.region)
        return office_view(row)

    async def set_password_use(self, office_id: int, *, takes_password: bool) -> OfficeView:
        """Of clerks here and below, from their next log-in on; who is logged in stays so."""
        row = await self.row(office_id, is_locking=True)
        row.takes_password = takes_password
        detail = {"takes_password": takes_password}
        await self._unit.audit("office.password", _subject(row.id), region=row.region, detail=detail)
        return office_view(row)

    async def allow_passwords(self) -> int:
        """Everywhere, for when scanning fails; returns how many offices did without."""
        query = update(OfficeRow).where(OfficeRow.takes_password.is_(False)).values(takes_password=True)
        changed = (await self._unit.session.execute(query.returning(OfficeRow.id, OfficeRow.region))).all()
        for office_id, region in changed:
            detail = {"takes_password": True}
            await self._unit.audit("office.password", _subject(office_id), region=region, detail=detail)
        return len(changed)

    async def row(self, office_id: int, *, is_locking: bool = False) -> OfficeRow:
        """Raises NOT_FOUND."""
        row = await self._offices.get(office_id, is_locking=is_locking)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such office", subject=_subject(office_id))
        return row


def _subject(office_id: int) -> str:
    return f"office:{office_id}"


def office_view(row: OfficeRow) -> OfficeView:
    return OfficeView.model_validate(
        {name: getattr(row, name) for name in OfficeView.model_fields if name != "path"} | {"path": row.office}
    )
