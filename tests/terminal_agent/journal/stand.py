"""Records and centres for the tests of the journal."""

from __future__ import annotations

from collections.abc import Callable

from cardlib.client_auth import ClientKey
from cardlib.terminal_records import DeviceAlarm, RecordBatch, RecordRefusal, RecordsTaken
from tests.terminal_agent.stand import ScriptedCentre

KEY = ClientKey.generate("counter-0001")


def alarm(mark: str) -> DeviceAlarm:
    return DeviceAlarm(device="qr_scanner", port=mark, state="lost")


class BookCentre(ScriptedCentre):
    """Takes records as the real one does, in memory; `mishap` is asked before and after."""

    def __init__(self) -> None:
        super().__init__()
        self.client_id: str | None = KEY.client_id
        self.bodies: dict[str, list[str]] = {}
        self.batches: list[RecordBatch] = []
        self.refuses: Callable[[str], str | None] = lambda body: None

    def sign(self, text: bytes) -> bytes:
        return KEY.sign(text)

    async def send_records(self, batch: RecordBatch) -> RecordsTaken:
        self.mishap("records")
        self.batches.append(batch)
        bodies = self.bodies.setdefault(batch.journal_id, [])
        if batch.records[0].sequence <= len(bodies) + 1:
            bodies[batch.records[0].sequence - 1 :] = [record.body for record in batch.records]
        found = ((record.sequence, self.refuses(record.body)) for record in batch.records)
        refused = tuple(RecordRefusal(sequence=sequence, failure=failure) for sequence, failure in found if failure)
        self.mishap("answer")
        return RecordsTaken(journal_id=batch.journal_id, acknowledged=len(bodies), refused=refused)
