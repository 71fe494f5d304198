"""A counter in this process: the agent with a simulator of every device, for sample pages and self tests."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from simulators.serial import Person, SimIdCardModule, SimPinPad, SimScanner
    from terminal_agent.server import Ready
    from terminal_agent.settings import AgentSettings

CARD_READER: Final = "OneCard Simulated Reader 00 00"
PSAM_READER: Final = "OneCard Simulated PSAM 00 01"
READ_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class SimulatedCounter:
    """`pad` is None where PINs are typed in the agent's own page."""

    where: Ready
    settings: AgentSettings
    module: SimIdCardModule
    scanner: SimScanner
    holder: Person
    pad: SimPinPad | None


@contextmanager
def simulated_counter(*, persona: str, with_pad: bool, **settings: Any) -> Iterator[SimulatedCounter]:
    """Runs until the block ends. Nothing is kept, the keys of card and PSAM are made for this run."""
    from apdu.inprocess import InProcessReaders
    from simulators.card import SimCard
    from simulators.factory import build_card
    from simulators.ministry import RootKeys
    from simulators.personas import load
    from simulators.portrait import Portrait
    from simulators.printer import SimCardPrinter
    from simulators.psam import SimPsam
    from simulators.receipt_printer import SimReceiptPrinter
    from simulators.serial import SimIdCardModule, SimPinPad, SimScanner
    from terminal_agent.server import running_agent
    from terminal_agent.settings import AgentSettings

    roots, person = RootKeys.generate(), load(persona)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onecard-counter-")))
        readers = InProcessReaders([CARD_READER, PSAM_READER])
        readers.insert(CARD_READER, SimCard(build_card(person, roots), faults=person.faults()))
        readers.insert(PSAM_READER, SimPsam(roots, person.region, f"{person.region}000001"))
        holder = _holder(persona)
        module = stack.enter_context(SimIdCardModule(holder))
        scanner = stack.enter_context(SimScanner())
        pad = stack.enter_context(SimPinPad()) if with_pad else None
        printer = stack.enter_context(SimCardPrinter(folder / "printed"))
        receipts = stack.enter_context(SimReceiptPrinter(folder / "receipts"))
        photos = folder / "photos"
        photos.mkdir()
        (photos / "portrait.jpg").write_bytes(Portrait().jpeg())
        given: dict[str, Any] = {
            "port": 0,
            "ws_port": 0,
            "simulated": True,
            "psam_readers": (PSAM_READER,),
            "id_card_module": module.path,
            "scanner": scanner.path,
            "pin_pad": pad.path if pad else None,
            "card_printer": printer.address,
            "receipt_printer": receipts.address,
            "camera": f"file:{photos}",
            "state_dir": folder / "state",
            "debit_journal": folder / "debits.jsonl",
        }
        stand = AgentSettings(**(given | settings))
        where = stack.enter_context(running_agent(stand, readers))
        _wait_for_card(where)
        yield SimulatedCounter(where, stand, module, scanner, holder, pad)


def _holder(persona: str) -> Person:
    """The ID card of the persona, so that both papers are of one person."""
    from simulators.personas import load
    from simulators.serial import Person

    items = load(persona).items["SSSEEF06"]
    return Person(name=items["09"], sex=items["0A"], birth=items["0D"], number=items["08"])


def _wait_for_card(where: Ready) -> None:
    import httpx

    until = time.monotonic() + READ_S
    while time.monotonic() < until:
        readers = httpx.get(f"{where.url}/v1/readers", trust_env=False).json()
        if all(reader["atr"] for reader in readers):
            return
        time.sleep(0.02)
