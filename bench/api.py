"""Requests made up from the centre's own description (schemathesis): no 5xx, no answer that it does not tell of.

The service is the real one, in this process over SQLite, with one of everything in it; the caller may do everything.
Well-formed requests and malformed ones are drawn in the same order every time.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
from rich.table import Table

from bench.keys import simulated_keys
from bench.measure import BenchError, heading, mark
from cardlib.client_auth import ClientAuth, ClientKey
from cardlib.identity import citizen_number
from hsm.soft import SoftKeyService
from issuance.app import create_app
from issuance.bank.link import HttpBank
from issuance.clients.service import bootstrap_client
from issuance.clock import system_clock
from issuance.database import migrate
from issuance.settings import Settings
from simulators.bank import SimBank

EXAMPLES: Final = 40
"""Of each kind and operation."""
BASE: Final = "http://centre"
REGION: Final = "110000"
RESET: Final = "00FE00000086FE110000000001"
ROLES: Final = ("operator", "terminal", "wallet", "verifier")
PERSON: Final = {
    "social_security_number": citizen_number("99010119900101011"),
    "name": "测试甲",
    "sex": "1",
    "ethnic_group": "01",
    "birthplace": "990100",
    "birth_date": "19900101",
}


@dataclass(slots=True)
class ApiRow:
    mode: str
    operations: int = 0
    requests: int = 0
    accepted: int = 0
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ApiResult:
    rows: list[ApiRow]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def tables(self) -> list[Table | str]:
        table = Table(title="发卡服务接口 / the centre's API (schemathesis)")
        for zh, en in (
            ("请求", "requests"),
            ("接口", "operations"),
            ("数量", "sent"),
            ("2xx", "2xx"),
            ("问题", "faults"),
        ):
            table.add_column(heading(zh, en))
        for row in self.rows:
            faults = f"{len(row.complaints)} {mark(not row.complaints)}"
            table.add_row(row.mode, str(row.operations), str(row.requests), str(row.accepted), faults)
        return [table, *(complaint for row in self.rows for complaint in row.complaints)]


@dataclass
class Target:
    """The service; `known` are values that path parameters may take, so that not every request finds nothing."""

    runner: asyncio.Runner
    http: httpx.AsyncClient
    description: dict[str, Any]
    known: dict[str, str] = field(default_factory=dict)

    def send(self, request: httpx.Request) -> httpx.Response:
        return self.runner.run(self.http.send(request))

    def make(self, path: str, body: dict[str, Any]) -> Any:
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        answer = self.runner.run(self.http.post(path, json=body, headers=headers))
        answer.raise_for_status()
        return answer.json()


def measure() -> ApiResult:
    """Raises BenchError where schemathesis is not installed."""
    with (
        simulated_keys() as (keys, _roots),
        TemporaryDirectory(prefix="onecard-bench-") as folder,
        serving(keys, Path(folder)) as target,
    ):
        return ApiResult([ask_all(target, mode, EXAMPLES) for mode in ("positive", "negative")])


@contextmanager
def serving(keys: SoftKeyService, folder: Path) -> Iterator[Target]:
    url = f"sqlite+aiosqlite:///{folder / 'issuance.db'}"
    migrate(url)
    key, bank = ClientKey.generate("everybody"), SimBank()
    link = HttpBank(BASE, system_clock, transport=httpx.ASGITransport(bank.app))
    app = create_app(Settings(database_url=url, tasks_pause_s=0), keys, bank=link)
    with asyncio.Runner() as runner:
        for client in (key, ClientKey.generate("somebody")):
            runner.run(bootstrap_client(url, client.client_id, client.public_jwk(), ROLES))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        http = httpx.AsyncClient(transport=transport, base_url=BASE, auth=ClientAuth(key))
        target = Target(runner, http, app.openapi())
        made = target.make("/v1/applications", {"region": REGION, "person": PERSON})
        target.make("/v1/blanks", {"delivery": "d1", "region": REGION, "reset_information": [RESET]})
        target.make("/v1/card-numbers", {"region": REGION, "body_from": "A0000001", "count": 5})
        target.known = {"application_id": made["id"], "place_id": f"depot-{REGION}", "client_id": "somebody"}
        yield target
        runner.run(http.aclose())
        runner.run(app.state.services.database.close())
    bank.close()


def ask_all(target: Target, mode: str, examples: int) -> ApiRow:
    """`mode`: positive for well-formed requests, negative for malformed ones."""
    try:
        import schemathesis
    except ImportError as error:
        raise BenchError(f"schemathesis is not installed (requirements/dev.txt): {error}") from None
    row = ApiRow(mode)
    schema: Any = schemathesis.openapi.from_dict(target.description)
    for found in schema.get_all_operations():
        row.operations += 1
        _ask_one(target, found.ok(), row, examples)
    return row


def _ask_one(target: Target, operation: Any, row: ApiRow, examples: int) -> None:
    """Each kind of complaint about an operation is kept once."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
    from hypothesis.errors import Unsatisfiable
    from schemathesis.generation import GenerationMode

    mode, kinds = GenerationMode(row.mode), set[str]()
    known = {name: value for name, value in target.known.items() if f"{{{name}}}" in operation.path}

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), is_known=st.booleans())
    def ask(case: Any, is_known: bool) -> None:
        if is_known and mode is GenerationMode.POSITIVE:
            case.path_parameters |= known
        answer = target.send(_request(case))
        row.requests += 1
        row.accepted += answer.is_success
        for kind, text in _complaints(case, answer):
            if kind not in kinds:
                kinds.add(kind)
                row.complaints.append(f"{operation.label}: {text} {answer.text[:300]}")

    try:
        ask()
    except Unsatisfiable:  # such as a request that has nothing to be malformed
        if mode is GenerationMode.POSITIVE:
            raise


def _complaints(case: Any, answer: httpx.Response) -> Iterator[tuple[str, str]]:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    wanted = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    try:
        case.validate_response(answer, checks=wanted)
    except Exception as error:  # one, or a group of them
        for part in getattr(error, "exceptions", (error,)):
            yield type(part).__name__, str(part)


def _request(case: Any) -> httpx.Request:
    """The request as it goes out; it is signed like any other."""
    import requests

    wanted = case.as_transport_kwargs(base_url=BASE)
    names = ("headers", "params", "json", "data", "cookies")
    made = requests.Request(wanted["method"], wanted["url"], **{name: wanted.get(name) for name in names}).prepare()
    body: Any = made.body
    headers = [(_latin(name), _latin(value)) for name, value in made.headers.items()]
    return httpx.Request(made.method or "", made.url or "", headers=headers, content=body)


def _latin(text: Any) -> bytes:
    """Header octets (RFC 9110, 5.5)."""
    return text if isinstance(text, bytes) else str(text).encode("latin-1")
