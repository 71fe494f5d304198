"""The audit trail: searched with masked subjects, one entry with its proof, the state of the log, an export."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from cardlib.failures import FailureCode, describe
from issuance.audit.heads import AuditBrokenError, HeadFile, public_keys, sm3, tree_of
from issuance.audit.log import LogRepository
from issuance.audit.models import AuditRow
from issuance.audit.report import fingerprints, prove_entry
from issuance.audit.repository import AuditRepository
from issuance.audit.verifier import entry_bytes, is_included, leaf_hash
from issuance.clerks.acts import Act
from issuance.clock import CHINA
from issuance.console.forms import Form
from issuance.console.lists import ROWS, address
from issuance.console.offices import name_of
from issuance.console.page import Page, page_for
from issuance.console.subjects import masked_subject, parts_of
from issuance.console.words import words
from issuance.database import MAX_ID
from issuance.offices.repository import OfficeRepository
from issuance.offices.service import office_view
from issuance.problems import ProblemError
from issuance.services import Services
from issuance.supervision.sheets import CSV_TYPE, XLSX_TYPE, Sheet, to_csv, to_xlsx
from issuance.unit import Unit

router = APIRouter(prefix="/audit")
Reading = Annotated[Page, page_for(Act.AUDIT_READ)]
EntryId = Annotated[int, Path(ge=1, le=MAX_ID)]
Before = Annotated[int | None, Query(ge=1, le=MAX_ID)]
MOST_EXPORTED: Final = 10_000
KINDS: Final = ("card", "application", "clerk", "batch", "place", "transfer", "person", "file", "office")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for. It comes by POST, for a card number must be in no address; pages follow by POST too."""

    kind: str = ""
    id: str = ""
    clerk: str = ""

    @classmethod
    def of(cls, form: Form) -> Wanted:
        kind, id_ = form.get("kind"), form.get("id")[:90]
        return cls(kind if kind in KINDS else "", id_.upper() if kind == "card" else id_, form.get("clerk")[:64])

    async def rows(self, unit: Unit, before: int | None, limit: int) -> list[AuditRow]:
        return await AuditRepository(unit.session).find(
            subject=f"{self.kind}:{self.id}" if self.kind and self.id else None,
            application_id=None,
            clerk=self.clerk or None,
            before=before,
            limit=limit,
        )


@router.get("")
async def show(page: Reading, before: Before = None) -> Response:
    return await _show(page, Wanted(), before)


@router.post("")
async def search(page: Reading) -> Response:
    form = await Form.of(page.request)
    before = form.get("before")
    is_number = (
        len(before) <= len(str(MAX_ID)) and before.isdecimal() and before.isascii() and 0 < int(before) <= MAX_ID
    )
    return await _show(page, Wanted.of(form), int(before) if is_number else None, form=form)


async def _show(page: Page, wanted: Wanted, before: int | None, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        rows = await wanted.rows(unit, before, ROWS + 1)
    known = words(page.language)["audit"]
    return page.show(
        "audit.html",
        rows=rows[:ROWS],
        last=rows[ROWS - 1].id if len(rows) > ROWS else None,
        wanted=wanted,
        kinds=[("", known["any"]), *((kind, known[f"kind_{kind}"]) for kind in KINDS)],
        subject=masked_subject,
        kind_of=lambda row: known.get(f"kind_{parts_of(row.subject)[0]}", parts_of(row.subject)[0]),
        act=lambda code: act_in_words(code, page),
        outcome=lambda code: outcome_in_words(code, page),
        address=address,
        **context,
    )


def act_in_words(code: str, page: Page) -> str:
    return words(page.language)["acts"].get(code, code)


def outcome_in_words(outcome: str, page: Page) -> str:
    """Refusals are kept by their failure code."""
    if outcome not in FailureCode.__members__:
        return words(page.language)["audit"].get(f"outcome_{outcome}", outcome)
    text = describe(FailureCode(outcome))
    return text.text_zh if page.language == "zh" else text.text_en


# -- one entry --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether an entry stands in the log as it was written. `waits`: it has no place yet."""

    state: Literal["proved", "waits", "broken"]
    is_sealed: bool = False
    leaf: int = 0
    head: dict[str, Any] | None = None
    record: dict[str, Any] | None = None


async def standing_of(services: Services, unit: Unit, entry_id: int) -> Standing:
    try:
        record = await prove_entry(services, unit.session, entry_id)
    except AuditBrokenError:
        return Standing("broken")
    except ProblemError:
        return Standing("waits")
    digest, head, entry = sm3(), record["head"], record["entry"]
    leaf = leaf_hash(digest, entry_bytes(entry))
    path = [bytes.fromhex(text) for text in record["path"]]
    holds = is_included(digest, leaf, record["leaf"], head["size"], path, bytes.fromhex(head["root"]))
    is_sealed = entry["seal"] is not None
    if not holds or (is_sealed and not services.audit_seal.fits(entry)):
        return Standing("broken")
    return Standing("proved", is_sealed, record["leaf"], head, record)


@router.get("/entries/{entry_id}")
async def entry(entry_id: EntryId, page: Reading) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        row = await _visible(unit, entry_id)
        office = await OfficeRepository(unit.session).by_path(row.place) if row.place else None
        standing = await standing_of(page.desk.services, unit, entry_id)
    known = words(page.language)["audit"]
    kind = parts_of(row.subject)[0]
    return page.show(
        "audit_entry.html",
        row=row,
        standing=standing,
        subject=masked_subject(row.subject),
        kind=known.get(f"kind_{kind}", kind),
        act=act_in_words(row.act, page),
        outcome=outcome_in_words(row.outcome, page),
        place=row.place if office is None else name_of(office_view(office), page.language),
        detail=[(name, _shown(name, value)) for name, value in row.detail.items()],
    )


async def _visible(unit: Unit, entry_id: int) -> AuditRow:
    """Raises NOT_FOUND for what the clerk's scope does not hold."""
    if not await AuditRepository(unit.session).is_visible(entry_id):
        raise ProblemError("NOT_FOUND", "no such entry", subject=f"audit:{entry_id}")
    return await unit.session.get_one(AuditRow, entry_id)


def _shown(name: str, value: Any) -> str:
    """Details hold codes and counts; card numbers among them are masked."""
    if isinstance(value, list):
        return ", ".join(masked_subject(f"numbers:{one}") if name == "numbers" else str(one) for one in value[:20])
    return masked_subject(f"card:{value}") if "card_number" in name else str(value)


@router.get("/entries/{entry_id}/proof.json")
async def proof(entry_id: EntryId, page: Annotated[Page, page_for(Act.AUDIT_EXPORT)]) -> Response:
    """What `verifier.py` checks, as the service has it: unmasked, and so recorded."""
    async with page.desk.unit() as unit:
        row = await _visible(unit, entry_id)
        record = await prove_entry(page.desk.services, unit.session, entry_id)
        await unit.audit("audit.prove", f"audit:{entry_id}", region=row.region)
    name = f'attachment; filename="entry-{entry_id}.json"'
    return Response(json.dumps(record), media_type="application/json", headers={"Content-Disposition": name})


# -- the log ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LogStanding:
    """`published`: size of the last head in the file for anchoring, None where there is none."""

    head: dict[str, Any] | None
    is_good: bool
    waiting: int
    oldest: datetime | None
    published: int | None
    is_published_good: bool
    fingerprints: dict[int, str]

    @property
    def at(self) -> datetime | None:
        return datetime.fromisoformat(self.head["at"]) if self.head and self.is_good else None


@router.get("/log")
async def log(page: Reading) -> Response:
    services = page.desk.services
    async with page.desk.unit(is_reading=True) as unit:
        repository = LogRepository(unit.session)
        head = await repository.head()
        waiting, oldest = await repository.wait()
        published, is_published_good = await _published(services, repository)
    try:
        tree_of(head, public_keys(services.keys))
        is_good = True
    except AuditBrokenError:
        is_good = False
    standing = LogStanding(head, is_good, waiting, oldest, published, is_published_good, fingerprints(services))
    return page.show("audit_log.html", log=standing)


async def _published(services: Services, repository: LogRepository) -> tuple[int | None, bool]:
    """Size of the last published head, and whether the log has that very head."""
    path = services.settings.audit_heads_path
    try:
        last = None if path is None else HeadFile(path).last()
    except AuditBrokenError:
        return 0, False
    if last is None:
        return None, True
    kept = await repository.head(last["size"])
    return last["size"], kept is not None and kept["root"] == last.get("root")


# -- export -----------------------------------------------------------------------------------------------------------


@router.post("/export")
async def export(page: Annotated[Page, page_for(Act.AUDIT_EXPORT)]) -> Response:
    """What the search finds, newest first, at most MOST_EXPORTED entries, subjects masked."""
    form = await Form.of(page.request)
    wanted = Wanted.of(form)
    async with page.desk.unit() as unit:
        rows = await wanted.rows(unit, None, MOST_EXPORTED)
        await unit.audit(
            "audit.export", "audit", region=page.viewer.region, detail={"rows": len(rows), "kind": wanted.kind}
        )
    known = words(page.language)["audit"]
    names = ("number", "at", "who", "system", "act", "about", "region", "outcome", "reason")
    sheet = Sheet(known["title"], tuple(known[name] for name in names), tuple(_cells(row, page) for row in rows))
    is_xlsx = form.get("format") == "xlsx"
    made, media_type = (to_xlsx([sheet]), XLSX_TYPE) if is_xlsx else (to_csv([sheet]), CSV_TYPE)
    stamp = page.desk.services.clock().astimezone(CHINA).strftime("%Y%m%d-%H%M")
    name = f'attachment; filename="audit-{stamp}.{"xlsx" if is_xlsx else "csv"}"'
    return Response(made, media_type=media_type, headers={"Content-Disposition": name})


def _cells(row: AuditRow, page: Page) -> tuple[Any, ...]:
    about = f"{parts_of(row.subject)[0]}:{masked_subject(row.subject)}"
    act = act_in_words(row.act, page)
    return (row.id, row.at, row.clerk, row.actor, act, about, row.region or "", row.outcome, row.reason)
