"""The centre after a rotation of the roots: it knows of each card which keys it has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cardlib.key_set import current_set, next_version
from cardlib.script import Script
from cardlib.spec import Generation, load
from hsm.api import Algorithm, KeyRef, KeyService
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.sessions import runner
from onecard_cli.home import import_roots
from simulators.card import Algorithm as Cipher
from simulators.ministry import RootKeys
from tests.cardlib.driver_stand import ADDRESSES, card, steps
from tests.hsm.backends import put
from tests.issuance.conftest import Centre, atr, fake_script, ok, refused
from tests.issuance.test_hsm_route import CARD, end, settle
from tests.simulators.support import vector_roots

SM4 = Algorithm.SM4


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyService]:
    """The card of the worked vectors is of the second set; the first is retired."""
    monkeypatch.setenv("ONECARD_ISSUANCE_HSM_ADDRESSES", json.dumps(ADDRESSES))
    with SoftKeyService.create(tmp_path / "keys", "test passphrase", cost=ScryptCost(n=2, r=8, p=1)) as service:
        import_roots(service, RootKeys.generate())
        for key in sorted(load(Generation.V3).keys, key=lambda key: key.name == "IRK"):
            if key.root_level:
                old = service.current(key.name, SM4)
                new = KeyRef(key.name, SM4, next_version(service, key.name, SM4))
                put(service, new, service.info(old).purpose, vector_roots().root(key.name, SM4), level=key.root_level)
                service.retire(old)
        yield service


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Scripts that find the current set on every card."""
    seen: list[dict[str, Any]] = []

    def make(order: dict[str, Any], keys: KeyService) -> Script:
        seen.append(order)
        result = yield from fake_script(order, keys)
        return result | {"key_version": str(current_set(keys, SM4))}

    for kind in ("initialization", "personalization"):
        monkeypatch.setitem(runner.SCRIPTS, kind, make)
    return seen


async def test_new_chips_get_the_current_set(centre: Centre, orders: list[dict[str, Any]]) -> None:
    """A session that is taken up again keeps the set it began with."""
    body = {"kind": "initialization", "atr": atr(1), "region": "110000"}
    reply = ok(await centre.as_("terminal").post("/v1/card-sessions", json=body), 201)
    centre.keys.generate(KeyRef("IRK", SM4, 3), centre.keys.info(KeyRef("IRK", SM4, 2)).purpose, level=1)
    centre.restart()
    await centre.run(reply)
    assert [order["key_version"] for order in orders] == [2, 2]


async def test_a_card_of_the_books_is_served_with_its_own_set(centre: Centre, orders: list[dict[str, Any]]) -> None:
    await centre.stock()
    await centre.issue()
    assert centre.store.sql("SELECT reset_information, key_version FROM cards") == [(CARD["reset_information"], 2)]
    centre.store.sql("UPDATE cards SET identification_code = :code", code=CARD["identification_code"])
    assert await basic_information(centre) == 0
    order, text, _ = await settle(centre)
    items = text.split("|")
    refused(await end(centre, order["number"], "done", items[0], "00000000"), "SECURE_MESSAGING_FAILED", 502)
    assert ok(await end(centre, order["number"], "done", items[0], items[-2]))["state"] == "done"


async def test_a_card_of_no_book_is_of_the_oldest_set(centre: Centre) -> None:
    assert await basic_information(centre) == -21
    centre.keys.destroy(KeyRef("IRK", SM4, 1))
    assert await basic_information(centre) == 0


async def basic_information(centre: Centre) -> int:
    _, flow = steps(card(Cipher.SM4))
    body = {"step": flow.read_card_bas_step1()[1]}
    answer = ok(await centre.as_("terminal").post("/v1/hsm/basic-information", json=body))
    code: int = flow.read_card_bas_step2(answer["pkey"])[0]
    return code
