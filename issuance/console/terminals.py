"""Terminals: kiosks, counters and gates as they say they are; one of them; locking it, having it diagnosed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from starlette.responses import Response

from issuance.clerks.acts import Act
from issuance.clients.schemas import ClientId
from issuance.console.acting import Confirm, Done, attempt, confirm
from issuance.console.forms import Form, parse
from issuance.console.lists import address, following, rows_of, tabs
from issuance.console.live import live
from issuance.console.page import Page, page_for
from issuance.console.refusals import Refusal
from issuance.console.words import words
from issuance.paging import PageQuery
from issuance.supervision.alerts import AlertService
from issuance.terminals.fleet import FleetService
from issuance.terminals.fleet_repository import FleetRepository, Wanted
from issuance.terminals.fleet_schemas import LockOrder, TerminalAccount, TerminalStateView
from issuance.unit import Unit

router = APIRouter(prefix="/terminals")
Reading = Annotated[Page, page_for(Act.TERMINAL_READ)]
Locking = Annotated[Page, page_for(Act.TERMINAL_LOCK)]
Diagnosing = Annotated[Page, page_for(Act.TERMINAL_DIAGNOSE)]
Terminal = Annotated[ClientId, Path()]
PROFILES: Final = ("kiosk", "counter", "transit")
STATES: Final = ("trouble", "silent", "locked", "ok", "new", "off")
ROUND_S: Final = 5.0
ROUNDS: Final = 5
"""A stream of events ends soon, so that a service that stops waits for none; the browser opens the next."""
HERE: Final = "terminals"
_MOVES_ALWAYS: Final = {"heard_at", "clock_error_s"}
_BEATS_ALWAYS: Final = {"sent_at", "up_s", "catalog_age_s", "block_list_age_s"}
"""What every heartbeat changes is no reason to draw a page anew."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is chosen in the address; anything else is all."""

    wanted: Wanted

    @classmethod
    def of(cls, profile: str, state: str, region: str) -> Asked:
        return cls(
            Wanted(
                profile=profile if profile in PROFILES else "",
                region=region if len(region) == 6 and region.isdigit() else "",
                state=state if state in STATES else "",
            )
        )

    @property
    def query(self) -> dict[str, str]:
        return {"profile": self.wanted.profile, "state": self.wanted.state, "region": self.wanted.region}


@router.get("")
async def find(page: Reading, asked: PageQuery, profile: str = "", state: str = "", region: str = "") -> Response:
    chosen = Asked.of(profile, state, region)
    async with page.desk.unit(is_reading=True) as unit:
        fleet = FleetService(unit)
        counts = await fleet.counts(chosen.wanted)
        found = await fleet.find(chosen.wanted, rows_of(asked))
        regions = await FleetRepository(unit.session).regions()
        now = unit.now
    known = words(page.language)["terminals"]
    kept = {name: value for name, value in chosen.query.items() if name != "state"}
    choices = [("", f"{known['all']} {sum(counts.values())}")]
    choices += [(code, f"{known[f'state_{code}']} {counts[code]}") for code in STATES if counts.get(code)]
    return page.show(
        "terminals.html",
        rows=found.items,
        counts=counts,
        tabs=tabs("/terminals", "state", chosen.wanted.state, choices, **kept),
        chosen=chosen.wanted,
        profiles=PROFILES,
        regions=regions,
        following=following("/terminals", found.next_cursor, **chosen.query),
        events=address("/terminals/events", **chosen.query, cursor=asked.cursor),
        now=now,
    )


@router.get("/events")
async def events(page: Reading, asked: PageQuery, profile: str = "", state: str = "", region: str = "") -> Response:
    """Server-sent events: `changed` whenever the list shows something else than before."""
    wanted, shown = Asked.of(profile, state, region).wanted, rows_of(asked)

    async def seen(unit: Unit) -> Any:
        fleet = FleetService(unit)
        found = await fleet.find(wanted, shown)
        return await fleet.counts(wanted), [row.model_dump(exclude=_MOVES_ALWAYS) for row in found.items]

    return live(page.request, _changes(page, seen))


@router.get("/{client_id}/events")
async def events_of(client_id: Terminal, page: Reading) -> Response:
    """As `events`, of one terminal."""

    async def seen(unit: Unit) -> Any:
        account = await FleetService(unit).account(client_id)
        beat = None if account.heartbeat is None else account.heartbeat.model_dump(exclude=_BEATS_ALWAYS)
        return account.model_dump(exclude={"heartbeat": True, "terminal": _MOVES_ALWAYS}), beat

    async with page.desk.unit(is_reading=True) as unit:
        await seen(unit)  # what is not there is refused before the stream begins
    return live(page.request, _changes(page, seen))


async def _changes(page: Page, seen: Callable[[Unit], Awaitable[Any]]) -> AsyncIterator[str]:
    last = page.request.headers.get("Last-Event-ID", "")
    yield "retry: 2000\n\n"
    for left in range(ROUNDS, 0, -1):
        async with page.desk.unit(is_reading=True) as unit:
            found = hashlib.sha256(repr(await seen(unit)).encode()).hexdigest()[:16]
        yield f"id: {found}\nevent: {'changed' if last else 'here'}\ndata: {found}\n\n" if found != last else ""
        last = found
        if left > 1:
            await asyncio.sleep(ROUND_S)


@router.get("/{client_id}")
async def show(client_id: Terminal, page: Reading) -> Response:
    return await _show(page, client_id)


async def _show(page: Page, client_id: str, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        account = await FleetService(unit).account(client_id)
        alerts = await AlertService(unit).open_about(f"terminal:{client_id}")
        now = unit.now
    return page.show(
        "terminal.html",
        account=account,
        terminal=account.terminal,
        beat=account.heartbeat,
        alerts=alerts,
        journeys=_journeys(page, account),
        events=address(f"/terminals/{client_id}/events"),
        now=now,
        **context,
    )


def _journeys(page: Page, account: TerminalAccount) -> str:
    """Address of what a gate took, for who may see it."""
    is_gate = account.terminal.profile == "transit" and page.viewer.may("journeys.read")
    return address("/journeys", terminal=account.terminal.terminal) if is_gate else ""


# -- locking ----------------------------------------------------------------------------------------------------------


@router.get("/{client_id}/lock")
async def lock_page(client_id: Terminal, page: Locking) -> Response:
    return await _lock_page(page, client_id)


async def _lock_page(page: Page, client_id: str, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        account = await FleetService(unit).account(client_id)
    return page.show("terminal_lock.html", terminal=account.terminal, **context)


@router.post("/{client_id}/lock")
async def lock(client_id: Terminal, page: Locking) -> Response:
    form = await Form.of(page.request)

    def read() -> LockOrder:
        return parse(LockOrder, form.nested("reason", "contact"))

    async def run(unit: Unit, order: LockOrder) -> TerminalStateView:
        return await FleetService(unit).lock(client_id, order)

    done = await attempt(page, form, f"terminal-lock:{client_id[:32]}", read, TerminalStateView, run)
    if isinstance(done, Refusal):
        return await _lock_page(page, client_id, form=form, refusal=done)
    return page.go(f"/terminals/{client_id}", said="terminals.said_locked")


@router.get("/{client_id}/unlock")
async def unlock_page(client_id: Terminal, page: Locking) -> Response:
    return await _unlock_page(page, client_id)


async def _unlock_page(page: Page, client_id: str, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        terminal = (await FleetService(unit).account(client_id)).terminal
    known = words(page.language)["terminals"]
    ask = Confirm(
        title=known["unlock"],
        thing=terminal.name,
        effects=known["effect_unlock"].split("\n"),
        action=f"/console/terminals/{client_id}/unlock",
        button=known["unlock"],
        back=f"/console/terminals/{client_id}",
        facts=[] if terminal.lock is None else [(known["lock_reason"], terminal.lock.reason)],
        icon="key",
        is_grave=False,
    )
    return confirm(page, ask, HERE, **context)


@router.post("/{client_id}/unlock")
async def unlock(client_id: Terminal, page: Locking) -> Response:
    form = await Form.of(page.request)

    async def run(unit: Unit, _: Done) -> TerminalStateView:
        return await FleetService(unit).unlock(client_id)

    done = await attempt(page, form, f"terminal-unlock:{client_id[:32]}", Done, TerminalStateView, run)
    if isinstance(done, Refusal):
        return await _unlock_page(page, client_id, form=form, refusal=done)
    return page.go(f"/terminals/{client_id}", said="terminals.said_unlocked")


# -- diagnosis --------------------------------------------------------------------------------------------------------


@router.post("/{client_id}/diagnose")
async def diagnose(client_id: Terminal, page: Diagnosing) -> Response:
    form = await Form.of(page.request)

    async def run(unit: Unit, _: Done) -> Done:
        await FleetService(unit).order_diagnosis(client_id)
        return Done()

    done = await attempt(page, form, f"terminal-ask:{client_id[:32]}", Done, Done, run)
    if isinstance(done, Refusal):
        return await _show(page, client_id, form=form, refusal=done)
    return page.go(f"/terminals/{client_id}", said="terminals.said_diagnose")


@router.get("/{client_id}/diagnosis")
async def diagnosis(client_id: Terminal, page: Diagnosing) -> Response:
    """Without personal data (`terminal_agent.diagnosis`); who took it is in the trail."""
    async with page.desk.unit() as unit:
        content = await FleetService(unit).diagnosis(client_id)
    name = f'attachment; filename="{client_id}.zip"'
    return Response(content, media_type="application/zip", headers={"Content-Disposition": name})
