"""`/v1/offices`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response, status

from issuance.idempotency import RequiredKey, once
from issuance.offices.schemas import OfficeRequest, OfficeView
from issuance.offices.service import OfficeService
from issuance.paging import Page, PageQuery
from issuance.unit import OperatorUnit

router = APIRouter(prefix="/v1/offices", tags=["offices"])

OfficeId = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.post("", status_code=status.HTTP_201_CREATED, summary="Add an office below another one, or a top of the tree")
async def create(body: OfficeRequest, unit: OperatorUnit, key: RequiredKey, response: Response) -> OfficeView:
    service = OfficeService(unit)
    return await once(unit, response, "office", key, body, OfficeView, lambda: service.create(body))


@router.get("", summary="List offices, of one parent if asked")
async def list_offices(
    unit: OperatorUnit,
    page: PageQuery,
    parent_id: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    status: Annotated[Literal["open", "closed"] | None, Query()] = None,
) -> Page[OfficeView]:
    return await OfficeService(unit).find(parent_id, status, page)


@router.get("/{office_id}", summary="One office")
async def get(office_id: OfficeId, unit: OperatorUnit) -> OfficeView:
    return await OfficeService(unit).get(office_id)


@router.post("/{office_id}/close", summary="Close an office that has no clerks and no open office below")
async def close(office_id: OfficeId, unit: OperatorUnit) -> OfficeView:
    return await OfficeService(unit).close(office_id)
