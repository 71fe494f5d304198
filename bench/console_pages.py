"""Which pages of the console `bench --only console` asks for, and the clerks who ask."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from bench.console_load import DISTRICTS, Holder
from issuance.clerks.acts import Act, ClerkRole, acts_of
from issuance.clerks.login import LoginAttempt, log_in
from issuance.clerks.schemas import ClerkRequest
from issuance.clerks.service import ClerkService
from issuance.console.nav import NAV
from issuance.console.words import words
from issuance.offices.schemas import OfficeRequest, OfficeView
from issuance.offices.service import OfficeService
from issuance.scope import region_prefix
from issuance.services import Services
from issuance.supervision.queues import TITLES
from issuance.supervision.schemas import Queue
from issuance.unit import system_unit
from onecard_cli.demo_staff import settle

ORIGIN: Final = "http://127.0.0.1"
SHOWN: Final = "<main"
PROVINCE: Final = "110000"
_R = ClerkRole
_CLERKS: Final[tuple[tuple[str, str, tuple[ClerkRole, ...]], ...]] = (
    ("province", "省监管", (_R.SUPERVISOR,)),
    ("district", "区监管", (_R.SUPERVISOR,)),
    ("outlet", "网点经办", (_R.COLLECTOR, _R.REVIEWER, _R.ISSUER)),
)
WHO: Final = tuple(who for who, _, _ in _CLERKS)


@dataclass(frozen=True, slots=True)
class Clerk:
    """Logged in: `token` is the session's cookie, `csrf` goes into every form."""

    who: str
    prefix: str
    acts: frozenset[Act]
    token: str = field(repr=False)
    csrf: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sight:
    """`ask` gives the path, and the fields of the form where one is sent."""

    name: str
    name_zh: str
    act: Act | None
    ask: Callable[[Holder], tuple[str, dict[str, str] | None]]


def citizen() -> Sight:
    """Asks how far the application is, without logging in."""
    return Sight(
        "progress", "进度", None, lambda h: ("/progress/", {"receipt_number": h.receipt, "check": h.number[-6:]})
    )


def sights(clerk: Clerk, queues_page: str) -> list[Sight]:
    """What this clerk may open: the menu, what is found and opened from there, and the queues that a page leads to."""
    found = [*_menu(), *_queues(queues_page), *_inner(), *_of_holders()]
    return [sight for sight in found if sight.act in clerk.acts]


def _page(name: str, name_zh: str, act: Act, path: str) -> Sight:
    return Sight(name, name_zh, act, lambda _: (path, None))


def _menu() -> Iterator[Sight]:
    frame = words("zh")["frame"]
    return (_page(entry.name, frame[f"nav_{entry.name}"], entry.act, entry.path) for entry in NAV)


def _queues(page: str) -> Iterator[Sight]:
    for name in dict.fromkeys(re.findall(r'href="/console/queues\?queue=(\w+)"', page)):
        yield _page(f"queue {name}", TITLES[Queue(name)][0], Act.QUEUE_READ, f"/console/queues?queue={name}")


def _inner() -> list[Sight]:
    """Of the entries of the menu."""
    return [
        _page("dashboard by office", "看板按机构", Act.STATISTICS_READ, "/console/dashboard?by=office"),
        _page("statistics", "统计", Act.STATISTICS_READ, "/console/dashboard/statistics"),
        _page("stock movements", "库存流水", Act.STOCK_READ, "/console/stock/movements"),
        _page("stock numbers", "卡号", Act.STOCK_READ, "/console/stock/numbers"),
        _page("stock balance", "日结", Act.STOCK_READ, "/console/stock/balance"),
        _page("audit log", "审计日志", Act.AUDIT_READ, "/console/audit/log"),
    ]


def _of_holders() -> list[Sight]:
    return [
        Sight("search name", "按姓名找", Act.PERSON_READ, lambda h: ("/console/search", {"q": h.name})),
        Sight("search number", "按号码找", Act.PERSON_READ, lambda h: ("/console/search", {"q": h.number})),
        Sight("search card", "按卡号找", Act.PERSON_READ, lambda h: ("/console/search", {"q": h.card})),
        Sight("application", "申领", Act.APPLICATION_READ, lambda h: (f"/console/applications/{h.application}", None)),
        Sight("card", "卡", Act.CARD_READ, lambda h: (f"/console/cards/{h.application}", None)),
        Sight("holder", "持卡人", Act.PERSON_READ, lambda h: (f"/console/files/{h.application}", None)),
        Sight(
            "person file",
            "一人一档",
            Act.PERSON_READ,
            lambda h: (f"/console/files/{h.application}", {"reason": "bench"}),
        ),
    ]


# -- the clerks -------------------------------------------------------------------------------------------------------


async def staff(services: Services) -> list[Clerk]:
    """A province's office, one in every district as the load has them, an outlet; a clerk in three of them."""
    async with system_unit(services) as unit:
        top = await _office(OfficeService(unit), None, PROVINCE, "示例省中心")
        districts = [await _office(OfficeService(unit), top.id, region, f"示例区 {region}") for region in DISTRICTS]
        district = districts[3]
        outlet = await _office(OfficeService(unit), district.id, district.region, "示例网点", kind="outlet")
        made = [
            (
                office,
                await ClerkService(unit).create(ClerkRequest(login=who, name=name, office_id=office.id, roles=roles)),
            )
            for office, (who, name, roles) in zip((top, district, outlet), _CLERKS, strict=True)
        ]
    return [
        await _signed_in(services, office, *clerk, access.temporary_password)
        for (office, access), clerk in zip(made, _CLERKS, strict=True)
    ]


async def _office(
    offices: OfficeService, above: int | None, region: str, name: str, *, kind: str = "office"
) -> OfficeView:
    fields = {"parent_id": above, "kind": kind, "region": region, "name_zh": name, "name_en": f"Office {region}"}
    return await offices.create(OfficeRequest.model_validate(fields))


async def _signed_in(
    services: Services, office: OfficeView, who: str, name: str, roles: tuple[ClerkRole, ...], temporary: str
) -> Clerk:
    clerk = await settle(services, who, name, roles, temporary)
    given = {"login": who, "password": clerk.password, "code": clerk.code(services.clock().timestamp())}
    opened = await log_in(services, LoginAttempt("password", given))
    return Clerk(who, region_prefix(office.region), acts_of(roles), opened.token, opened.csrf)
