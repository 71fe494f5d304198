"""Purses and gates that tell a centre of their taps; TACs are those of the simulator's own cryptography."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cardlib.terminal_records import Payload, RecordBatch
from cardlib.transit_takings import TapEntry, TapPlace, TransitCodeRide, TransitDay, TransitTap
from hsm.api import Algorithm, KeyRef, Purpose
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from hsm.transit_transactions import DTK, PURPOSES
from issuance.clock import CHINA
from simulators.apps import transit_crypto as crypto
from terminal_agent.journal.forwarder import signed_batch
from terminal_agent.journal.store import RecordJournal
from tests.issuance.conftest import Centre, Clock, ok

ROOT = bytes(range(0x40, 0x50))
ISSUER = "09990100FFFFFFFF"
PLACE = TapPlace(city="9901", industry=1, line=2, station=5)
DAY = "2026-01-05"


def transit_keys(path: Path) -> SoftKeyService:
    service = SoftKeyService.create(path, "correct horse", cost=ScryptCost(n=1 << 4))
    share = bytes(range(16))
    for algorithm in (Algorithm.TDES, Algorithm.SM4):
        parts = [share, bytes(a ^ b for a, b in zip(share, ROOT, strict=True))]
        service.import_components(KeyRef(DTK, algorithm), PURPOSES[DTK], parts, level=2)
        service.import_components(KeyRef("DTK", algorithm), Purpose.TAC, parts, level=3)  # of the medical account
    return service


class Purse:
    """What the card itself believes."""

    def __init__(self, number: int, balance_fen: int = 10_000, algorithm: int = 0) -> None:
        self.serial = f"0999010000000000{number:04d}"
        self.balance_fen, self.offline, self.algorithm = balance_fen, 16, algorithm
        factor = bytes.fromhex(self.serial)[2:]
        self._dtk = crypto.card_key(algorithm, ROOT, bytes.fromhex(ISSUER), factor)

    def pay(self, tap: dict[str, Any], *, is_executed: bool) -> str:
        """The TAC; the purse has paid where it `is_executed`."""
        message = tap["amount_fen"].to_bytes(4, "big") + bytes((tap["type"],))
        message += bytes.fromhex(tap["psam"] + tap["number"] + tap["time"])
        if is_executed:
            self.balance_fen -= tap["amount_fen"]
            self.offline += 1
        return crypto.tac(self.algorithm, self._dtk, message).hex().upper()


class Gate:
    """A terminal with its PSAM, its journal, and what it believes it took of each day of its clock."""

    def __init__(self, centre: Centre, folder: Path, name: str, psam: int, *, clock: Clock | None = None) -> None:
        self.centre, self.name, self.psam = centre, name, f"0999{psam:08d}"
        self.clock = clock or centre.clock
        self.journal = RecordJournal(folder / name, clock=self.clock)
        self.number, self.statement = 0x100, 0
        self.counted: dict[str, dict[str, dict[str, int]]] = {}

    def tap(self, purse: Purse, fen: int, outcome: str = "paid", *, is_executed: bool = True, **change: Any) -> Any:
        """One PSAM number; `outcome` as the gate sees it, `is_executed` as it was."""
        self.number += 1
        now = self.clock().astimezone(CHINA)
        tap = {"psam": self.psam, "number": f"{self.number:08X}", "issuer": ISSUER, "serial": purse.serial}
        tap |= {"sequence": purse.offline, "balance_fen": purse.balance_fen, "amount_fen": fen, "fare_fen": fen}
        tap |= {"city": "9901", "passenger_class": 1, "product": "plain", "type": 6, "mode": "bus_flat"}
        tap |= {"time": f"{now:%Y%m%d%H%M%S}", "key_version": 1, "algorithm": purse.algorithm, "acceptor": ISSUER}
        tac = purse.pay(tap | change, is_executed=is_executed)
        tap |= {"tac": tac if outcome in ("paid", "recovered") else None, "is_verified": outcome == "paid" or None}
        made = TransitTap.model_validate(tap | {"place": PLACE, "outcome": outcome} | change)
        return made, self.write(made)

    def entry(self, tap: TransitTap) -> TapEntry:
        return TapEntry(psam=tap.psam, line=tap.place.line, station=tap.place.station, time=tap.time)

    def ride(self, code: str, fen: int = 200) -> int:
        now = self.clock().astimezone(CHINA)
        return self.write(
            TransitCodeRide(
                platform="00000000",
                issuer="99010001",
                payment_account="A" * 16,
                card_account="0" * 20,
                code=code * 32,
                authorised_until=1,
                amount_fen=fen,
                fare_fen=fen,
                product="plain",
                mode="metro_entry",
                time=f"{now:%Y%m%d%H%M%S}",
                place=PLACE,
            )
        )

    def write(self, payload: Payload) -> int:
        if isinstance(payload, (TransitTap, TransitCodeRide)):
            kind = payload.outcome if isinstance(payload, TransitTap) else "code"
            day = datetime.strptime(payload.time, "%Y%m%d%H%M%S").date().isoformat()
            part = self.counted.setdefault(day, {}).setdefault(kind, {"count": 0, "fen": 0})
            part["count"] += 1
            part["fen"] += payload.amount_fen
        return self.journal.append(payload)

    def say(self, **change: Any) -> None:
        """The day's sums so far, of every day it knows."""
        self.statement += 1
        for day, sums in self.counted.items():
            said = {"psam": self.psam, "day": day, "counter": "c" * 32, "statement": self.statement, "sums": sums}
            self.journal.append(TransitDay.model_validate(said | change))

    def batch(self, most: int = 200) -> RecordBatch:
        batch = signed_batch(self.journal, self.journal.batch(most), self.centre.client_keys[self.name].sign)
        return batch.model_copy(update={"sent_at": self.clock()})

    async def send(self, batch: RecordBatch | None = None) -> dict[str, Any]:
        batch = batch or self.batch()
        headers = {"Content-Type": "application/json"}
        content = batch.model_dump_json(exclude_none=True)
        taken: dict[str, Any] = ok(
            await self.centre.as_(self.name).post("/v1/terminals/records", content=content, headers=headers)
        )
        self.journal.acknowledge(taken["acknowledged"])
        return taken


class Wrong(Clock):
    """A clock that runs, but wrong."""

    def __init__(self, right: Clock, ahead: timedelta) -> None:
        self._right, self._ahead = right, ahead

    def __call__(self) -> datetime:
        return self._right() + self._ahead


async def day_of(centre: Centre, day: str = DAY, *, by: str = "operator", **query: str) -> dict[str, Any]:
    found: dict[str, Any] = ok(await centre.as_(by).get(f"/v1/journeys/days/{day}", params=query))
    return found
