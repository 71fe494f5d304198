"""The issuance service as the agent sees it: remote card sessions, and the security-module route."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from cardlib.failures import FailureCode
from cardlib.hsm_wire import BasicStep, CardStep, DebitAnswer, DebitOutcome, DebitView, StepAnswer
from cardlib.terminal_records import RecordBatch, RecordsTaken
from cardlib.terminal_state import DiagnosisUpload, Heartbeat, Orders, Received
from cardlib.wire import BatchResponses, PrintReport, SessionReply, SessionStart

if TYPE_CHECKING:
    import httpx

Reply = TypeVar("Reply", bound=BaseModel)
LOG = logging.getLogger("terminal_agent.centre")

MAX_REPLY_BYTES = 4 * 1024 * 1024
# Well below the 5 s after which servers and gateways close an idle connection: a request that meets the closing would
# look like a cut line.
IDLE_S = 2.0
# No compression: a short body that unpacks to gigabytes would pass any limit on what is received.
_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
_PASSING = frozenset({"INTERNAL", "DATABASE_UNAVAILABLE", "TIMEOUT", "SERVICE_UNREACHABLE"})
_RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class CentreUnreachableError(Exception):
    """No usable answer; the same request may be sent again."""

    failure: ClassVar[str] = "SERVICE_UNREACHABLE"


class RefusedField(BaseModel):
    """What of a request was refused, by which rule, and what to do."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    reason: str = Field(max_length=64)
    text_zh: str = Field(max_length=200)
    text_en: str = Field(max_length=200)
    remedy_zh: str = Field(max_length=400)
    remedy_en: str = Field(max_length=400)


class CentreRefusedError(Exception):
    """The centre answered no. `failure` is the code of its problem document, `fields` says what of the request."""

    def __init__(self, failure: str, detail: str, fields: tuple[RefusedField, ...] = ()) -> None:
        super().__init__(detail)
        self.failure = failure
        self.fields = fields


_FIELDS = TypeAdapter(Annotated[tuple[RefusedField, ...], Field(max_length=64)])


class IssuanceClient(Protocol):
    """Every call may be repeated: the centre keys answers by session and sequence (cardlib.wire)."""

    async def start(self, request: SessionStart) -> SessionReply: ...

    async def answer(self, responses: BatchResponses) -> SessionReply: ...

    async def report_print(self, report: PrintReport) -> SessionReply: ...

    async def aclose(self) -> None: ...


@runtime_checkable
class SecurityModule(Protocol):
    """The security module behind the centre. Every call may be repeated; a settlement asked for again is the same."""

    async def basic_information(self, request: BasicStep) -> StepAnswer: ...

    async def authentication(self, request: CardStep) -> StepAnswer: ...

    async def pin_command(self, request: CardStep) -> StepAnswer: ...

    async def debit(self, request: CardStep) -> DebitAnswer: ...

    async def debit_outcome(self, number: int, outcome: DebitOutcome) -> DebitView: ...


@runtime_checkable
class RecordCentre(Protocol):
    """Where this terminal's records go. The same records may be sent again: the centre takes each once."""

    client_id: str | None
    """What this terminal is registered as."""

    def sign(self, text: bytes) -> bytes:
        """By the terminal's key. Raises CentreRefusedError where it has none."""

    async def send_records(self, batch: RecordBatch) -> RecordsTaken: ...


@runtime_checkable
class TerminalCentre(Protocol):
    """Who looks after this terminal as a machine. Every call may be repeated."""

    async def send_heartbeat(self, beat: Heartbeat) -> Orders: ...

    async def send_diagnosis(self, upload: DiagnosisUpload) -> Received: ...


class HttpIssuanceClient:
    """Talks to the centre over HTTP. `auth` signs each request anew, so a repeated request is not a replayed one."""

    def __init__(
        self,
        base_url: str,
        *,
        auth: httpx.Auth | None = None,
        sign: Callable[[bytes], bytes] | None = None,
        client_id: str | None = None,
        timeout_s: float = 15.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        # Six megabytes, which a terminal without a centre need not carry.
        import httpx

        self._sign = sign
        self.client_id = client_id
        # trust_env off: a proxy variable left in a kiosk's environment must not see card commands.
        self._http = httpx.AsyncClient(
            base_url=base_url,
            auth=auth,
            verify=_authorities(base_url),
            timeout=timeout_s,
            limits=httpx.Limits(keepalive_expiry=IDLE_S),
            transport=transport,
            trust_env=False,
        )

    async def start(self, request: SessionStart) -> SessionReply:
        return await self._session("/v1/card-sessions", request.model_dump_json(exclude_none=True))

    async def answer(self, responses: BatchResponses) -> SessionReply:
        return await self._session(f"/v1/card-sessions/{responses.session_id}/responses", responses.model_dump_json())

    async def report_print(self, report: PrintReport) -> SessionReply:
        return await self._session(f"/v1/card-sessions/{report.session_id}/print-reports", report.model_dump_json())

    async def basic_information(self, request: BasicStep) -> StepAnswer:
        return await self._hsm("basic-information", request, StepAnswer)

    async def authentication(self, request: CardStep) -> StepAnswer:
        return await self._hsm("authentications", request, StepAnswer)

    async def pin_command(self, request: CardStep) -> StepAnswer:
        return await self._hsm("pin-commands", request, StepAnswer)

    async def debit(self, request: CardStep) -> DebitAnswer:
        return await self._hsm("debits", request, DebitAnswer)

    async def debit_outcome(self, number: int, outcome: DebitOutcome) -> DebitView:
        return await self._hsm(f"debits/{number}/outcome", outcome, DebitView)

    def sign(self, text: bytes) -> bytes:
        if self._sign is None:
            raise CentreRefusedError("CLIENT_UNKNOWN", "this terminal has no client key")
        return self._sign(text)

    async def send_records(self, batch: RecordBatch) -> RecordsTaken:
        return await self._post("/v1/terminals/records", batch.model_dump_json(exclude_none=True), RecordsTaken)

    async def send_heartbeat(self, beat: Heartbeat) -> Orders:
        return await self._post("/v1/terminals/heartbeats", beat.model_dump_json(), Orders)

    async def send_diagnosis(self, upload: DiagnosisUpload) -> Received:
        return await self._post("/v1/terminals/diagnoses", upload.model_dump_json(), Received)

    async def exchange(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        """A JSON object by any of the centre's routes. Raises CentreUnreachableError, CentreRefusedError."""
        try:
            answer = from_json(await self._send(method, path, content, {**_HEADERS, **headers}))
        except ValueError:
            raise CentreRefusedError("INTERNAL", f"no JSON on {path}") from None
        if not isinstance(answer, dict):
            raise CentreRefusedError("INTERNAL", f"no object on {path}")
        return answer

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _session(self, path: str, body: str) -> SessionReply:
        reply = await self._post(path, body, SessionReply)
        if not reply.is_whole:
            raise CentreRefusedError("INTERNAL", "not a session reply: one of batch, print order and outcome is needed")
        return reply

    async def _hsm(self, path: str, request: BaseModel, reply: type[Reply]) -> Reply:
        return await self._post(f"/v1/hsm/{path}", request.model_dump_json(), reply)

    async def _post(self, path: str, body: str, reply: type[Reply]) -> Reply:
        content = await self._send("POST", path, body.encode(), _HEADERS)
        try:
            return reply.model_validate_json(content)
        except (ValidationError, ValueError) as exc:
            # The text of a ValidationError quotes its input, which may be card data.
            raise CentreRefusedError("INTERNAL", f"not a {_words(reply)}: {type(exc).__name__}") from None

    async def _send(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> bytes:
        """What a good answer carries."""
        import httpx

        try:
            async with self._http.stream(method, path, content=content, headers=headers) as response:
                received = await _content(response)
        except httpx.HTTPError as exc:
            raise CentreUnreachableError(f"{type(exc).__name__} on {path}") from exc
        if response.is_success:
            return received
        refusal = refusal_of(response.status_code, received)
        # A problem of the centre's own naming waits for a person; a bare 503 is a gateway's and passes.
        if response.status_code in _RETRYABLE_STATUS and refusal.failure in _PASSING:
            raise CentreUnreachableError(f"status {response.status_code} on {path}")
        raise refusal


def _authorities(base_url: str) -> ssl.SSLContext:
    """Whom connections trust. Nobody where the centre speaks no TLS: the usual ones take more than a megabyte."""
    import httpx

    if httpx.URL(base_url).scheme == "https":
        return httpx.create_ssl_context(trust_env=False)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def _content(response: httpx.Response) -> bytes:
    """The body as it came, never more than `MAX_REPLY_BYTES` of it in memory."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise CentreRefusedError("INTERNAL", "not a readable reply: compressed")
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > MAX_REPLY_BYTES:
            raise CentreRefusedError("INTERNAL", "not a readable reply: over-long")
    return bytes(content)


def _words(reply: type[BaseModel]) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", reply.__name__).lower()


def refusal_of(status: int, content: bytes) -> CentreRefusedError:
    """The centre's problem document (RFC 9457), or what can be said without one."""
    code, detail = "", ""
    fields: tuple[RefusedField, ...] = ()
    try:
        problem = from_json(content)
        if isinstance(problem, dict):
            code, detail = str(problem.get("code", "")), str(problem.get("detail", ""))[:500]
            fields = _FIELDS.validate_python(problem.get("fields", ()))
    except ValueError:
        LOG.info("status %d without a problem document", status)
    known = code in FailureCode.__members__
    return CentreRefusedError(code if known else "INTERNAL", detail or f"status {status}", fields)
