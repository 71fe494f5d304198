"""Versions of the application catalog: which there are, what each changes, who has said what, and the next step."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final, Literal, get_args

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from apps_catalog.catalog import Catalog
from apps_catalog.diff import Change, diff
from apps_catalog.lint import Finding, findings
from apps_catalog.model import JOINT
from apps_catalog.version_rules import demand_manifest
from cardlib.wire import HexId
from issuance.catalog.authority import Authority
from issuance.catalog.current import version_of
from issuance.catalog.drafts import Drafts, State, shared_part
from issuance.catalog.versions import CatalogVersions, Standing
from issuance.clerks.acts import Act
from issuance.clerks.schemas import Reason
from issuance.console.acting import Confirm, Done, attempt, confirm
from issuance.console.forms import Form, parse
from issuance.console.lists import tabs
from issuance.console.page import ROOT, Page, page_for
from issuance.console.refusals import Refusal
from issuance.console.words import words
from issuance.unit import Unit

router = APIRouter(prefix="/catalog")
Reading = Annotated[Page, page_for(Act.CATALOG_READ)]
Editing = Annotated[Page, page_for(Act.CATALOG_EDIT)]
Reviewing = Annotated[Page, page_for(Act.CATALOG_REVIEW)]
Releasing = Annotated[Page, page_for(Act.CATALOG_RELEASE)]
RollingBack = Annotated[Page, page_for(Act.CATALOG_ROLLBACK)]
VersionId = Annotated[HexId, Path()]
StepName = Literal["hand_in", "take_back", "drop", "catch_up"]
View = Literal["changes", "check", "course"]
GRAVE: Final = frozenset({"take_back", "drop"})


class Noted(BaseModel):
    """A step with the words of who takes it."""

    reason: Reason


class Word(BaseModel):
    """What a province says. A no has its reason."""

    accepts: bool
    reason: Annotated[str, Field(max_length=200)] = ""
    round: Annotated[int, Field(ge=0)]


class Refused(Word):
    reason: Reason


class ReleaseOrder(BaseModel):
    effective: date
    reason: Reason


class Made(BaseModel):
    """The version that came of a step."""

    id: str


class Nothing(BaseModel):
    """A step that needs no more than its address."""


@dataclass(frozen=True, slots=True)
class Part:
    """Changes of one owner's items."""

    owner: str
    name: str
    changes: tuple[Change, ...]


# -- the list ---------------------------------------------------------------------------------------------------------


@router.get("")
async def find(page: Reading) -> Response:
    return await _find(page)


async def _find(page: Page, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        rows = await CatalogVersions(unit, page.desk.who).standings()
    catalog = await page.desk.services.catalogs.current()
    return page.show(
        "catalog.html",
        rows=rows,
        in_force=catalog,
        province=province_namer(page, catalog),
        today=page.desk.today,
        **context,
    )


@router.post("/draft")
async def draft(page: Editing) -> Response:
    form = await Form.of(page.request)

    async def run(unit: Unit, order: Noted) -> Made:
        return Made(id=(await CatalogVersions(unit, page.desk.who).draft(order.reason)).id)

    done = await attempt(page, form, "catalog.draft", lambda: parse(Noted, form.nested("reason")), Made, run)
    if isinstance(done, Refusal):
        return await _find(page, form=form, refusal=done)
    return page.go(f"/catalog/{done.id}", said="catalog.said_draft")


# -- one version ------------------------------------------------------------------------------------------------------


@router.get("/{version_id}")
async def show(version_id: VersionId, page: Reading, view: View = "changes") -> Response:
    return await _show(page, version_id, view)


async def _show(page: Page, version_id: str, view: View = "changes", **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        service = CatalogVersions(unit, page.desk.who)
        standing = await service.standing(version_id)
        state = await Drafts(unit, page.desk.who).state(standing.row)
        edits, reviews = await service.edits(standing.row), await service.reviews(standing.row)
        newest = await service.newest()
        is_behind = standing.row.state in ("draft", "review") and await service.is_behind(standing.row)
    known, authority = words(page.language)["catalog"], Authority.of(page.desk.who)
    found = findings(state.catalog, page.desk.today)
    counts = {"check": len(found), "changes": len(diff(state.base, state.catalog))}
    choices = [
        (code, known[f"view_{code}"] + (f" {counts[code]}" if code in counts else "")) for code in get_args(View)
    ]
    return page.show(
        "catalog_version.html",
        standing=standing,
        row=standing.row,
        state=state,
        tabs=tabs(f"/catalog/{version_id}", "view", view, choices),
        view=view,
        parts=parts_of(state, page),
        has_new_head=shared_part(state.base.head) != shared_part(state.catalog.head),
        findings=linked(found, state),
        edits=edits,
        reviews=reviews,
        is_behind=is_behind,
        newest=newest,
        in_force=(await page.desk.services.catalogs.current()).version,
        today=page.desk.today,
        authority=authority,
        province=province_namer(page, state.catalog),
        may_review=_may_review(page, standing, authority),
        **context,
    )


def _may_review(page: Page, standing: Standing, authority: Authority) -> bool:
    return page.viewer.may(Act.CATALOG_REVIEW) and standing.row.state == "review" and authority.is_whole


def parts_of(state: State, page: Page) -> list[Part]:
    """What the version changes, by owner: what all share, then the clerk's own province, then the others."""
    own = Authority.of(page.desk.who).province
    owners = [JOINT, *sorted((region.code for region in state.catalog.regions), key=lambda code: (code != own, code))]
    changes, name = diff(state.base, state.catalog), province_namer(page, state.catalog)
    found = [Part(owner, name(owner), tuple(one for one in changes if one.item.owner == owner)) for owner in owners]
    return [part for part in found if part.changes]


def linked(found: list[Finding], state: State) -> list[tuple[Finding, list[str]]]:
    """Each with the items that the version has."""
    return [(one, [item for item in one.items if state.item(item) is not None]) for one in found]


def province_namer(page: Page, catalog: Catalog) -> Any:
    """From the owner of items to its name."""
    joint = words(page.language)["catalog"]["owner_joint"]
    names = {region.code: region.name for region in catalog.regions}

    def name(owner: str) -> str:
        if owner == JOINT:
            return joint
        return getattr(names[owner], page.language) if owner in names else owner

    return name


@router.get("/{version_id}/changes.json")
async def changes(version_id: VersionId, page: Reading) -> Response:
    """The differences as data, as `onecard catalog diff --json` prints them."""
    async with page.desk.unit(is_reading=True) as unit:
        row = (await CatalogVersions(unit, page.desk.who).standing(version_id)).row
        state = await Drafts(unit, page.desk.who).state(row)
    found = [change.to_json() for change in diff(state.base, state.catalog)]
    return JSONResponse({"old": row.base, "new": row.number, "changes": found})


@router.get("/{version_id}/files.zip")
async def files(version_id: VersionId, page: Reading) -> Response:
    """The version's TOML files, as a province signs them with a key it keeps elsewhere."""
    async with page.desk.unit(is_reading=True) as unit:
        row = (await CatalogVersions(unit, page.desk.who).standing(version_id)).row
        state = await Drafts(unit, page.desk.who).state(row)
    if row.state != "draft":
        demand_manifest(version_of(row), state.files)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in state.files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), raw, zipfile.ZIP_DEFLATED)
    headers = {"Content-Disposition": f'attachment; filename="catalog-{row.number}.zip"'}
    return Response(packed.getvalue(), media_type="application/zip", headers=headers)


# -- steps ------------------------------------------------------------------------------------------------------------


@router.get("/{version_id}/steps/{step}")
async def ask_step(version_id: VersionId, step: StepName, page: Editing) -> Response:
    return await _ask(page, version_id, step)


async def _ask(page: Page, version_id: str, step: str, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        row = (await CatalogVersions(unit, page.desk.who).standing(version_id)).row
    known, here = words(page.language)["catalog"], f"{ROOT}/catalog/{version_id}"
    is_back = step == "rollback"
    ask = Confirm(
        title=known[f"step_{step}"],
        thing=row.number,
        effects=known[f"effect_{step}"].split("\n"),
        action=f"{here}/rollback" if is_back else f"{here}/steps/{step}",
        button=known[f"step_{step}"],
        back=here,
        facts=[(known["note"], row.note)],
        icon="swap" if is_back else "check",
        is_grave=step in GRAVE,
        reason=known["reason"] if is_back else "",
    )
    return confirm(page, ask, "catalog", **context)


@router.post("/{version_id}/steps/{step}")
async def take_step(version_id: VersionId, step: StepName, page: Editing) -> Response:
    form = await Form.of(page.request)

    async def run(unit: Unit, _order: Nothing) -> Done:
        service = CatalogVersions(unit, page.desk.who)
        steps = {"hand_in": service.hand_in, "take_back": service.take_back, "drop": service.drop}
        await (service.catch_up if step == "catch_up" else steps[step])(version_id)
        return Done()

    done = await attempt(page, form, f"catalog.{step}:{version_id}", Nothing, Done, run)
    if isinstance(done, Refusal):
        return await _ask(page, version_id, step, form=form, refusal=done)
    return page.go(f"/catalog/{version_id}", said=f"catalog.said_{step}")


@router.get("/{version_id}/rollback")
async def ask_rollback(version_id: VersionId, page: RollingBack) -> Response:
    return await _ask(page, version_id, "rollback")


@router.post("/{version_id}/rollback")
async def rollback(version_id: VersionId, page: RollingBack) -> Response:
    form = await Form.of(page.request)

    async def run(unit: Unit, order: Noted) -> Made:
        return Made(id=(await CatalogVersions(unit, page.desk.who).rollback(version_id, order.reason)).id)

    def read() -> Noted:
        return parse(Noted, form.nested("reason"))

    done = await attempt(page, form, f"catalog.rollback:{version_id}", read, Made, run)
    if isinstance(done, Refusal):
        return await _ask(page, version_id, "rollback", form=form, refusal=done)
    return page.go(f"/catalog/{done.id}", said="catalog.said_rollback")


@router.post("/{version_id}/review")
async def review(version_id: VersionId, page: Reviewing) -> Response:
    form = await Form.of(page.request)

    def read() -> Word:
        sent = form.nested("reason", "accepts", "round")
        return parse(Word if sent.get("accepts") == "true" else Refused, sent)

    async def run(unit: Unit, order: Word) -> Done:
        await CatalogVersions(unit, page.desk.who).review(
            version_id, accepts=order.accepts, note=order.reason, round_seen=order.round
        )
        return Done()

    done = await attempt(page, form, f"catalog.review:{version_id}", read, Done, run)
    if isinstance(done, Refusal):
        return await _show(page, version_id, form=form, refusal=done)
    return page.go(f"/catalog/{version_id}", said="catalog.said_review")


@router.get("/{version_id}/release")
async def ask_release(version_id: VersionId, page: Releasing) -> Response:
    return await _release(page, version_id)


async def _release(page: Page, version_id: str, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        standing = await CatalogVersions(unit, page.desk.who).standing(version_id)
        state = await Drafts(unit, page.desk.who).state(standing.row)
    return page.show(
        "catalog_release.html",
        standing=standing,
        row=standing.row,
        parts=parts_of(state, page),
        province=province_namer(page, state.catalog),
        today=page.desk.today,
        **context,
    )


@router.post("/{version_id}/release")
async def release(version_id: VersionId, page: Releasing) -> Response:
    form = await Form.of(page.request)

    def read() -> ReleaseOrder:
        return parse(ReleaseOrder, form.nested("effective", "reason"))

    async def run(unit: Unit, order: ReleaseOrder) -> Done:
        await CatalogVersions(unit, page.desk.who).release(version_id, order.effective, order.reason)
        return Done()

    done = await attempt(page, form, f"catalog.release:{version_id}", read, Done, run)
    if isinstance(done, Refusal):
        return await _release(page, version_id, form=form, refusal=done)
    return page.go(f"/catalog/{version_id}", said="catalog.said_release")
