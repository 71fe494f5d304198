"""RFC 9457 answers: every refusal of the agent says what happened, why, and what to do now, in both languages."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from cardlib.failures import FailureCode, describe, failure_of

MEDIA_TYPE = "application/problem+json"
LOG = logging.getLogger("terminal_agent")

_HTTP_FAILURES = {
    400: FailureCode.INPUT_INVALID,
    404: FailureCode.NOT_FOUND,
    405: FailureCode.INPUT_INVALID,
    413: FailureCode.INPUT_INVALID,
}


class AgentError(Exception):
    """A refusal by the agent itself; `failure` names the `FailureCode`, the text is for the log and `detail`."""

    failure: ClassVar[str] = "INTERNAL"
    extra: Mapping[str, Any] = MappingProxyType({})
    """Members that the answer has beside those of every problem."""


class OperationTimeoutError(AgentError):
    """The reader did not finish in time; it may still be busy with the call."""

    failure = "TIMEOUT"


class ReaderBusyError(AgentError):
    """A card session or a driver session holds the reader, or too many wait for it."""

    failure = "CARD_BUSY"


class UnknownReaderError(AgentError):
    failure = "READER_NOT_FOUND"


class UnknownJobError(AgentError):
    failure = "NOT_FOUND"


class NoCentreError(AgentError):
    """No issuance service is configured for this terminal."""

    failure = "SERVICE_UNREACHABLE"


class DeviceNotConfiguredError(AgentError):
    """The settings name no such device. Driver code -13."""

    failure = "DEVICE_NOT_CONFIGURED"


def problem_document(code: FailureCode, *, detail: str = "", status: int | None = None) -> dict[str, Any]:
    """Members of RFC 9457 §3.1, and as extensions the failure's code, both languages and its retry policy."""
    failure = describe(code)
    return {
        "type": f"urn:onecard:failure:{code.value}",
        "title": failure.text_zh,
        "status": status or failure.http_status,
        "detail": detail,
        "code": code.value,
        "title_en": failure.text_en,
        "cause_zh": failure.cause_zh,
        "cause_en": failure.cause_en,
        "remedy_zh": failure.remedy_zh,
        "remedy_en": failure.remedy_en,
        "retry": failure.retry,
    }


def problem_response(
    code: FailureCode, *, detail: str = "", status: int | None = None, extra: Mapping[str, Any] | None = None
) -> JSONResponse:
    document = problem_document(code, detail=detail, status=status) | dict(extra or {})
    return JSONResponse(document, status_code=document["status"], media_type=MEDIA_TYPE)


def response_for(exc: Exception) -> JSONResponse:
    """Answer for an exception that reached the edge; an unforeseen one keeps its text to the log."""
    code = failure_of(exc)
    if code is FailureCode.INTERNAL:
        LOG.error("unforeseen %s", type(exc).__name__, exc_info=exc)
        return problem_response(code)
    LOG.info("refused: %s (%s)", code.value, exc)
    extra = exc.extra if isinstance(exc, AgentError) else None
    return problem_response(code, detail=str(exc), extra=extra)


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Give `app` problem answers for its own errors, wrong paths and wrong payloads. `routes` are those of the API."""

    @app.exception_handler(HTTPException)
    async def _http(request: Request, exc: HTTPException) -> JSONResponse:
        code = _HTTP_FAILURES.get(exc.status_code, FailureCode.INTERNAL)
        response = problem_response(code, detail=str(exc.detail), status=exc.status_code)
        response.headers.update(exc.headers or {})
        if exc.status_code == 405:
            allowed = _allowed(request, routes) or (exc.headers or {}).get("Allow")
            response.headers["Allow"] = allowed or "GET, HEAD"  # files name none themselves
        return response

    @app.exception_handler(RequestValidationError)
    async def _payload(request: Request, exc: RequestValidationError) -> JSONResponse:
        # The values themselves stay out: a mistyped body may hold a person's number.
        errors = [{"loc": _location(error), "msg": error["msg"]} for error in exc.errors()]
        return problem_response(FailureCode.INPUT_INVALID, status=422, extra={"errors": errors})


def _allowed(request: Request, routes: Sequence[BaseRoute]) -> str:
    """Every method of an API path (RFC 9110 §10.2.1); the framework names those of one route only."""
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in matching for method in getattr(route, "methods", ())}))


def _location(error: Mapping[str, Any]) -> list[str | int]:
    """Where in the payload; an undeclared field's own name is the sender's text and stays out like a value."""
    location = list(error["loc"])
    return location[:-1] if error["type"] == "extra_forbidden" else location
