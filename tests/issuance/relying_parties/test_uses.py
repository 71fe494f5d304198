"""A holder's log-ins are among the uses of the card, and nobody else's are."""

from __future__ import annotations

from tests.issuance.codes.stand import scan, show
from tests.issuance.conftest import both_engines, ok
from tests.issuance.phone import signed_phone
from tests.issuance.relying_parties.stand import CALLBACK, Stand


@both_engines
async def test_log_ins_and_codes_in_one_list(stand: Stand) -> None:
    """Newest first over pages, whichever of the two they are; who, when and which items."""
    await stand.register("far", redirect_uris=[CALLBACK], name="外省大厅", region="130000")
    for n in range(2):
        stand.centre.clock.advance(1)
        await stand.log_in("hall", "name")
        stand.centre.clock.advance(1)
        code = (await show(stand.phone, "identity"))["code"]
        ok(await scan(stand.centre, code, "identity", key=f"validation-{n}"))
    stand.centre.clock.advance(1)
    await stand.log_in("far", scope="openid")
    seen, cursor = [], ""
    while cursor is not None:
        page = ok(await stand.phone.get(f"uses?limit=2{cursor and f'&cursor={cursor}'}"))
        assert len(page["items"]) <= 2
        seen += page["items"]
        cursor = page["next_cursor"]
    known = [(use["client_name"], use["scene"], use["act"], [item["name"] for item in use["items"]]) for use in seen]
    hall, counter = ("示例办事大厅", "login", "log-in", ["name"]), ("verifier", "identity", "validate", [])
    assert known == [("外省大厅", "login", "log-in", []), counter, hall, counter, hall]
    assert [use["at"] for use in seen] == sorted((use["at"] for use in seen), reverse=True)
    other = await signed_phone(stand.centre, 2)
    assert ok(await other.get("uses"))["items"] == []
