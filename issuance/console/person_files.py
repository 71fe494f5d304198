"""一卡一人一档: asked for with a reason, shown as one page, printed; and what is masked, revealed with a reason.

Each showing and each print is recorded with its reason, so a file has no address of its own: forms lead to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter
from starlette.responses import Response

from cardlib.wire import HexId
from issuance.applications.service import ApplicationService
from issuance.clerks.acts import Act
from issuance.console.acting import Confirm, confirm
from issuance.console.file_parts import Part, parts_of
from issuance.console.forms import Form, parse
from issuance.console.holders import Holder, holder_of, shown_card
from issuance.console.page import ROOT, Page, page_for
from issuance.console.paper import paper
from issuance.console.slips import PDF
from issuance.console.times import china, day
from issuance.console.words import words
from issuance.person_file.schemas import FileCard, FileOrder, PersonFile
from issuance.person_file.service import PersonFileService
from issuance.privacy.schemas import Revealed, RevealField, RevealRequest
from issuance.privacy.service import RevealService
from issuance.unit import Unit

router = APIRouter(prefix="/files")
Reading = Annotated[Page, page_for(Act.PERSON_READ)]
Revealing = Annotated[Page, page_for(Act.PERSON_REVEAL)]
FIELDS: Final[tuple[RevealField, ...]] = get_args(RevealField)
_USUAL: Final = frozenset({"social_security_number", "telephone"})
_ENDED: Final = "9"


@dataclass(frozen=True, slots=True)
class Opened:
    """`card`: the one in use, else the newest."""

    file: PersonFile
    holder: Holder
    parts: list[Part]

    @property
    def card(self) -> FileCard | None:
        in_use = [card for card in self.file.cards if card.state != _ENDED]
        return next(iter(in_use or self.file.cards), None)

    def part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    @property
    def photo(self) -> str | None:
        return next((one.id for one in self.file.documents if one.kind == "photo"), None)


async def _opened(unit: Unit, page: Page, application_id: str, reason: str) -> Opened:
    """Raises NOT_FOUND, and INPUT_INVALID without a reason."""
    order = parse(FileOrder, {"subject": f"application:{application_id}", "reason": reason})
    file = await PersonFileService(unit).read(order)
    return Opened(file, await holder_of(unit, file.person_id), parts_of(page, file))


async def _holder(unit: Unit, application_id: str) -> Holder:
    row = await ApplicationService(unit).row(application_id, is_locking=False)
    return await holder_of(unit, row.person_id)


@router.get("/{application_id}")
async def ask(application_id: HexId, page: Reading) -> Response:
    return await _ask(page, application_id)


async def _ask(page: Page, application_id: str, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        holder = await _holder(unit, application_id)
    known = words(page.language)["file"]
    asked = Confirm(
        title=known["title"],
        thing=holder.name,
        effects=known["effect"].split("\n"),
        action=f"{ROOT}/files/{application_id}",
        button=known["open"],
        back=f"{ROOT}/applications/{application_id}",
        facts=[(known["number"], holder.number)],
        icon="file",
        is_grave=False,
        reason=known["reason"],
        hint=known["reason_hint"],
    )
    return confirm(page, asked, "", **context)


@router.post("/{application_id}")
async def show(application_id: HexId, page: Reading) -> Response:
    form = await Form.of(page.request)
    try:
        async with page.desk.unit() as unit:
            opened = await _opened(unit, page, application_id, form.get("reason"))
    except Exception as error:
        return await _ask(page, application_id, form=form, refusal=page.refusal(error))
    return page.show(
        "person_file.html",
        id=application_id,
        opened=opened,
        file=opened.file,
        card=opened.card,
        shown_card=shown_card,
        reason=form.get("reason"),
    )


@router.post("/{application_id}/file.pdf")
async def printed(application_id: HexId, page: Reading) -> Response:
    """A print is a showing of its own, recorded as such."""
    form = await Form.of(page.request)
    async with page.desk.unit() as unit:
        opened = await _opened(unit, page, application_id, form.get("reason"))
    known, file = words(page.language)["file"], opened.file
    head = [
        (known["name"], opened.holder.name),
        (known["number"], opened.holder.number),
        (known["telephone"], file.telephone or ""),
        (known["birth_date"], day(opened.holder.birth_date)),
    ]
    foot = known["foot"].format(clerk=file.made_by, at=china(file.made_at), reason=form.get("reason"))
    made = paper(page.viewer.office_name[page.language], known["title"], head, opened.parts, foot)
    return Response(made, media_type=PDF, headers={"Content-Disposition": 'inline; filename="file.pdf"'})


# -- what is masked ---------------------------------------------------------------------------------------------------


@router.get("/{application_id}/reveal")
async def ask_reveal(application_id: HexId, page: Revealing) -> Response:
    return await _reveal(page, application_id)


async def _reveal(page: Page, application_id: str, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        holder = await _holder(unit, application_id)
    empty: dict[str, Any] = {"revealed": None, "chosen": _USUAL, "reason": ""}
    return page.show("reveal.html", **empty | {"id": application_id, "holder": holder, "fields": FIELDS} | context)


@router.post("/{application_id}/reveal")
async def reveal(application_id: HexId, page: Revealing) -> Response:
    form = await Form.of(page.request)
    chosen = frozenset(name for name in FIELDS if form.get(name))
    try:
        data = {"subject": f"application:{application_id}", "fields": sorted(chosen), "reason": form.get("reason")}
        order = parse(RevealRequest, data)
        async with page.desk.unit() as unit:
            revealed: Revealed = await RevealService(unit).reveal(order)
    except Exception as error:
        return await _reveal(page, application_id, form=form, chosen=chosen, refusal=page.refusal(error))
    at = china(page.desk.services.clock())
    return await _reveal(page, application_id, revealed=revealed, chosen=chosen, reason=order.reason, at=at)
