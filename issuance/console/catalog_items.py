"""Items of a version: found, looked at as citizens see them, and in a draft changed, added, taken out and put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.responses import Response

from apps_catalog import reasons
from apps_catalog.catalog import Catalog
from apps_catalog.fields import Fault
from apps_catalog.model import JOINT, Item
from apps_catalog.reader import ITEM_ID, MAX_ID, check_item, read_rule
from issuance.catalog.authority import Authority
from issuance.catalog.drafts import Drafts, ItemChangedError, ItemRefusedError, Meanwhile, State, find
from issuance.catalog.repository import CatalogRepository
from issuance.catalog.site.sheet import TONES, Sheet, Speech
from issuance.clerks.acts import Act
from issuance.console import catalog_form
from issuance.console.acting import Done, attempt
from issuance.console.catalog import Editing, Reading, VersionId, province_namer
from issuance.console.forms import Form, parse
from issuance.console.lists import tabs
from issuance.console.page import Page
from issuance.console.refusals import Refusal
from issuance.console.words import words
from issuance.input_rules import field_error
from issuance.problems import ProblemError, bad_input
from issuance.unit import Unit

router = APIRouter(prefix="/catalog/{version_id}/items")
ItemId = Annotated[str, Path(max_length=MAX_ID, pattern=rf"^{ITEM_ID}$")]
MOST_WORDS: Final = 60
_OF_THE_FRAME: Final = ("csrf", "key")


class ItemOrder(BaseModel):
    """The form as it was sent. `seen`: the draft's revision when the page was opened."""

    values: dict[str, str]
    seen: Annotated[int, Field(ge=0)]


class Seen(BaseModel):
    seen: Annotated[int, Field(ge=0)]


class Stored(BaseModel):
    id: str


@dataclass(frozen=True, slots=True)
class Row:
    """An item of the list. `mark`: added or changed since the base, else empty; `is_own`: the clerk may change it."""

    item: Item
    mark: str
    is_own: bool


async def _state(page: Page, version_id: str) -> State:
    async with page.desk.unit(is_reading=True) as unit:
        row = await CatalogRepository(unit.session).row(version_id)
        return await Drafts(unit, page.desk.who).state(row)


# -- found ------------------------------------------------------------------------------------------------------------


@router.get("")
async def find_items(version_id: VersionId, page: Reading, owner: str = "", q: str = "") -> Response:
    state, authority = await _state(page, version_id), Authority.of(page.desk.who)
    owners = [JOINT, *(region.code for region in state.catalog.regions)]
    owner = owner if owner in owners else (authority.province if authority.province in owners else JOINT)
    asked = q.strip()[:MOST_WORDS]
    name = province_namer(page, state.catalog)
    found = [item for item in state.catalog.items if (item.owner == owner if not asked else _names(item, asked))]
    gone = [item for item in state.base.items if item.owner == owner and state.item(item.id) is None]
    return page.show(
        "catalog_items.html",
        row=state.row,
        rows=[Row(item, _mark(state, item), authority.covers(item)) for item in found],
        gone=[] if asked else [Row(item, "removed", authority.covers(item)) for item in gone],
        owner=owner,
        owners=authority.owners(),
        q=asked,
        tabs=tabs(
            f"/catalog/{version_id}/items", "owner", "" if asked else owner, [(one, name(one)) for one in owners]
        ),
        domains={domain.key: domain.name for domain in state.catalog.domains},
        province=name,
    )


def _names(item: Item, asked: str) -> bool:
    text = f"{item.id} {item.name.zh} {item.name.en} {item.summary.zh} {item.summary.en}".lower()
    return all(part in text for part in asked.lower().split())


def _mark(state: State, item: Item) -> str:
    base = find(state.base, item.id)
    return "added" if base is None else "" if base == item else "changed"


# -- changed ----------------------------------------------------------------------------------------------------------


@router.get("/new")
async def ask_new(version_id: VersionId, page: Editing, owner: str = "") -> Response:
    return await _edit(page, version_id, None, owner=owner)


@router.post("/new")
async def make(version_id: VersionId, page: Editing) -> Response:
    return await _put(page, version_id, None)


@router.post("/preview")
async def preview(version_id: VersionId, page: Editing) -> Response:
    """What the form says, as citizens will see it; for the page's script, which shows it beside the form."""
    values = _values(await Form.of(page.request), "")
    state = await _state(page, version_id)
    return page.show("catalog_preview.html", is_typed=True, **_preview(page, state.catalog, values))


@router.get("/{item_id}")
async def show(version_id: VersionId, item_id: ItemId, page: Reading) -> Response:
    return await _edit(page, version_id, item_id)


@router.post("/{item_id}")
async def change(version_id: VersionId, item_id: ItemId, page: Editing) -> Response:
    return await _put(page, version_id, item_id)


@router.post("/{item_id}/restore")
async def restore(version_id: VersionId, item_id: ItemId, page: Editing) -> Response:
    return await _undo(page, version_id, item_id, "restore")


@router.post("/{item_id}/remove")
async def remove(version_id: VersionId, item_id: ItemId, page: Editing) -> Response:
    return await _undo(page, version_id, item_id, "remove")


async def _undo(page: Page, version_id: str, item_id: str, act: str) -> Response:
    form = await Form.of(page.request)
    meanwhile: list[Meanwhile] = []

    async def run(unit: Unit, order: Seen) -> Done:
        drafts = Drafts(unit, page.desk.who)
        try:
            await (drafts.restore if act == "restore" else drafts.remove)(version_id, item_id, order.seen)
        except ItemChangedError as error:
            meanwhile.append(error.meanwhile)
            raise
        return Done()

    def read() -> Seen:
        return parse(Seen, form.nested("seen"))

    done = await attempt(page, form, f"catalog.item:{version_id}", read, Done, run)
    if isinstance(done, Refusal):
        return await _edit(page, version_id, item_id, refusal=done, meanwhile=meanwhile[0] if meanwhile else None)
    return page.go(f"/catalog/{version_id}/items", said=f"catalog.said_{act}")


async def _put(page: Page, version_id: str, item_id: str | None) -> Response:
    form = await Form.of(page.request)
    values = _values(form, item_id or "")
    meanwhile: list[Meanwhile] = []

    def read() -> ItemOrder:
        if sum(map(len, values.values())) > catalog_form.MOST_CHARACTERS:
            raise bad_input(field_error("body.name.zh", "shape"))
        return parse(ItemOrder, {"values": values, "seen": form.get("seen")})

    async def run(unit: Unit, order: ItemOrder) -> Stored:
        table = catalog_form.table_from(values)
        owner = values.get("owner", "") if item_id is None else item_id.partition("-")[0]
        try:
            item = await Drafts(unit, page.desk.who).put(version_id, item_id, owner, table, order.seen)
        except ItemRefusedError as error:
            raise catalog_form.told(error.faults) from None
        except ItemChangedError as error:
            meanwhile.append(error.meanwhile)
            raise
        return Stored(id=item.id)

    done = await attempt(page, form, f"catalog.item:{version_id}", read, Stored, run)
    if isinstance(done, Refusal):
        other = meanwhile[0] if meanwhile else None
        return await _edit(page, version_id, item_id, form=Form(values), meanwhile=other, refusal=done)
    return page.go(f"/catalog/{version_id}/items/{done.id}", said="catalog.said_item")


def _values(form: Form, item_id: str) -> dict[str, str]:
    """The item's fields; a new one's id follows from owner, domain and name."""
    values = {name: value for name, value in form.values.items() if name not in (*_OF_THE_FRAME, "seen")}
    values = catalog_form.compact(values)
    made = f"{values.get('owner', '')}-{values.get('domain', '')}-{values.get('slug', '')}"
    return values | {"id": item_id or (made if "slug" in values else values.get("id", ""))}


async def _edit(
    page: Page,
    version_id: str,
    item_id: str | None,
    *,
    owner: str = "",
    form: Form | None = None,
    meanwhile: Meanwhile | None = None,
    **context: Any,
) -> Response:
    state, authority = await _state(page, version_id), Authority.of(page.desk.who)
    item = None if item_id is None else state.item(item_id)
    if item_id is not None and item is None:
        raise ProblemError("NOT_FOUND", "no such item", subject=state.subject)
    is_open = state.row.state == "draft" and page.viewer.may(Act.CATALOG_EDIT)
    may = is_open and (item is None or authority.covers(item))
    owners = authority.owners()
    wanted = form.get("owner") if form else owner
    owner = item.owner if item else (wanted if wanted in owners else owners[0])
    base = find(state.base, item_id or "")
    values = dict(form.values) if form else _begun(item, base, owner)
    return page.show(
        "catalog_item.html" if may else "catalog_item_seen.html",
        row=state.row,
        item=item,
        base=base,
        owner=owner,
        choices=catalog_form.choices(state.catalog, owner, authority, item, page.language),
        places=_rows(values),
        form=Form(values),
        meanwhile=meanwhile,
        word_key=catalog_form.word_key,
        groups=catalog_form.GROUPS,
        mark="" if item is None else _mark(state, item),
        is_typed=form is not None or item is None,
        province=province_namer(page, state.catalog),
        **_preview(page, state.catalog, values),
        **context,
    )


def _begun(item: Item | None, base: Item | None, owner: str) -> dict[str, str]:
    """The form as it is opened: an item as it is, its note of change only if it was written in this draft."""
    if item is None:
        level = "regional" if owner == JOINT else "province"
        return {"owner": owner, "slug": "", "level": level, "validation": "online", "standing": "stated"}
    values = catalog_form.values_of(item)
    if base is not None and item.version == base.version:
        values = {name: value for name, value in values.items() if not name.startswith("change.")}
    return values


def _rows(values: dict[str, str]) -> list[int]:
    """Numbers of the rows for places: those that are filled and some empty ones."""
    filled = {int(name.split(".")[1]) for name in values if name.startswith("places.")}
    return list(range(max(filled, default=-1) + 1 + catalog_form.ROWS_LEFT))


def _preview(page: Page, catalog: Catalog, values: dict[str, str]) -> dict[str, Any]:
    """`sheet` is None while something is missing; `conditions` are the rule in words, as far as it can be read."""
    table = catalog_form.table_from(values) | {"version": 1}
    item, faults = check_item(table, owner=table["id"].partition("-")[0], head=catalog.head)
    try:
        rule = read_rule(table.get("rule", {}))
        conditions = [getattr(text, page.language) for text in reasons.conditions(rule).values()]
    except Fault:
        conditions = []
    known, speech = words(page.language)["catalog"], Speech(catalog, page.language)
    return {
        "t": words(page.language)["catalog_site"],
        "speech": speech,
        "say": speech.say,
        "tones": TONES,
        "sheet": None if item is None else Sheet.of(catalog, item, page.language),
        "conditions": conditions,
        "missing": sorted({known[f"field_{catalog_form.word_key(catalog_form.field_of(fault))}"] for fault in faults}),
    }
