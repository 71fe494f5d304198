"""A whole embedded system: key store, issuance and agent as processes of their own, simulated readers and cards.

Used by `demo`, `up` and the end-to-end tests. Everything started here ends with the context, and with this process
even when it is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import httpx

from cardlib.client_auth import ClientAuth, ClientKey
from cardlib.failures import FailureCode
from hsm.sealed_store import write_atomically
from onecard_cli import ROOT
from onecard_cli.home import Home
from onecard_cli.key_office import KeyOffice
from onecard_cli.output import CommandError
from onecard_cli.personas import installed_psam
from onecard_cli.publication import ensure_demo_repository
from onecard_cli.sim_bank import SIMULATED
from onecard_cli.transit_ca import ensure_demo_issuer
from simulators.pcscd import PrivatePcscd
from simulators.vpcd import VirtualCard, VpcdLink

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 15.0
CARD_TIMEOUT_S = 30.0
REGION = "110000"
PSAM_SLOT = "00 01"
CLIENTS = {
    "operator-1": ("operator",),
    "terminal-1": ("terminal",),
    "wallet-1": ("wallet",),
    "verifier-1": ("verifier",),
}
NAMES = {"wallet-1": "示例手机应用", "verifier-1": "示例医院"}
"""What holders see of them."""
PR_SET_PDEATHSIG = 1
PUBLICATION_PAUSE = "ONECARD_ISSUANCE_PUBLICATION_DELTA_S"
SIGN_UP = "ONECARD_ISSUANCE_ECARD_SIGN_UP_URL"
FETCH_PAUSE = "ONECARD_AGENT_CATALOG_INTERVAL_S"


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def die_with_parent() -> None:
    """Linux: a child of a killed parent gets SIGTERM; elsewhere nothing to do."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class Service:
    """One `./onecard …` process and what it said when ready."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    ready_file: Path
    facts: dict[str, Any] = field(default_factory=dict)

    def wait_ready(self) -> None:
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise CommandError(FailureCode.SERVICE_UNREACHABLE, f"{self.name} ended: {self._last_words()}")
            if self.ready_file.exists():
                self.facts = json.loads(self.ready_file.read_text())
                return
            time.sleep(0.01)
        raise CommandError(FailureCode.TIMEOUT, f"{self.name} is not ready: {self._last_words()}")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-600:].strip()


class Standing:
    """What `_start` puts onto the stack ends with the block, also where the start itself fails."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def _start(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


class System(Standing):
    """Starts in `__enter__`; `use_pcsc` False plugs the cards into the agent's own listener instead of pcscd.

    `ports` are (issuance, agent, WebSocket); 0 = any free one. `wallet_port`: the phone app runs as well. Without
    `with_counter` there is no agent, no reader and no card.
    """

    def __init__(
        self,
        home: Home,
        *,
        use_pcsc: bool = True,
        region: str = REGION,
        ports: tuple[int, int, int] = (0, 0, 0),
        wallet_port: int | None = None,
        with_counter: bool = True,
    ) -> None:
        super().__init__()
        self.home = home
        self.region = region
        self.use_pcsc = use_pcsc
        self._ports = ports
        self._wallet_port = wallet_port
        self._with_counter = with_counter
        self._environment = os.environ | {
            "ONECARD_HOME": str(home.path),
            "PYTHONPATH": str(ROOT),
            "ONECARD_PASSPHRASE": home.passphrase(),
            "ONECARD_ISSUANCE_BANK_URL": os.environ.get("ONECARD_ISSUANCE_BANK_URL", SIMULATED),
            PUBLICATION_PAUSE: os.environ.get(PUBLICATION_PAUSE, "15"),
            FETCH_PAUSE: os.environ.get(FETCH_PAUSE, "5"),
        }
        self.pcscd: PrivatePcscd | None = None
        self.issuance_url = ""
        self.issuance: Service
        self.agent: Service
        self.wallet: Service
        self._slots: list[int] = []

    # -- addresses and callers ----------------------------------------------------------------------------------

    @property
    def agent_url(self) -> str:
        return str(self.agent.facts["url"])

    @property
    def ws_url(self) -> str:
        return str(self.agent.facts["ws_url"])

    @property
    def wallet_url(self) -> str:
        return str(self.wallet.facts["url"])

    def client(self, client_id: str) -> httpx.Client:
        """An HTTP client of the issuance service that signs as `client_id`."""
        key = ClientKey.load(self.home.client_key(client_id))
        client = httpx.Client(base_url=self.issuance_url, auth=ClientAuth(key), timeout=30, trust_env=False)
        return self._stack.enter_context(client)

    def agent_client(self) -> httpx.Client:
        return self._stack.enter_context(httpx.Client(base_url=self.agent_url, timeout=30, trust_env=False))

    # -- cards --------------------------------------------------------------------------------------------------

    def plug(self, slot: int, card: VirtualCard) -> VpcdLink:
        """Put a simulated card into a slot (0 the citizen's, 1 the PSAM's); it leaves with the system."""
        link = VpcdLink(card, self._slots[slot])
        link.insert()
        self._stack.callback(link.remove)
        return link

    def wait_for_card(self, slot: int = 0) -> str:
        """Name of the agent's reader that holds the card of `slot`, once the agent has seen it."""
        suffix = f"{slot:02d}"
        end = time.monotonic() + CARD_TIMEOUT_S
        client = self.agent_client()
        while time.monotonic() < end:
            for reader in client.get("/v1/readers").raise_for_status().json():
                if reader["name"].endswith(suffix) and reader["atr"]:
                    return str(reader["name"])
            time.sleep(0.02)
        raise CommandError(FailureCode.CARD_ABSENT, f"the agent saw no card in slot {slot}")

    # -- start --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Both services come up side by side; the issuance address is known before its process is."""
        with self.home.key_service() as keys:
            office = KeyOffice(self.home, keys)
            ensure_demo_issuer(office, int(time.time()))
            ensure_demo_repository(office)
        self.home.make_client_key("terminal-1")
        issuance_port, agent_port, ws_port = self._ports
        agent_port = agent_port or unused_port()  # pages of the console are told before the agent runs
        self._environment["ONECARD_ISSUANCE_AGENT_URLS"] = json.dumps([f"http://127.0.0.1:{agent_port}"])
        if self._wallet_port is not None:
            self._wallet_port = self._wallet_port or unused_port()
            self._environment[SIGN_UP] = os.environ.get(SIGN_UP, f"http://127.0.0.1:{self._wallet_port}/apply")
        with socket.create_server(("127.0.0.1", issuance_port)) as listener:
            issuance_port = listener.getsockname()[1]
            self.issuance_url = f"http://127.0.0.1:{issuance_port}"
            console_client = self.home.console_client(issuance_port)
            self._environment["ONECARD_ISSUANCE_CONSOLE_CLIENT_PATH"] = str(console_client)
            self.issuance = self.spawn("issuance", "issuance", "serve", "--fd", listener.fileno())
        if self._with_counter:
            self._start_counter(agent_port, ws_port)
        # Loads the database layer while both services come up.
        from onecard_cli.registration import register_clients

        self.issuance.wait_ready()
        register_clients(self.home, self.home.database_url, CLIENTS, names=NAMES)
        if not console_client.exists():
            self._register_console(console_client)
        if self._wallet_port is not None:
            order = ("sim", "wallet", "--port", self._wallet_port, "--url", self.issuance_url)
            self.wallet = self.spawn("wallet", *order)
            self.wallet.wait_ready()
        if self._with_counter:
            self.agent.wait_ready()
            self._slots = self._slots or list(self.agent.facts["slots"])
            sam = installed_psam(self.home, self.region)
            self._stack.callback(sam.lock.close)
            self.plug(1, sam.psam)

    def _start_counter(self, port: int, ws_port: int) -> None:
        if self.use_pcsc:
            self.pcscd = self._stack.enter_context(PrivatePcscd(vpcds=1))
            self._environment |= self.pcscd.env
            self._slots = list(self.pcscd.ports)
        self.agent = self.spawn(
            "agent",
            *("agent", "run", "--profile", "counter", "--port", port, "--ws-port", ws_port),
            *("--issuance-url", self.issuance_url, "--client-key", self.home.client_key("terminal-1")),
            *("--allow-origin", self.issuance_url),
            *("--state-dir", self.home.path / "agent", "--catalog-root", self.home.repository_root),
            *("--catalog-url", f"{self.issuance_url}/v1/distribution"),
            *("--psam-reader", PSAM_SLOT, "--readers", "pcsc" if self.use_pcsc else "vpcd"),
        )

    def _register_console(self, file: Path) -> None:
        """As an operator registers any system that people log in to."""
        console = f"{self.issuance_url}/console/login"
        party = {
            "id": f"console-{secrets.token_hex(4)}",
            "name": "经办工作台",
            "sector": "console",
            "redirect_uris": [f"{console}/back"],
            "logout_uris": [f"{console}/left"],
            "grant_types": ["authorization_code"],
        }
        told = self.client("operator-1").post("/v1/relying-parties", json=party).raise_for_status()
        write_atomically(file, told.content)

    def spawn(self, name: str, *arguments: object, environment: Mapping[str, str] = MappingProxyType({})) -> Service:
        """A `./onecard …` process that ends with the system. `environment` is added to the system's own."""
        ready, log = self.home.path / f"{name}.ready.json", self.home.path / f"{name}.log"
        ready.unlink(missing_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "onecard_cli", *map(str, arguments), "--ready-file", str(ready)],
                env={**self._environment, **environment},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
                pass_fds=[int(str(value)) for option, value in pairwise(arguments) if option == "--fd"],
            )
        service = Service(name, process, log, ready)
        self._stack.callback(service.stop)
        return service
