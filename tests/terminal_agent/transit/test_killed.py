"""The gate's program killed in the middle of DEBIT, before and after the card has paid: one fare either way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cardlib.client_auth import ClientKey
from onecard_cli import ROOT
from simulators.card import CardGone
from simulators.contactless import ContactlessCard
from simulators.vpcd import StandingCard, free_ports
from tests.simulators import transit as vectors
from tests.terminal_agent.stand import kept_port
from tests.terminal_agent.transit.stand import card, rules_text

DEBIT = 0x54
PATIENCE_S = 60.0
pytestmark = pytest.mark.slow


class Watched:
    """A card that does `at_debit` when DEBIT comes: `before` it pays, else right after."""

    def __init__(self, inner: ContactlessCard) -> None:
        self.inner = inner
        self.before = False
        self.at_debit: Callable[[], None] | None = None

    def power_on(self) -> bytes:
        return self.inner.power_on()

    def power_off(self) -> None:
        self.inner.power_off()

    def transmit(self, command: bytes) -> bytes:
        act = self.at_debit if len(command) > 1 and command[1] == DEBIT else None
        if act is None:
            return self.inner.transmit(command)
        self.at_debit = None
        if not self.before:
            self.inner.transmit(command)
        act()
        raise CardGone

    @property
    def balance(self) -> int:
        purse = self.inner.state.neighbours.transit
        assert purse is not None
        return purse.balance


class Program:
    """`./onecard agent run` as a gate without PC/SC, whose centre does not answer."""

    def __init__(self, folder: Path, port: int) -> None:
        self.ports = free_ports(2)
        self._url = f"http://127.0.0.1:{port}"
        key = folder / "key.json"
        ClientKey.generate("gate-1").save(key)
        (folder / "rules.toml").write_text(rules_text("bus"), encoding="utf-8")
        self._environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "ONECARD_VPCD_PORTS": ",".join(map(str, self.ports)),
            "ONECARD_AGENT_TRANSIT_RULES": str(folder / "rules.toml"),
            "ONECARD_AGENT_STATE_DIR": str(folder / "state"),
            "ONECARD_AGENT_CLIENT_KEY": str(key),
            "ONECARD_AGENT_ISSUANCE_URL": "http://127.0.0.1:9",
        }
        self._log = (folder / "log").open("wb")
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        order = ("agent", "run", "--profile", "transit", "--readers", "vpcd", "--psam-reader", "00 01")
        ports = ("--port", self._url.rpartition(":")[2], "--ws-port", "0")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "onecard_cli", *order, *ports],
            env=self._environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.until(lambda told: told["closed"] is None)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                told = httpx.get(f"{self._url}/gate/state", trust_env=False).json()
            except httpx.HTTPError:
                assert self.process.poll() is None, "the program ended"
            else:
                if condition(told):
                    return told
            time.sleep(0.02)
        raise AssertionError(f"it did not come to that: {told}")


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with kept_port() as port:
        made = Program(tmp_path, port)
        with StandingCard(vectors.sam("3DES"), made.ports[1]):
            made.start()
            yield made
            made.kill()
        made._log.close()


@contextmanager
def in_the_field(watched: Watched, program: Program) -> Iterator[None]:
    with StandingCard(watched, program.ports[0]):
        yield


def test_a_gate_killed_in_mid_debit_charges_once(program: Program) -> None:
    watched = Watched(card())
    for before, left, records in ((False, 9800, 1), (True, 9600, 3)):
        watched.before, watched.at_debit = before, program.kill
        with in_the_field(watched, program):
            program.process.wait(PATIENCE_S)
        assert watched.balance == (9800 if before else left)
        program.start()
        with in_the_field(watched, program):
            told = program.until(lambda told: told["waiting"] == records)  # noqa: B023 - asked before the next round
        assert watched.balance == left, "the second tap made good what the first had begun"
    assert (told["today"]["takings_fen"], told["today"]["recovered"]) == (400, 1), "recovered, void, paid"
