"""Whoever guesses an address of another region gets, in every role, the answer of one that is not there."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator

import pytest

from issuance.clerks.acts import ClerkRole
from onecard_cli import demo_staff
from simulators.portrait import Portrait
from tests.issuance.conftest import REGION, ok
from tests.issuance.console.conftest import Browser, Console, hidden_fields
from tests.issuance.console.scenery import furnish
from tests.issuance.console.test_door import routes
from tests.issuance.test_collection import NEWBORN

ELSEWHERE = "130000"
NOBODY = "0" * 32
CHOSEN = {
    "name": ("loss", "cancel", "send"),
    "word": ("approve", "receive"),
    "how": ("returned", "destroyed"),
    "act": ("suspend",),
    "action": ("resume", "write_off_final"),
    "visit": ("rewrite", "pin_reset"),
    "stage": ("bank",),
    "number": ("0",),
    "day": ("2026-01-04",),
    "version_id": (NOBODY,),
    "step": ("drop",),
    "item_id": ("joint-culture-library",),
}
"""Parts of addresses that are no ids of a region: versions of the catalog belong to all of them."""
SHARED = {
    (
        "GET",
        "/exchange/bank/{comparison_id}",
    ),  # of the whole centre: shows the differences of the own regions, here none
    ("POST", "/queues/hand-over/{application_id}"),  # leads on to the card, which is not there
}
CATALOG = {ClerkRole.CATALOG_EDITOR, ClerkRole.CATALOG_REVIEWER}
"""Roles that see nothing of any region."""
Ids = dict[str, list[tuple[str, str]]]
"""By the name in the address: ids in Beijing, each with one that nothing has."""


async def _ids(console: Console) -> Ids:
    see, operator = await furnish(console), console.centre.as_("operator")
    headers = {"Idempotency-Key": "beijing-key"}
    query = {"region": REGION, "taken_on": "2026-01-04"}
    jpeg = headers | {"Content-Type": "image/jpeg"}
    photo = ok(await operator.post("/v1/photos", content=Portrait().jpeg(), params=query, headers=jpeg), 201)
    newborn = ok(await operator.post("/v1/newborns", json=NEWBORN, headers=headers), 201)
    ((job,),) = console.centre.store.sql("SELECT id FROM production_jobs LIMIT 1")
    found: Ids = {
        "application_id": [(number, NOBODY) for number in (see.waiting, see.card, see.stuck)],
        "batch_id": [(see.batch, "1300002601050001")],
    }
    long = {"newborn_id": newborn["id"], "photo_id": photo["id"], "approval_id": see.cancel, "job_id": job}
    long |= {"transfer_id": see.transfer, "file_id": see.refused_file, "message_id": see.message}
    short = {"found_id": see.found, "comparison_id": see.bank_run, "office_id": 2, "entry_id": see.entry, "alert_id": 1}
    long |= {"clerk_id": see.clerk, "client_id": see.terminal}
    found |= {name: [(number, NOBODY)] for name, number in long.items()}
    return found | {name: [(str(number), "999999")] for name, number in short.items()}


def _names(path: str) -> dict[str, None]:
    return dict.fromkeys(re.findall(r"\{(\w+)\}", path))


def _addresses(path: str, ids: Ids) -> Iterator[tuple[str, str]]:
    """Of what lies in Beijing, and the same of what is nowhere."""
    names = _names(path)
    for chosen in itertools.product(*(ids.get(name) or [(part, part) for part in CHOSEN[name]] for name in names)):
        there, nowhere = ({name: pair[side] for name, pair in zip(names, chosen, strict=True)} for side in (0, 1))
        yield f"/console{path.format(**there)}", f"/console{path.format(**nowhere)}"


async def _answer(browser: Browser, method: str, path: str, csrf: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body without what only repeats the address or is another each time."""
    filled = {"csrf": csrf, "key": "k" * 32, "reason": "as asked", "why": "as asked", "version": "1"}
    form = None if method == "GET" else filled
    token = {"X-CSRF-Token": csrf} if method == "PUT" else {}  # only the form of a POST is read for it
    response = await browser.http.request(method, path, data=form, headers=token, follow_redirects=False)
    text = re.sub(r'name="key" value="\w*"', "", html.unescape(response.text)).replace(path, "…")
    where = response.headers.get("location", "").replace(path.rpartition("/")[2], "…")
    headers = dict(response.headers) | {"location": where}
    del headers["x-request-id"], headers["content-length"]
    return response.status_code, headers, text


async def test_a_guessed_address_is_answered_like_one_that_is_not_there(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await _ids(console)
    with_ids = [(method, path) for method, path in routes(console) if _names(path).keys() - CHOSEN.keys()]
    lists = [path for method, path in {*routes(console)} - {*with_ids} if method == "GET" and "events" not in path]
    hebei = {f"h-{login}": entry for login, entry in demo_staff.CLERKS.items() if not CATALOG.issuperset(entry[1])}
    monkeypatch.setattr(demo_staff, "CLERKS", hebei)
    made = await demo_staff.make_staff(console.centre.app.state.services, ELSEWHERE)
    console.clerks |= {clerk.login: clerk for clerk in made}
    never_looked_up = set(with_ids)
    for login in hebei:
        browser = await console.log_in(login)
        csrf = hidden_fields(browser.text)["csrf"]
        for method, path in with_ids:
            for there, nowhere in _addresses(path, ids):
                answers = [await _answer(browser, method, address, csrf) for address in (there, nowhere)]
                assert answers[0] == answers[1], (login, method, there)
                assert answers[0][0] in (303, 403, 404) or (method, path) in SHARED, (login, method, there)
                if answers[0][0] == 404:
                    never_looked_up.discard((method, path))
                if answers[0][0] == 403:
                    break
        for path, _ in itertools.chain.from_iterable(_addresses(path, ids) for path in lists):
            await browser.get(path)
            for number, _ in itertools.chain.from_iterable(ids.values()):
                assert len(number) < 9 or number not in browser.text, (login, path)
            assert REGION not in browser.text, (login, path)
    assert never_looked_up == SHARED
