"""The terminal of `bench --only journal-soak`: the real agent in a process that may be killed at any moment, and a
program of the installed base at its WebSocket that reads a card and takes purchases.

`python -m bench.journal_agent FILE`: settings as JSON. What was answered is written to the ledger, line by line.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import ClientConnection, connect

from apdu.inprocess import InProcessReaders
from simulators import personas
from simulators.card import SimCard
from simulators.factory import build_card
from simulators.ministry import RootKeys
from simulators.psam import SimPsam
from terminal_agent.server import running_agent
from terminal_agent.settings import AgentSettings

CARD, PSAM = "Counter Reader 00 00", "Counter Reader SAM 02 00"
TERMINAL: Final = "990100000001"
PURCHASE_EVERY: Final = 5
PAY: Final = "0.1|0.2|20250316101500|"
NUMBERS: Final = 1000
"""Transactions of one life of the PSAM, which is new in every process and must not count from the start again."""


def main(given: dict[str, Any]) -> None:
    readers = InProcessReaders([CARD, PSAM])
    roots = RootKeys.generate()
    readers.insert(PSAM, SimPsam(roots, "990100", TERMINAL, counter=given["life"] * NUMBERS))
    readers.insert(CARD, SimCard(build_card(replace(personas.load("adult-3.0"), pin=""), roots)))
    settings = AgentSettings(
        port=0,
        ws_port=0,
        psam_readers=("SAM",),
        pin_dialog=False,
        state_dir=Path(given["state_dir"]),
        debit_journal=Path(given["state_dir"]) / "settlements.jsonl",
        issuance_url=given["url"],
        client_key=Path(given["key"]),
        network_timeout_s=1.0,
    )
    ledger = os.open(given["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with running_agent(settings, readers) as where, connect(where.ws_url, proxy=None) as socket:
        _written(ledger, "ready")
        information = ""
        for number in range(given["taps"]):
            is_purchase = number % PURCHASE_EVERY == PURCHASE_EVERY - 1 and bool(information)
            is_done, text = _purchase(socket, information) if is_purchase else _read(socket)
            if is_done and not is_purchase:
                information = "|".join(text.split("|")[3:1:-1]) + "|"
            _written(ledger, f"{'purchase' if is_purchase else 'use'} {'done' if is_done else 'refused'}")
            time.sleep(given["pace_s"])
        _written(ledger, "drained " + json.dumps(_drained(where.url, given["patience_s"])))


def _read(socket: ClientConnection) -> tuple[bool, str]:
    return _called(socket, {"function": "iReadCardBas", "iType": 3})


def _purchase(socket: ClientConnection, information: str) -> tuple[bool, str]:
    return _called(socket, {"function": "iDoDebit", "iType": 3, "pCardInfo": information, "pPayInfo": PAY})


def _called(socket: ClientConnection, request: dict[str, Any]) -> tuple[bool, str]:
    socket.send(json.dumps(request))
    answer = json.loads(socket.recv(timeout=20))
    return answer["success"] == "1", str(answer["pOutInfo"])


def _drained(url: str, patience_s: float) -> Any:
    """The journal's own word once the centre has all, or when patience ends."""
    deadline = time.monotonic() + patience_s
    while True:
        with urllib.request.urlopen(f"{url}/v1/journal", timeout=5) as answer:
            told = json.load(answer)
        if told["state"] == "sent" or time.monotonic() > deadline:
            return told
        time.sleep(0.1)


def _written(ledger: int, line: str) -> None:
    os.write(ledger, f"{line}\n".encode())


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
