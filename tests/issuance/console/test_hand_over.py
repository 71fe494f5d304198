"""A card that a factory made, from its outlet to its holder by the queue."""

from __future__ import annotations

import re

from cardlib.spec import Generation
from simulators.ministry import RootKeys
from simulators.production import bank, card_factory, certification_authority, initialization_centre
from tests.issuance.conftest import REGION, Centre, ok
from tests.issuance.console.conftest import Console
from tests.issuance.production import BatchDesk, roster
from tests.issuance.test_production import keys, roots  # noqa: F401 - fixtures: the roots the simulated cards are of


async def test_a_finished_card_is_handed_over_from_the_queue(
    console: Console,
    centre: Centre,
    roots: RootKeys,  # noqa: F811
) -> None:
    await centre.stock(blanks=0, numbers=5)
    await _at_the_outlet(centre, roots)
    issuer = await console.log_in("faka")
    await issuer.get("/console/queues?queue=to_hand_over")
    assert "一所" in issuer.words
    path = re.findall(r'href="(/console/queues/hand-over/\w+)"', issuer.text)[0]
    await issuer.get(path)
    assert "请看身份证件" in issuer.words
    await issuer.post(path)
    assert issuer.path == path.replace("/queues/hand-over/", "/cards/")
    assert "已发卡，卡已启用" in issuer.words
    assert centre.store.sql("SELECT count(*) FROM cards") == [(1,)]
    await issuer.get(path)
    assert issuer.status == 404, "it lies there no more"
    collector = await console.log_in("fuhe")
    await collector.get(path)
    assert collector.status == 403


async def _at_the_outlet(centre: Centre, roots: RootKeys) -> None:  # noqa: F811
    desk = BatchDesk(centre)
    await desk.create(has_certificates=True)
    await desk.take("roster", roster(2))
    partners = {
        "bank": bank(),
        "ca": certification_authority(),
        "factory": card_factory(REGION, 0xA001),
        "keys": initialization_centre(REGION, Generation.V3, roots),
    }
    for stage, partner in partners.items():
        data, _ = await desk.answered(stage, partner)
        await desk.take(stage, data)
    place = {"id": "outlet-1", "kind": "outlet", "name": "一所", "region": REGION, "parent_id": f"depot-{REGION}"}
    ok(await desk.ask("POST", "/v1/stock/places", json=place), 201)
    order = {"version": await desk.version(), "place_id": "outlet-1"}
    handed = ok(await desk.ask("POST", f"/v1/production/batches/{desk.id}/hand-out", json=order))
    ok(await desk.ask("POST", f"/v1/stock/transfers/{handed['transfer_id']}/receipt", json={"version": 1}))
