"""Messages of the local API about catalog, block list and what else the centre publishes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import StringConstraints

from apps_catalog import Catalog
from apps_catalog.block_list import BlockList, Freshness, Kind
from cardlib.failures import FailureCode
from terminal_agent.catalog.configuration import Configuration
from terminal_agent.catalog.desk import Alarm, CatalogDesk
from terminal_agent.catalog.releases import EXAMPLE, Notes, Package, Release, UpdateState
from terminal_agent.schemas import Body, FailureView, _example, _words

_ALARM: dict[str, Any] = {
    **_words(FailureCode.SERVICE_UNREACHABLE),
    "since": "2026-11-22T05:00:00Z",
    "detail": "ConnectError",
}
_BLOCK_LIST: dict[str, Any] = {
    "edition": 48,
    "as_of": "2026-11-22T04:55:00Z",
    "age_s": 310,
    "entries": 1204,
    "has_exact": True,
    "freshness": "fresh",
}
_UPDATE: dict[str, Any] = EXAMPLE | {"state": "available"}


class BlockQuestion(Body):
    """`card`: identification code of the chip (卡识别码); `ecard`: number of the electronic card; `purse` and
    `transit_account` as docs/block-list.md makes them; each 32 hex digits.

    `offline`: the caller cannot ask the centre either.
    """

    model_config = _example(kind="card", number="110000D156000005000000A1FFFFFFFF")

    kind: Kind
    number: Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{32}$")]
    offline: bool = False


class BlockListView(Body):
    """`as_of`: when it was true. `freshness` by the policy of this terminal's profile."""

    model_config = _example(**_BLOCK_LIST)

    edition: int
    as_of: datetime
    age_s: int
    entries: int
    has_exact: bool
    freshness: Freshness

    @classmethod
    def of(cls, block_list: BlockList, freshness: Freshness, now: datetime) -> Self:
        return cls(
            edition=block_list.edition,
            as_of=datetime.fromtimestamp(block_list.as_of, UTC),
            age_s=int(now.timestamp() - block_list.as_of),
            entries=len(block_list),
            has_exact=block_list.has_exact,
            freshness=freshness,
        )


class AlarmView(FailureView):
    """`since`: when this terminal first noticed it."""

    model_config = _example(**_ALARM)

    since: datetime
    detail: str

    @classmethod
    def of_alarm(cls, alarm: Alarm) -> Self:
        return cls(**_words(alarm.failure), since=alarm.since, detail=alarm.detail)


class UpdateView(Body):
    """The newest version of this program; `required`: the running one is below `minimum` and must be replaced."""

    model_config = _example(**_UPDATE)

    state: UpdateState
    newest: str
    minimum: str
    notes: Notes
    package: Package

    @classmethod
    def of(cls, release: Release, state: UpdateState) -> Self:
        return cls(
            state=state,
            newest=release.newest,
            minimum=release.minimum,
            notes=release.notes,
            package=release.package,
        )


class ConfigurationView(Body):
    """Names of what the centre sets here, and of settings this program does not know."""

    model_config = _example(settings=["allowed_origins", "pin_dialog_s"], unknown=[])

    settings: list[str]
    unknown: list[str]

    @classmethod
    def of(cls, configuration: Configuration) -> Self:
        named = configuration.settings.model_fields_set
        return cls(settings=sorted(named), unknown=list(configuration.unknown))


class CatalogState(Body):
    """How old what this terminal knows is. `source` shipped: nothing was fetched, the catalog came with the program.

    `set`, `checked_at`, `valid_until` and `age_s` are of the set in force; `next_try` is null where nothing is fetched.
    """

    model_config = _example(
        is_updating=True,
        source="published",
        version="2026.47.2",
        set=17,
        checked_at="2026-11-22T05:00:00Z",
        valid_until="2026-11-23T05:00:00Z",
        age_s=10,
        is_stale=False,
        next_try="2026-11-22T05:04:50Z",
        block_list=_BLOCK_LIST,
        transit_roots=1,
        configuration={"settings": ["allowed_origins"], "unknown": []},
        update=_UPDATE,
        alarms=[_ALARM],
    )

    is_updating: bool
    source: Literal["published", "shipped"]
    version: str
    set: int | None
    checked_at: datetime | None
    valid_until: datetime | None
    age_s: int | None
    is_stale: bool
    next_try: datetime | None
    block_list: BlockListView | None
    transit_roots: int | None
    configuration: ConfigurationView | None
    update: UpdateView | None
    alarms: list[AlarmView]

    @classmethod
    def of(cls, desk: CatalogDesk, catalog: Catalog) -> Self:
        now, last, contents, update = desk.now, desk.last, desk.contents, desk.update()
        held = None if last is None else last.held
        block_list, configuration = contents.block_list, contents.configuration
        return cls(
            is_updating=desk.is_updating,
            source="shipped" if contents.catalog is None else "published",
            version=catalog.version,
            set=None if held is None else held.number,
            checked_at=None if held is None else held.checked_at,
            valid_until=None if held is None else held.valid_until,
            age_s=None if held is None else int(held.age_s(now)),
            is_stale=held is not None and held.is_stale(now),
            next_try=None if last is None else last.next_try,
            block_list=None if block_list is None else BlockListView.of(block_list, desk.freshness(block_list), now),
            transit_roots=None if contents.anchors is None else len(contents.anchors),
            configuration=None if configuration is None else ConfigurationView.of(configuration),
            update=None if update is None else UpdateView.of(*update),
            alarms=[AlarmView.of_alarm(alarm) for alarm in desk.alarms],
        )
