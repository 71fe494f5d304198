"""A PSAM's slot that goes away takes its connection with it: in PC/SC each one that stays is a handle lost."""

from __future__ import annotations

import threading

from apdu.inprocess import InProcessConnection, InProcessReaders
from simulators.ministry import RootKeys
from simulators.psam import SimPsam
from tests.terminal_agent.stand import agent_with, until

SLOT = "Counter Reader SAM 02 00"
NUMBERS = ("990100000001", "990100000002", "990100000003")


class Counted(InProcessReaders):
    """Keeps what it opened."""

    def __init__(self) -> None:
        super().__init__([SLOT])
        self.opened: list[InProcessConnection] = []
        self.closed: set[int] = set()

    def connect(self, name: str) -> InProcessConnection:
        connection = super().connect(name)
        place, close = len(self.opened), connection.close
        self.opened.append(connection)

        def noted() -> None:
            self.closed.add(place)
            close()

        connection.close = noted  # type: ignore[method-assign]
        return connection


async def test_a_slot_that_comes_back_leaves_neither_connection_nor_thread() -> None:
    readers, roots = Counted(), RootKeys.generate()
    async with agent_with(readers, psam_readers=("SAM",)) as client:

        async def tells(number: str | None) -> bool:
            return bool((await client.get("/v1/info")).json()["terminal_number"] == number)

        async def is_lost() -> bool:
            (reader,) = (await client.get("/v1/readers")).json()
            return bool(reader["state"] == "LOST")

        for number in NUMBERS:
            readers.insert(SLOT, SimPsam(roots, "990100", number))
            await until(lambda number=number: tells(number))
            readers.remove_reader(SLOT)
            await until(is_lost)  # its card is silent before the agent hears why
            assert await tells(None)
            readers.add_reader(SLOT)
        await until(lambda: readers.closed == {0, 1})
        assert len(readers.opened) == len(NUMBERS)
    await until(lambda: readers.closed == {0, 1, 2})
    await until(lambda: not [thread for thread in threading.enumerate() if thread.name == f"reader {SLOT}"])
