"""A gate as a process with ten million blocked cards: its memory, and the time from a card that is seen to a decision.

Cards and PSAM are software in this process, plugged into the agent's own reader; what they compute is in the times.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from apps_catalog.block_list import Kind, build, purse_number
from apps_catalog.catalog import DATA
from apps_catalog.distribution.contents import by_owner
from apps_catalog.distribution.repository import Repository
from apps_catalog.distribution.roles import ROLES
from bench.agent_lists import ENTRIES, MEMORY_TARGET_MIB, _Agent, _publish
from bench.measure import BenchError
from bench.terminals import _card, _signer
from cardlib.client_auth import ClientKey
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from simulators.apps.build import ISSUER, purse
from simulators.apps.state import NeighbourState
from simulators.contactless import ContactlessCard
from simulators.factory import build_card
from simulators.ministry import RootKeys
from simulators.personas import load
from simulators.psam import SimPsam
from simulators.vpcd import StandingCard, free_ports

TAPS: Final = 120
TARGET_MIB: Final = MEMORY_TARGET_MIB
RULES: Final = Path(__file__).parents[1] / "docs" / "transit-rules" / "bus.toml"
_LOST: Final = "09990100000000007777"
_PATIENCE_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class GateProcess:
    """Resident set in MiB at rest, with the list after the taps, and at its highest; `decision_ms`: median and slowest
    of a hundred."""

    entries: int
    taps: int
    bare_mib: float
    mib: float
    peak_mib: float
    decision_ms: tuple[float, float]


def measure(*, entries: int = ENTRIES, taps: int = TAPS) -> GateProcess:
    """Raises BenchError when a decision is wrong."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        service = stack.enter_context(
            SoftKeyService.create(folder / "keys", "only for the bench", cost=ScryptCost(n=2, r=1))
        )
        repository = Repository(folder / "repo", {holder: _signer(service, holder) for holder in ROLES.holders})
        (folder / "root.json").write_bytes(repository.create())
        lists = folder / "lists"
        lost = Kind.PURSE, purse_number(ISSUER, _LOST[1:])
        build(lists, chain((lost,), map(_card, range(entries - 1))), as_of=int(time.time()))
        for role, files in by_owner(DATA).items():
            repository.publish(role, files)
        _publish(repository, lists)
        ports = free_ports(2)
        roots = RootKeys.generate()
        stack.enter_context(StandingCard(SimPsam(roots, "990100", "990100000001"), ports[1]))
        agent = _Agent(folder, _settings(folder, ports))
        stack.callback(agent.close)
        return _tapped(agent, roots, ports[0], entries, taps)


def _settings(folder: Path, ports: list[int]) -> dict[str, str]:
    ClientKey.generate("gate-1").save(folder / "gate.json")
    rules = folder / "rules.toml"
    rules.write_text(RULES.read_text(encoding="utf-8").replace("[limits]", "[limits]\nretap_s = 0"), encoding="utf-8")
    named = {
        "PROFILE": "transit",
        "TRANSIT_RULES": str(rules),
        "STATE_DIR": str(folder / "state"),
        "CATALOG_URL": (folder / "repo").as_uri(),
        "CATALOG_ROOT": str(folder / "root.json"),
        "CATALOG_INTERVAL_S": "3600",
        "CLIENT_KEY": str(folder / "gate.json"),
        "ISSUANCE_URL": "http://127.0.0.1:9",
        "PSAM_READERS": '["00 01"]',
    }
    return {f"ONECARD_AGENT_{key}": value for key, value in named.items()} | {
        "ONECARD_VPCD_PORTS": ",".join(map(str, ports))
    }


def _tapped(agent: _Agent, roots: RootKeys, port: int, entries: int, taps: int) -> GateProcess:
    _until(agent, lambda told: told["psam"] is not None)
    bare = agent.mib()
    agent.state(fetch=True)
    _until(agent, lambda told: told["closed"] is None and told["block_list"]["standing"] == "good")
    good = _purse(roots, "09990100000000000001")
    for _ in range(taps):
        _tap(agent, good, port, "pass")
    if _tap(agent, _purse(roots, _LOST), port, "stop")["picture"]["zh"]["note"] != "代码 BLOCKED":
        raise BenchError("a blocked purse was not refused")
    told = _until(agent, lambda told: True)
    return GateProcess(entries, taps, bare, agent.mib(), agent.mib("VmHWM"), tuple(told["speed_ms"]))


def _purse(roots: RootKeys, serial: str) -> ContactlessCard:
    state = build_card(load("adult-3.0"), roots)
    state.neighbours = NeighbourState(transit=purse(roots.root, {"serial": serial, "balance_fen": 1_000_000}))
    return ContactlessCard(state)


def _tap(agent: _Agent, card: ContactlessCard, port: int, sign: str) -> dict[str, Any]:
    before = _until(agent, lambda told: True)["number"]
    with StandingCard(card, port):
        told = _until(agent, lambda told: told["number"] > before and told["sign"] not in ("idle", "out"))
    if told["sign"] != sign:
        raise BenchError(f"the gate shows {told['picture']['zh']}")
    return told


def _until(agent: _Agent, condition: Any) -> dict[str, Any]:
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        told: dict[str, Any] = agent.client.get("/gate/state").raise_for_status().json()
        if condition(told):
            return told
        time.sleep(0.005)
    raise BenchError("the gate did not come to that")
