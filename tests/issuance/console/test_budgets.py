"""How many SQL statements each page may take: one more for each row shows here."""

from __future__ import annotations

import pytest

from issuance.clerks.acts import acts_of
from issuance.console.nav import NAV
from issuance.supervision.alerts import evaluate_alerts
from issuance.supervision.schemas import Queue
from tests.issuance.conftest import Centre, application, both_engines
from tests.issuance.console.conftest import Browser, Console
from tests.issuance.console.scenery import furnish
from tests.issuance.supervision import statements, stick

pytestmark = pytest.mark.usefixtures("orders")
MENU = {
    "home": 4,
    "queues": 8,
    "counter": 3,
    "collect": 3,
    "reviews": 6,
    "dashboard": 16,
    "alerts": 7,
    "terminals": 8,
    "journeys": 17,
    "approvals": 6,
    "stock": 10,
    "batches": 5,
    "found": 6,
    "exchange": 5,
    "catalog": 6,
    "staff": 8,
    "audit": 5,
}
INNER = {
    "/console/dashboard?by=office": 14,
    "/console/dashboard/statistics": 9,
    "/console/stock/balance": 10,
    "/console/stock/movements": 6,
    "/console/stock/numbers": 6,
    "/console/stock/transfers": 6,
    "/console/exchange/messages": 5,
    "/console/staff/clerks": 6,
    "/console/audit/log": 6,
    "/console/terminals/kiosk-hall-01": 9,
}
CARD, APPLICATION, HOLDER, FILE, SEARCH, SEARCH_CARD = 16, 12, 6, 20, 9, 6
PERSON = application(1)["person"]


class Counter:
    """What is over its budget."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self.wrong: list[str] = []

    async def get(self, browser: Browser, path: str, budget: int) -> None:
        with statements(self._centre) as seen:
            await browser.get(path)
        self._note(browser, path, seen, budget)

    async def post(self, browser: Browser, path: str, budget: int, **fields: str) -> None:
        with statements(self._centre) as seen:
            await browser.post(path, **fields)
        self._note(browser, path, seen, budget)

    def _note(self, browser: Browser, path: str, seen: list[str], budget: int) -> None:
        assert browser.status == 200, path
        if len(seen) > budget:
            self.wrong.append(f"{path}: {len(seen)}, not {budget}\n" + "\n".join(seen))


def test_every_entry_of_the_menu_has_a_budget() -> None:
    assert set(MENU) == {entry.name for entry in NAV}


@both_engines
async def test_every_page_keeps_within_its_statements(console: Console, centre: Centre) -> None:
    see = await furnish(console)
    for serial in (31, 32, 33):
        await stick(centre, serial)
    await evaluate_alerts(centre.app.state.services)
    counter, left = Counter(centre), {entry.name: entry for entry in NAV}
    for login in ("jianguan", "caiji", "fuhe"):
        browser, acts = await console.log_in(login), acts_of(console.clerks[login].roles)
        for entry in [entry for entry in left.values() if entry.act in acts]:
            await counter.get(browser, entry.path, MENU[left.pop(entry.name).name])
    assert left == {}
    browser = await console.log_in("jianguan")
    for path, budget in INNER.items():
        await counter.get(browser, path, budget)
    for queue in Queue:
        await counter.get(browser, f"/console/queues?queue={queue.value}", MENU["queues"])
    await counter.get(browser, f"/console/cards/{see.card}", CARD)
    await counter.get(browser, f"/console/applications/{see.card}", APPLICATION)
    await counter.get(browser, f"/console/files/{see.card}", HOLDER)
    await counter.post(browser, f"/console/files/{see.card}", FILE, reason="持卡人到窗口查询")
    await counter.post(browser, "/console/search", SEARCH, q=PERSON["name"])
    await counter.post(browser, "/console/search", SEARCH, q=PERSON["social_security_number"])
    await counter.post(browser, "/console/search", SEARCH_CARD + CARD, q=see.card_number)
    assert counter.wrong == []


async def test_cards_that_differ_are_explained_together(console: Console, centre: Centre) -> None:
    await furnish(console)
    centre.store.sql("UPDATE blanks SET place_id = NULL WHERE state = 'in_stock' AND place_id = 'hall-1'")
    browser, counter = await console.log_in("jianguan"), Counter(centre)
    await counter.get(browser, "/console/stock", MENU["stock"])
    await counter.get(browser, "/console/stock/balance", INNER["/console/stock/balance"] + 4)
    assert browser.text.count("con-depth-1") > 2
    assert counter.wrong == []
