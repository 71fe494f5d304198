"""A gate around the vectors' purses and PSAM: an agent in this process with software readers and a centre that takes
everything."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from apdu.inprocess import InProcessReaders
from cardlib.terminal_records import RecordBatch, RecordBody, RecordsTaken
from cardlib.terminal_state import DiagnosisUpload, Heartbeat, Orders
from simulators.apps.build import empty_process
from simulators.card import Faults
from simulators.contactless import ContactlessCard
from terminal_agent.app import create_app
from terminal_agent.transit.desk import GateDesk
from terminal_agent.transit.screen import Picture
from tests.simulators import transit as vectors
from tests.terminal_agent.stand import client_of, settings, until

RULES = Path(__file__).parents[3] / "docs" / "transit-rules"
FIELD, FIELD_2, PSAM = "Gate Contactless 00 00", "Gate Contactless 00 01", "Gate PSAM 00 02"


def rules_text(name: str, *, retap_s: int = 0, **policy: Any) -> str:
    """A shipped rules file whose gate does without a block list, as none is published here."""
    lines = [f"{key} = {value}" for key, value in ({"block_list": '"preferred"'} | policy).items()]
    head, _, _ = (RULES / f"{name}.toml").read_text(encoding="utf-8").partition("[policy]")
    head = head.replace("[limits]\n", f"[limits]\nretap_s = {retap_s}\n")
    return head + "[policy]\n" + "\n".join(lines) + "\n"


def card(
    balance: int = 10_000, passenger_class: int = 1, number: int = 1234, faults: Faults | None = None
) -> ContactlessCard:
    """A purse of the vectors' operator; its keys follow from its number."""
    state = vectors.state("3DES", balance=balance)
    purse = state.neighbours.transit
    assert purse is not None
    purse.management = purse.management[:10] + bytes((passenger_class,)) + purse.management[11:]
    purse.processes = [empty_process(1), empty_process(2)]
    if number != 1234:
        renumber(purse, number)
    return ContactlessCard(state, faults=faults)


def renumber(purse: Any, number: int) -> None:
    from simulators.apps import transit_crypto as crypto

    serial = bytes.fromhex(vectors.META["app_serial"][:-4] + f"{number:04d}")
    purse.public = purse.public[:10] + serial + purse.public[20:]
    for name in ("DPK", "DLK", "DTK", "DAMK", "DUK"):
        key = crypto.card_key(purse.algorithm, vectors.root("3DES", name), vectors.ISSUER, serial[2:])
        setattr(purse, name.lower(), key)


class TakingCentre:
    """Takes every record, if `is_there`, and agrees with every clock."""

    client_id = "gate-1"

    def __init__(self) -> None:
        self.is_there = True
        self.bodies: dict[str, RecordBody] = {}

    def sign(self, text: bytes) -> bytes:
        return bytes(64)

    async def send_records(self, batch: RecordBatch) -> RecordsTaken:
        if not self.is_there:
            from terminal_agent.centre import CentreUnreachableError

            raise CentreUnreachableError("cut")
        for record in batch.records:
            body = RecordBody.from_text(record.body)
            self.bodies[body.key] = body
        return RecordsTaken(journal_id=batch.journal_id, acknowledged=batch.records[-1].sequence)

    async def send_heartbeat(self, beat: Heartbeat) -> Orders:
        return Orders(now=datetime.now(UTC))

    async def send_diagnosis(self, upload: DiagnosisUpload) -> Any:
        raise NotImplementedError

    def payloads(self, kind: str) -> list[dict[str, Any]]:
        return [body.payload for body in self.bodies.values() if body.kind == kind]

    async def aclose(self) -> None: ...


class Gate:
    """One running gate; `tap` puts a card into the field, waits for the decision and takes it away."""

    def __init__(
        self, app: FastAPI, client: httpx.AsyncClient, readers: InProcessReaders, centre: TakingCentre
    ) -> None:
        self.app, self.client, self.readers, self.centre = app, client, readers, centre
        self.desk: GateDesk = app.state.agent.gate
        self.shown: list[Picture] = []
        """All decisions that were put up, also those that stand there no more."""
        show = self.desk.screen.show

        def noted(picture: Picture) -> None:
            show(picture)
            self.shown.append(self.desk.screen.picture)

        self.desk.screen.show = noted  # type: ignore[method-assign]

    async def tap(self, inserted: ContactlessCard, field: str = FIELD) -> dict[str, Any]:
        """The picture that the tap has put up."""
        before = len(self.shown)
        self.readers.insert(field, inserted)
        shown: Picture = (await until(lambda: self.shown[before:]))[0]
        await until(lambda: not self.desk._turn.locked())
        self.readers.remove(field)
        return shown.to_json()

    async def state(self) -> dict[str, Any]:
        return (await self.client.get("/gate/state")).raise_for_status().json()


@asynccontextmanager
async def gate(
    folder: Path, rules: str, *, psam: Any = None, ready: bool = True, **changes: Any
) -> AsyncIterator[Gate]:
    file = folder / "rules.toml"
    file.write_text(rules, encoding="utf-8")
    tomllib.loads(rules)
    readers = InProcessReaders([FIELD, FIELD_2, PSAM])
    if psam is not False:
        readers.insert(PSAM, psam or vectors.sam("3DES"))
    centre = TakingCentre()
    given: dict[str, Any] = {"profile": "transit", "transit_rules": file, "state_dir": folder / "state"}
    chosen = settings(psam_readers=(PSAM,), **(given | changes))
    app = create_app(chosen, readers, issuance=centre)
    async with client_of(app) as client:
        stand = Gate(app, client, readers, centre)
        if ready:
            await until(lambda: stand.desk.closed is None and stand.desk.screen.picture.sign == "idle")
        yield stand
