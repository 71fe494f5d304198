"""The tests, one after the other; none stops the rest. Whoever runs them puts cards in and presses keys when asked."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from cardlib.failures import FailureCode
from terminal_agent.selftest.results import Outcome, Result, failed, faulty, passed, skipped
from terminal_agent.settings import DEFAULT_HTTP_PORT, DEFAULT_WS_PORT, OTHER_PORTS, AgentSettings

CODE: Final = "ONECARD-SELFTEST"
POLL_S: Final = 0.1
CENTRE_S: Final = 10.0
CLOCK_S: Final = 30.0
DISK_BYTES: Final = 500_000_000
DEVICES: Final = (
    "mt3_reader",
    "id_card_module",
    "qr_scanner",
    "pin_pad",
    "card_printer",
    "receipt_printer",
    "camera",
)
CAN_BE_LEFT_OUT: Final = ("reader", *DEVICES, "catalog", "journal", "centre")
Ask = Callable[[str, str], None]
"""Asked before somebody must act: the kind of device, and its name."""


class RefusedError(Exception):
    """The agent's answer was a problem; AGENT_SILENT where there was none, or one that no agent gives."""

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class SelfTest:
    """`agent` is a client of the agent's API, `settings` those it was started with, `wait_s` the time for people."""

    def __init__(
        self, agent: httpx.Client, settings: AgentSettings, ask: Ask, *, wait_s: float, left_out: Collection[str] = ()
    ) -> None:
        self._agent = agent
        self._settings = settings
        self._ask = ask
        self._wait_s = wait_s
        self._left_out = frozenset(left_out)

    def results(self) -> Iterator[Result]:
        """Each as soon as it is known."""
        tried = set()
        try:
            for result in self._of_agent():
                tried.add(result.name.partition(":")[0])
                yield result
        except RefusedError as error:
            yield failed("agent", error.code, str(error))
            untried = (name for name in ("reader", *DEVICES, "catalog", "journal") if name not in tried)
            yield from (skipped(name, "no_agent") for name in untried)
        yield from self._centre()
        yield self._disk()

    # -- the agent ------------------------------------------------------------------------------------------------

    def _of_agent(self) -> Iterator[Result]:
        """Raises RefusedError where what everything else needs is refused."""
        info = self._call("GET", "/v1/info")
        if "api_level" not in info:
            raise RefusedError(FailureCode.AGENT_SILENT, "another program")
        yield passed("agent", f"{info['version']}, API {info['api_level']}, {info['profile']}")
        yield self._ports(info)
        yield from self._of_cards(info)
        yield from self._of_devices()
        yield self._tried("catalog", self._catalog)
        yield self._tried("journal", self._journal)

    def _ports(self, info: dict[str, Any]) -> Result:
        """Another program's port is told by where the service went instead."""
        bound = {DEFAULT_HTTP_PORT: info["http_port"], DEFAULT_WS_PORT: info["ws_port"]}
        wanted = (self._settings.port, self._settings.ws_port)
        has_moved = any(port in OTHER_PORTS[usual] and port not in wanted for usual, port in bound.items())
        detail = f"HTTP {info['http_port']}, WebSocket {info['ws_port']}"
        return faulty("ports", "PORT_TAKEN", detail) if has_moved else passed("ports", detail)

    def _of_cards(self, info: dict[str, Any]) -> Iterator[Result]:
        if info["is_reader_service_lost"]:
            yield failed("reader", FailureCode.READER_SERVICE_UNAVAILABLE)
            return
        readers = self._call("GET", "/v1/readers")
        if info["terminal_number"]:
            yield passed("psam", info["terminal_number"])
        elif self._settings.psam_readers:
            yield failed("psam", FailureCode.PSAM_ABSENT)
        else:
            yield skipped("psam", "not_configured")
        named = [f"reader: {reader['name']}" for reader in readers if reader["role"] == "card"]
        if not named:
            yield failed("reader", FailureCode.READER_NOT_FOUND)
        for name in named:
            yield self._tried(name, lambda name=name: self._card(name, bool(info["terminal_number"])))  # type: ignore[misc]

    def _card(self, name: str, authenticate: bool) -> Result:
        reader = name.partition(": ")[2]
        if not self._has_card(reader):
            self._ask("reader", reader)
            until = time.monotonic() + self._wait_s
            while not self._has_card(reader):
                if time.monotonic() > until:
                    return skipped(name, "no_card")
                time.sleep(POLL_S)
        body = {"masked": True, "authenticate": authenticate}
        card = self._call("POST", f"/v1/readers/{quote(reader, safe='')}/basic-information", body)
        proof = "真卡 / genuine" if card["genuine"] else "未验真伪 / not checked"
        return passed(name, f"{card['generation']} {card['algorithm']}, {proof}, {card['ms']:.0f} ms")

    def _has_card(self, name: str) -> bool:
        return any(reader["name"] == name and reader["atr"] for reader in self._call("GET", "/v1/readers"))

    # -- devices --------------------------------------------------------------------------------------------------

    def _of_devices(self) -> Iterator[Result]:
        """Every kind once, so that a report shows what a terminal does not have."""
        listed = self._call("GET", "/v1/devices")
        for kind in DEVICES:
            found = [device for device in listed if device["kind"] == kind]
            if not found:
                yield skipped(kind, "not_configured")
            for device in found:
                yield self._tried(
                    f"{kind}: {device['port']}",
                    lambda device=device: self._device(device),  # type: ignore[misc]
                )

    def _device(self, device: dict[str, Any]) -> Result:
        kind, name = device["kind"], f"{device['kind']}: {device['port']}"
        if device["failure"] and device["state"] in ("lost", "attention"):
            return failed(name, FailureCode(device["failure"]))
        act = getattr(self, f"_try_{kind}", None)
        return act(name) if act is not None else passed(name, device["state"])

    def _try_id_card_module(self, name: str) -> Result:
        self._ask("id_card_module", name)
        card = self._call("POST", "/v1/id-card/read", {"wait_s": self._wait_s})
        return passed(name, f"{card['kind']}, {card['valid_to'] or '长期'}")

    def _try_qr_scanner(self, name: str) -> Result:
        self._ask("qr_scanner", name)
        seen = self._call("POST", "/v1/scanner/wait", {"timeout_s": self._wait_s})["text"]
        if seen is None:
            return faulty(name, "NOTHING_SCANNED", f"{self._wait_s:.0f} s")
        return passed(name, CODE if seen == CODE else "另一个码 / another code")

    def _try_pin_pad(self, name: str) -> Result:
        self._ask("pin_pad", name)
        return passed(name, f"{self._call('POST', '/v1/pin-pad/test')['digits']} 个键 / keys")

    def _try_receipt_printer(self, name: str) -> Result:
        lines = [
            {"text": "测试页 / Test page", "align": "centre", "large": True},
            {"text": f"{datetime.now():%Y-%m-%d %H:%M} {self._settings.device_number}"},
            {"text": "12345678901234567890123456789012"},
        ]
        self._call("POST", "/v1/receipts", {"lines": lines, "qr": CODE})
        return passed(name, "测试页已打出 / test page printed")

    def _try_camera(self, name: str) -> Result:
        self._ask("camera", name)
        picture = self._call("POST", "/v1/camera/picture")
        measures = f"{picture['width']}×{picture['height']}, {picture['dpi']} dpi, {picture['kb']} KB"
        if picture["reasons"]:
            return faulty(name, "PICTURE_UNFIT", f"{measures}: {', '.join(picture['reasons'])}")
        return passed(name, measures)

    # -- centre, lists, disk ----------------------------------------------------------------------------------------

    def _catalog(self) -> Result:
        told = self._call("GET", "/v1/catalog/state")
        if not told["is_updating"]:
            return skipped("catalog", "not_configured")
        if told["alarms"]:
            return failed("catalog", FailureCode(told["alarms"][0]["code"]), told["alarms"][0]["detail"])
        return passed("catalog", f"{told['version']}, {told['source']}")

    def _journal(self) -> Result:
        told = self._call("GET", "/v1/journal")
        if told["state"] == "none":
            return skipped("journal", "not_configured")
        if told["failure"]:
            return failed("journal", FailureCode(told["failure"]), told["detail"])
        return passed("journal", told["state"])

    def _centre(self) -> Iterator[Result]:
        url = self._settings.issuance_url
        if "centre" in self._left_out or url is None:
            yield skipped("centre", "not_wanted" if "centre" in self._left_out else "not_configured")
            return
        begun = datetime.now(UTC)
        try:
            answer = httpx.get(f"{url}/healthz", timeout=CENTRE_S, trust_env=False)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            yield failed("centre", FailureCode.SERVICE_UNREACHABLE, f"{type(error).__name__}, {url}")
            return
        took = datetime.now(UTC) - begun
        yield passed("centre", f"{url}, {took.total_seconds() * 1000:.0f} ms")
        yield clock(answer.headers.get("date", ""), begun + took / 2)

    def _disk(self) -> Result:
        folder = self._settings.state_dir
        if folder is None:
            return skipped("disk", "not_configured")
        if not os.access(folder, os.X_OK):
            return skipped("disk", "not_ours")
        free = shutil.disk_usage(folder).free
        detail = f"{free / 1e9:.1f} GB"
        if (refused := _refusal(folder)) is not None:
            return faulty("disk", "FOLDER_READ_ONLY", refused)
        return passed("disk", detail) if free >= DISK_BYTES else faulty("disk", "DISK_LOW", detail)

    # -- calls ----------------------------------------------------------------------------------------------------

    def _tried(self, name: str, act: Callable[[], Result]) -> Result:
        if name.partition(":")[0] in self._left_out:
            return skipped(name, "not_wanted")
        try:
            return act()
        except RefusedError as error:
            return failed(name, error.code, str(error))

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Raises RefusedError."""
        try:
            answer = self._agent.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise RefusedError(FailureCode.AGENT_SILENT, f"{self._agent.base_url}, {type(error).__name__}") from error
        try:
            told = answer.json()
        except ValueError:
            raise RefusedError(FailureCode.AGENT_SILENT, f"status {answer.status_code}") from None
        if answer.is_success:
            return told
        code = FailureCode.__members__.get(told.get("code", ""), FailureCode.INTERNAL)
        raise RefusedError(code, told.get("detail", ""))


def clock(date: str, here: datetime) -> Result:
    """`date` is the centre's Date header, whole seconds; `here` this computer's time at the same moment."""
    try:
        offset = (here - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError):
        return skipped("clock", "no_time")
    detail = f"{offset:+.0f} s"
    return passed("clock", detail) if abs(offset) <= CLOCK_S else faulty("clock", "CLOCK_WRONG", detail)


def is_good(results: Collection[Result]) -> bool:
    return all(result.outcome is not Outcome.FAILED for result in results)


def _refusal(folder: Path) -> str | None:
    """Why nothing can be written there; None where it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        return str(error.strerror)
    return None
