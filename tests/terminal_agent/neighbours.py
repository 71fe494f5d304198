"""The agent beside other card software on a real pcscd, in a process of its own (see tests.apdu.pcsc_scenarios):
`python -m tests.terminal_agent.neighbours`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import httpx

from apdu.pcsc import PcscReaders
from simulators import personas
from simulators.card import SimCard
from simulators.factory import build_card
from simulators.vpcd import VpcdLink
from terminal_agent import leases as lease_desk
from terminal_agent import registry
from terminal_agent.server import running_agent
from tests.apdu.pcscd import TestPcscd
from tests.simulators.support import vector_roots
from tests.terminal_agent.stand import settings

SOON_S: Final = 15.0
"""At once, on a busy computer."""
LONG_S: Final = 20.0
PROGRAM: Final = """
import sys, time
from smartcard import scard
what, seconds = sys.argv[1], float(sys.argv[2])
_, context = scard.SCardEstablishContext(2)
name = scard.SCardListReaders(context, [])[1][0]
mode = scard.SCARD_SHARE_EXCLUSIVE if what == "exclusive" else scard.SCARD_SHARE_SHARED
until = time.monotonic() + seconds
is_told = False
while True:
    code, handle, _ = scard.SCardConnect(context, name, mode, 3)
    if code == 0 and what == "transaction":
        code = scard.SCardBeginTransaction(handle)
    if not is_told:
        print(code, flush=True)
    is_told = True
    if what != "resets":
        time.sleep(seconds)
        break
    scard.SCardDisconnect(handle, scard.SCARD_RESET_CARD)
    time.sleep(0.005)
    if time.monotonic() > until:
        break
"""

HOLDER: Final = """
import sys, httpx
url, reader = sys.argv[1:]
lease = httpx.post(f"{url}/v1/readers/{reader}/lease", json={"owner": "doomed"}).json()["lease"]
with httpx.stream("GET", f"{url}/v1/events", headers={"X-OneCard-Lease": lease}, timeout=None) as stream:
    print(0, flush=True)
    for _ in stream.iter_raw():
        pass
"""


@contextmanager
def neighbour(what: str, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """Another program, once it has the card."""
    with program(PROGRAM, what, str(seconds)) as run:
        yield run


@contextmanager
def program(text: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", text, *arguments], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "0\n"
        yield run
        run.kill()


def shown(url: str) -> dict[str, Any]:
    """The reader with the card, once there is one."""
    until = time.monotonic() + 30
    while True:
        found: list[dict[str, Any]] = [one for one in httpx.get(f"{url}/v1/readers").json() if one["atr"]]
        if found:
            return found[0]
        assert time.monotonic() < until
        time.sleep(0.05)


def leases(url: str, daemon: TestPcscd) -> None:
    """A holder is killed while another waits; then the PC/SC service, while that one has it and a third waits."""
    reader = shown(url)["name"]
    lease, read = (f"{url}/v1/readers/{reader}/{what}" for what in ("lease", "basic-information"))

    def taken(owner: str) -> dict[str, str]:
        answer = httpx.post(lease, json={"owner": owner, "wait_s": 60}, timeout=90)
        assert answer.status_code == 201, answer.text
        return {"X-OneCard-Lease": answer.json()["lease"]}

    def code(headers: dict[str, str]) -> str | None:
        answer: dict[str, Any] = httpx.post(read, json={"masked": True}, headers=headers, timeout=30).json()
        return answer.get("code")

    with ThreadPoolExecutor(2) as line:
        with program(HOLDER, url, reader) as doomed:
            second = line.submit(taken, "second")
            while shown(url)["holder"]["waiting"] != 1:
                time.sleep(0.01)
            begun = time.monotonic()
            doomed.kill()
            mine = second.result(30)
            assert time.monotonic() - begun < SOON_S
        third = line.submit(taken, "third")
        daemon.kill()
        assert code(mine) in ("READER_LOST", "READER_SERVICE_UNAVAILABLE", "CARD_REMOVED", "CARD_ABSENT")
        while any(one["atr"] for one in httpx.get(f"{url}/v1/readers").json()):
            time.sleep(0.01)
        daemon.start()
        VpcdLink(SimCard(build_card(personas.load("adult-2.0"), vector_roots())), daemon.ports[0]).insert()
        again = shown(url)
        assert (again["name"], again["holder"]["owner"], again["holder"]["waiting"]) == (reader, "second", 1)
        assert code(mine) is None
        assert httpx.delete(lease, headers=mine).status_code == 204
        theirs = third.result(30)
        assert (code(mine), code(theirs)) == ("LEASE_LOST", None)
        assert httpx.delete(lease, headers=theirs).status_code == 204


def scenes(url: str) -> None:
    reader = shown(url)
    path = f"{url}/v1/readers/{reader['name']}/basic-information"

    def read() -> httpx.Response:
        return httpx.post(path, json={"masked": True}, timeout=30)

    def is_served() -> None:
        begun, answer = time.monotonic(), read()
        assert answer.status_code == 200, answer.text
        assert time.monotonic() - begun < SOON_S

    is_served()
    with neighbour("exclusive", 0.5):
        is_served()
    with neighbour("exclusive", 60) as greedy:
        registry.NEIGHBOUR_S = 1.0
        refused = read().json()
        registry.NEIGHBOUR_S = LONG_S
        assert refused["code"] == "CARD_BUSY"
        assert f"({greedy.pid})" in refused["detail"]
        greedy.kill()
        is_served()
    with neighbour("transaction", 0.5):
        is_served()
    with neighbour("transaction", 60) as dying:
        dying.kill()
        is_served()
    with neighbour("resets", 1.0) as rude:
        for _ in range(5):
            is_served()
        assert rude.wait(30) == 0


def main() -> None:
    daemon = TestPcscd()
    os.environ["PCSCLITE_CSOCK_NAME"] = str(daemon.socket)
    registry.NEIGHBOUR_S = LONG_S
    lease_desk.RENEW_S = 60.0  # type: ignore[misc]
    try:
        daemon.start()
        VpcdLink(SimCard(build_card(personas.load("adult-2.0"), vector_roots())), daemon.ports[0]).insert()
        with running_agent(settings(port=0, ws_port=0, operation_timeout_s=60), PcscReaders()) as where:
            scenes(where.url)
            leases(where.url, daemon)
    finally:
        daemon.stop()


if __name__ == "__main__":
    main()
