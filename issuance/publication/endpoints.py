"""`/v1/distribution`: the repository as static files, and what was published last.

Signatures protect what is fetched, so nobody has to show who he is, but for the block list: with it and a series of
chips anyone could find out which of them are blocked. It goes to registered clients only.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import FileResponse

from issuance.clients.schemas import Role
from issuance.problems import ProblemError
from issuance.publication.parts import BLOCK_LIST
from issuance.publication.schemas import PublicationView, PublishOrder
from issuance.publication.tasks import publish_now
from issuance.publication.views import publication_view
from issuance.unit import Desk, OperatorDesk, OperatorUnit, desk_for, services_of

router = APIRouter(prefix="/v1", tags=["distribution"])
_FILE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}"
Name = Annotated[str, Path(pattern=f"^{_FILE_NAME}$")]
TargetPath = Annotated[str, Path(pattern=f"^{_FILE_NAME}(/{_FILE_NAME}){{0,4}}$", max_length=1024)]
TerminalDesk = Annotated[Desk, Depends(desk_for(Role.TERMINAL, Role.VERIFIER, Role.OPERATOR))]
_OCTETS: Final = "application/octet-stream"
_TIMESTAMP: Final = "timestamp.json"
_FOREVER: Final = "max-age=31536000, immutable"
_METADATA: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/json": {"example": {"signatures": [], "signed": {"_type": "timestamp"}}}}}
}
_BYTES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {_OCTETS: {"schema": {"type": "string", "format": "binary"}, "example": "OCBL"}}}
}


@router.get(
    "/distribution/metadata/{name}",
    summary="Signed metadata of the repository that terminals fetch from (TUF)",
    response_class=FileResponse,
    responses=_METADATA,
)
async def metadata(name: Name, request: Request) -> FileResponse:
    kept = "no-cache" if name == _TIMESTAMP else f"public, {_FOREVER}"
    return _file(request, f"metadata/{name}", "application/json", kept)


@router.get(
    f"/distribution/targets/{BLOCK_LIST}/{{name}}",
    summary="A file of the block list, for registered terminals, verifiers and operators",
    response_class=FileResponse,
    responses=_BYTES,
)
async def block_list(name: Name, request: Request, _desk: TerminalDesk) -> FileResponse:
    return _file(request, f"targets/{BLOCK_LIST}/{name}", _OCTETS, f"private, {_FOREVER}")


@router.get(
    "/distribution/targets/{path:path}",
    summary="Any other published file: catalog, roots of transit codes, configuration",
    response_class=FileResponse,
    responses=_BYTES,
)
async def target(path: TargetPath, request: Request) -> FileResponse:
    return _file(request, f"targets/{path}", _OCTETS, f"public, {_FOREVER}")


@router.get("/publications", summary="What was published last, and whether all went well")
async def publications(unit: OperatorUnit) -> PublicationView:
    return await publication_view(unit.session, unit.services.settings)


@router.post("/publications", summary="Publish at once instead of at the next turn; answers when it is done")
async def publish(desk: OperatorDesk, order: PublishOrder) -> PublicationView:
    async with desk.unit() as unit:
        await unit.audit("publication.publish", "service:publication", region=None, detail={"full": order.full})
    await publish_now(desk.services, is_full=order.full)
    async with desk.unit(is_reading=True) as unit:
        return await publication_view(unit.session, desk.services.settings)


def _file(request: Request, path: str, media_type: str, kept: str) -> FileResponse:
    """Raises NOT_FOUND; a client asks for the next root until there is none."""
    folder = services_of(request).settings.publication_path
    if folder is None or not (file := folder / path).is_file():
        raise ProblemError("NOT_FOUND", "no such file is published")
    return FileResponse(file, media_type=media_type, headers={"Cache-Control": kept})
