"""How the gate stands, for its staff and for programs: counters of the day, lists, records that wait."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from terminal_agent.journal.store import JournalFullError
from terminal_agent.transit.books import Day
from terminal_agent.transit.desk import GateDesk
from terminal_agent.transit.rules import RuleBook

if TYPE_CHECKING:
    from terminal_agent.agent import Agent

Standing = Literal["good", "due", "old", "missing", "lost", "unsure"]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class TodayView(_View):
    """Of the day of the gate's clock; amounts in fen. `refusals` by reason."""

    day: str
    taps: int
    paid: int
    free: int
    codes: int
    takings_fen: int
    forgone_fen: int
    recovered: int
    suspicious: int
    refusals: dict[str, int]


class ListView(_View):
    """`age_s` is null where there is nothing to be old."""

    standing: Standing
    age_s: int | None = None


class RulesView(_View):
    """`network` is null where the gate's own file has all of them, version and days while there are none. Days are the
    first and the last, both included; `next` count from `next_from` on."""

    version: str | None
    network: str | None
    valid_from: str | None
    valid_until: str | None
    standing: Standing
    next: str | None
    next_from: str | None


class GateView(_View):
    """`sign` is what the display shows, `picture` all of it; `closed` why no card is taken, null while cards are;
    `speed_ms`: median and slowest of a hundred, from a card that was seen to the decision."""

    sign: str
    number: int
    picture: dict[str, Any]
    closed: str | None
    place: str
    rules: RulesView
    mode: str
    psam: str | None
    readers: int
    has_scanner: bool
    clock: Standing
    today: TodayView
    waiting: int
    oldest_s: int | None
    block_list: ListView
    catalog: ListView
    anchors: Standing
    speed_ms: tuple[float, float] | None


def gate_view(agent: Agent, gate: GateDesk) -> GateView:
    """Blocks for a moment: it looks into the journal."""
    waiting, oldest = _waiting(agent)
    contents = agent.catalog.contents
    blocked = contents.block_list
    speeds = sorted(gate.tapper.speeds_ms) if gate.tapper is not None else []
    held = agent.catalog.last.held if agent.catalog.last is not None else None
    return GateView(
        sign=gate.screen.picture.sign.value,
        number=gate.screen.picture.number,
        picture=gate.screen.picture.to_json(),
        closed=None if gate.closed is None else gate.closed.name,
        place=gate.rules.place.name_zh,
        rules=_rules(gate.book),
        mode=gate.rules.mode.value,
        psam=gate.psam.number if gate.psam.sam is not None else None,
        readers=sum(not reader.is_lost for reader in agent.registry.card_readers()),
        has_scanner=agent.settings.scanner is not None,
        clock="good" if gate.clock.is_trusted() else "unsure",
        today=_today(str(gate.books.today), gate.books.now()),
        waiting=waiting,
        oldest_s=oldest,
        block_list=ListView(standing="missing")
        if blocked is None
        else ListView(
            standing=_FRESHNESS[agent.catalog.freshness(blocked).value], age_s=max(0, int(time.time() - blocked.as_of))
        ),
        catalog=ListView(standing="missing")
        if held is None
        else ListView(
            standing="old" if held.is_stale(agent.catalog.now) else "good",
            age_s=max(0, int(held.age_s(agent.catalog.now))),
        ),
        anchors="missing" if contents.anchors is None else "good",
        speed_ms=(round(speeds[len(speeds) // 2], 1), round(speeds[int(len(speeds) * 0.99)], 1)) if speeds else None,
    )


def _rules(book: RuleBook) -> RulesView:
    following, rules = book.following, None if book.are_missing else book.rules
    return RulesView(
        version=None if rules is None else rules.version,
        network=book.network,
        valid_from=None if rules is None else rules.valid_from.isoformat(),
        valid_until=None if rules is None else rules.valid_until.isoformat(),
        standing=book.standing,
        next=None if following is None else following[1].version,
        next_from=None if following is None else following[0].isoformat(),
    )


def _waiting(agent: Agent) -> tuple[int, int | None]:
    """How many records wait for the centre, and for how many seconds the oldest."""
    with suppress(JournalFullError):
        journal = agent.journal.journal()
        if journal is not None:
            standing = journal.standing()
            oldest = standing.oldest_at
            return standing.waiting, None if oldest is None else max(0, int(time.time() - oldest.timestamp()))
    return 0, None


_FRESHNESS: dict[str, Standing] = {"fresh": "good", "due": "due", "too_old": "old"}


def _today(day: str, counted: Day) -> TodayView:
    passed = counted.many("paid", "recovered", "code")
    return TodayView(
        day=day,
        taps=passed + counted.refusals.total(),
        paid=counted.many("paid", "recovered") - counted.free[0],
        free=counted.free[0],
        codes=counted.many("code"),
        takings_fen=counted.taken_fen,
        forgone_fen=counted.free[1],
        recovered=counted.many("recovered"),
        suspicious=counted.many("suspicious"),
        refusals=dict(counted.refusals.most_common()),
    )
