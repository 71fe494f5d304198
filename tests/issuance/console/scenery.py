"""A centre in use, for pages that must not be empty: stock on its way, a batch with faults, questions that wait."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from cardlib.transit_takings import TransitRefusal
from issuance.audit.sequencer import sequence_due
from simulators.production import Faults, bank
from tests.issuance.conftest import REGION, Centre, application, ok, reset
from tests.issuance.console.conftest import Console
from tests.issuance.furnished import furnished
from tests.issuance.production import BatchDesk, roster
from tests.issuance.supervision import stick
from tests.issuance.transit_days import ISSUER, PLACE, Gate, Purse

KIOSK: Final[dict[str, Any]] = {
    "profile": "kiosk",
    "supplies": {"hopper": 6, "reject_bin": 2, "ribbon": 31, "paper": "low"},
    "devices": [
        {"kind": "card_printer", "port": "bridge", "state": "ready"},
        {"kind": "id_card_module", "port": "/dev/ttyUSB0", "state": "attention", "failure": "READER_LOST"},
    ],
    "readers": 3,
    "catalog_version": "2026.1",
    "catalog_age_s": 240,
    "block_list_edition": 17,
    "block_list_age_s": 240,
    "help_wanted_s": 185,
    "mode": "open",
}
DEPOT, OUTLET = f"depot-{REGION}", "hall-1"


@dataclass
class Scenery:
    """Ids of what there is. `receipt` and `check`: what the citizen who waits asks with."""

    card: str
    card_number: str
    waiting: str
    receipt: str
    check: str
    stuck: str
    transfer: str
    short: str
    batch: str
    refused_file: str
    bank_run: int
    message: str
    found: int
    destroy: str
    cancel: str
    clerk: str
    entry: int
    terminal: str = "kiosk-hall-01"


def _one(centre: Centre, query: str) -> str:
    ((found,),) = centre.store.sql(query)
    return str(found)


async def furnish(console: Console) -> Scenery:
    """Over a console that nobody has used yet."""
    return await furnished(console.centre, "scenery", lambda: _furnish(console))


async def _furnish(console: Console) -> Scenery:
    centre = console.centre
    await centre.stock(blanks=40, numbers=400)
    number = (await centre.issue(1))["card_number"]
    card = _one(centre, "SELECT application_id FROM cards")
    waiting = ok(await centre.apply(2), 201)
    stuck = await stick(centre, 3)
    keeper = await console.log_in("kuguan")
    await keeper.get("/console/stock/places/new")
    await keeper.post("/console/stock/places/new", id=OUTLET, kind="outlet", name="示例办事大厅", region=REGION)
    sent = []
    for first in (11, 15):
        await keeper.get("/console/stock/acts/send")
        cards = "\n".join(reset(serial) for serial in range(first, first + 4))
        await keeper.post("/console/stock/acts/send", from_place=DEPOT, to_place=OUTLET, kind="blank", cards=cards)
        sent.append(keeper.path.rpartition("/")[2])
    await keeper.post(f"/console/stock/transfers/{sent[1]}/receive", cards=f"{reset(15)} {reset(16)} {reset(17)}")
    await keeper.get("/console/stock/acts/spoil")
    await keeper.post("/console/stock/acts/spoil", place_id=DEPOT, kind="blank", cards=reset(20), reason="芯片裂了")
    await keeper.get("/console/stock/acts/destroy")
    await keeper.post(
        "/console/stock/acts/destroy", place_id=DEPOT, cards=reset(20), why="裂损，不能再用",
        first_witness="li.si", second_witness="wang.wu",
    )  # fmt: skip
    issuer = await console.log_in("faka")
    await issuer.get(f"/console/cards/{card}/acts/cancel")
    await issuer.post(f"/console/cards/{card}/acts/cancel", why="持卡人书面申请注销")
    await issuer.get("/console/found")
    await issuer.post("/console/found", card_number=number, outlet="hall-3")
    batch, refused_file = await _batch(centre)
    _bank_and_outbox(centre, number)
    await _terminals(centre)
    await _journeys(centre)
    await sequence_due(centre.app.state.services)
    return Scenery(
        card=card,
        card_number=number,
        waiting=waiting["id"],
        receipt=waiting["receipt_number"],
        check=application(2)["person"]["social_security_number"][-6:],
        stuck=stuck,
        transfer=sent[0],
        short=sent[1],
        batch=batch,
        refused_file=refused_file,
        bank_run=2,
        message="d" * 32,
        found=int(_one(centre, "SELECT id FROM found_cards")),
        destroy=_one(centre, "SELECT id FROM clerk_approvals WHERE act = 'stock.destroy'"),
        cancel=_one(centre, "SELECT id FROM clerk_approvals WHERE act = 'card.cancel'"),
        clerk=_one(centre, "SELECT id FROM clerks WHERE login = 'faka'"),
        entry=int(_one(centre, "SELECT max(id) FROM audit_entries WHERE act = 'stock.send'")),
    )


async def _terminals(centre: Centre) -> None:
    """A kiosk in need of staff, one that fell silent with a jam, a locked counter, a gate."""
    said: dict[str, tuple[str, dict[str, Any]]] = {
        "kiosk-hall-01": ("政务大厅自助机", KIOSK),
        "kiosk-hall-02": ("社区服务站自助机", KIOSK | {"failures": ["PRINTER_JAM"], "help_wanted_s": None}),
        "counter-hall-03": ("三号窗口", {"profile": "counter", "is_locked": True}),
        "gate-east-01": ("东站一号闸机", {"profile": "transit", "failures": ["READER_LOST"], "rules": "2026.1"}),
    }
    for number, (terminal, (name, words)) in enumerate(said.items()):
        await centre.register(terminal, ("terminal",), REGION)
        centre.store.sql("UPDATE clients SET name = :name WHERE id = :id", name=name, id=terminal)
        beat = {"sent_at": centre.clock().isoformat(), "version": "0.1.0", "api_level": 2, "up_s": 86_400}
        beat |= {"device_number": f"OC{REGION}{number:04d}", "journal": {"state": "sent", "waiting": 0}} | words
        ok(await centre.as_(terminal).post("/v1/terminals/heartbeats", json=beat))
    operator = centre.as_("operator")
    lock = {"reason": "机器移机", "contact": "示例市社保中心 12333"}
    ok(await operator.post("/v1/terminals/counter-hall-03/lock", json=lock))
    centre.store.sql(
        "UPDATE terminals SET heard_at = :at WHERE client_id = 'kiosk-hall-02'", at="2026-01-05 00:20:00.000000"
    )


async def _journeys(centre: Centre) -> None:
    """The gate's day: a free ride, a torn tap, a forged one, a journey in and out, and money nobody can account for."""
    with TemporaryDirectory() as folder:
        gate, purse = Gate(centre, Path(folder), "gate-east-01", 1), Purse(1)
        in_, _ = gate.tap(purse, 0, mode="metro_entry", type=9, fare_fen=0)
        gate.tap(purse, 300, mode="metro_exit", type=9, entry=gate.entry(in_))
        gate.tap(Purse(2), 0, product="senior-free", catalog_item="joint-transport-free-ride", fare_fen=200)
        gate.tap(Purse(3), 200, product="student-half", fare_fen=400)
        gate.tap(Purse(4), 200, "suspicious")
        gate.ride("ab")
        refusal = {"reason": "BLOCKED", "is_locked": False, "serial": Purse(5).serial, "issuer": ISSUER}
        refusal |= {"psam": gate.psam, "time": in_.time, "place": PLACE}
        gate.write(TransitRefusal.model_validate(refusal))
        for sums in gate.counted.values():
            sums["paid"]["fen"] += 50
        gate.say(refusals={"BALANCE": 3, "BLOCKED": 1})
        await gate.send()
        gate.journal.close()


async def _batch(centre: Centre) -> tuple[str, str]:
    """At the bank's return, with failed and refused lines."""
    desk = BatchDesk(centre)
    await desk.create()
    await desk.take("roster", roster(24))
    data, _ = await desk.answered("bank", bank(), Faults(failed=0.1, bad=0.1, missing=0.1))
    file = await desk.take("bank", data)
    return desk.id, file["id"]


def _bank_and_outbox(centre: Centre, number: str) -> None:
    at = "2026-01-05 02:00:00.000000"
    names = "id, day, state, attempts, lease_until, compared, differences, started_at, ended_at"
    for run, day, differences in ((1, "2026-01-04", 0), (2, "2026-01-05", 1)):
        values = f"{run}, '{day}', 'done', 1, '{at}', 1204, {differences}, '{at}', '{at}'"
        centre.store.sql(f"INSERT INTO bank_reconciliations ({names}) VALUES ({values})")
    centre.store.sql(
        "INSERT INTO bank_differences (reconciliation_id, card_number, region, ours, theirs, resolution, at) "
        f"VALUES (2, '{number}', '{REGION}', 'lost', 'active', 'resend:lose', '{at}')"
    )
    centre.store.sql(
        "INSERT INTO outbox_messages (message_id, topic, key, region, state, attempts, next_try_at, reason, owner, "
        f"created_at, updated_at) VALUES ('{'d' * 32}', 'bank.lose', 'bank:{number}', '{REGION}', 'dead', 3, '{at}', "
        f"'refused:closed', 'faka', '{at}', '{at}')"
    )
