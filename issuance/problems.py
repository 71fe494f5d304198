"""Failures as HTTP answers: problem details (RFC 9457) whose words come from `cardlib.failures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import takewhile
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from cardlib.failures import FailureCode, describe, failure_of
from issuance.input_rules import FieldError, field_error, shape_error

MEDIA_TYPE = "application/problem+json"

_ROUTING_FAILURES = {404: "NOT_FOUND", 403: "CLIENT_FORBIDDEN", 401: "CLIENT_UNKNOWN"}


class ProblemError(Exception):
    """A refusal with a `FailureCode`. `detail` is for the caller's log and holds nothing personal.

    `fields` names every input that was refused.
    `subject` and `application_id` go into the audit entry of the refusal. `status` only where the failure's own HTTP
    status does not fit.
    """

    def __init__(
        self,
        failure: str,
        detail: str = "",
        *,
        status: int | None = None,
        subject: str = "",
        application_id: str | None = None,
        fields: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(f"{failure}: {detail}")
        self.failure = failure
        self.detail = detail
        self.status = status
        self.subject = subject
        self.application_id = application_id
        self.fields = tuple(fields)


def bad_input(
    *fields: FieldError, failure: str = "INPUT_INVALID", subject: str = "", status: int | None = None
) -> ProblemError:
    """A refusal of what was sent, every field with its rule and remedy."""
    words = "; ".join(str(field) for field in fields)
    return ProblemError(failure, words, fields=fields, subject=subject, status=status)


class Problem(BaseModel):
    """Problem details. `code` is stable; `title` and the remedies are for people."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:onecard:failure:CODE_USED",
                    "title": "二维码已被使用",
                    "title_en": "The code has been used already",
                    "status": 409,
                    "code": "CODE_USED",
                    "detail": "",
                    "remedy_zh": "请持卡人刷新二维码后重新扫描。",
                    "remedy_en": "Ask the holder to refresh the code and scan it again.",
                    "fields": [],
                }
            ]
        }
    )

    type: str
    title: str = Field(description="What happened, in Chinese")
    title_en: str
    status: int
    code: str = Field(description="Member of FailureCode")
    detail: str = ""
    remedy_zh: str
    remedy_en: str
    fields: list[FieldError] = Field(default_factory=list)


def problem_response(
    failure: FailureCode | str,
    detail: str = "",
    *,
    status: int | None = None,
    fields: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    code = FailureCode(failure)
    text = describe(code)
    body = Problem(
        type=f"urn:onecard:failure:{code.value}",
        title=text.text_zh,
        title_en=text.text_en,
        status=status or text.http_status,
        code=code.value,
        detail=detail,
        remedy_zh=text.remedy_zh,
        remedy_en=text.remedy_en,
        fields=list(fields),
    )
    sent = {**(headers or {}), "Cache-Control": "no-store"}
    if body.status == HTTPStatus.UNAUTHORIZED:
        sent["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body.model_dump(), status_code=body.status, headers=sent, media_type=MEDIA_TYPE)


def code_of(error: BaseException) -> FailureCode:
    """The failure behind any exception; INTERNAL when it names none."""
    if isinstance(error, RequestValidationError):
        return FailureCode.INPUT_INVALID
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
        return FailureCode.DATABASE_UNAVAILABLE
    if isinstance(error, DataError):  # a value that the database cannot hold, such as a NUL in text
        return FailureCode.INPUT_INVALID
    return failure_of(error)


def response_for(error: Exception) -> JSONResponse:
    """The answer to any exception; one that names no failure of its own shows nothing of itself."""
    if isinstance(error, ProblemError):
        return problem_response(error.failure, error.detail, status=error.status, fields=error.fields)
    code = code_of(error)
    is_ours = hasattr(error, "failure") and code is not FailureCode.INTERNAL
    fields = [field_error("body", "value" if is_ours else "unstorable")] if code is FailureCode.INPUT_INVALID else []
    return problem_response(code, str(error) if is_ours else "", fields=fields)


def install(app: FastAPI) -> None:
    """Shape and routing errors become problems too; everything else is turned by the request middleware."""
    app.add_exception_handler(RequestValidationError, _on_shape)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ProblemError, _on_problem)


async def _on_shape(request: Request, error: Exception) -> JSONResponse:
    errors: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else ()
    declared = _declared_names(request.app.openapi())
    fields = [shape_error(_location(e["loc"], declared), str(e["type"]), e.get("ctx") or {}) for e in errors]
    return problem_response(
        FailureCode.INPUT_INVALID,
        "the payload does not have the shape of this request",
        status=HTTPStatus.UNPROCESSABLE_ENTITY,
        fields=fields,
    )


def _location(parts: Sequence[int | str], declared: frozenset[str]) -> str:
    """Cut before the first name that the description does not know: what a caller made up may be personal."""
    return ".".join(str(part) for part in takewhile(lambda part: isinstance(part, int) or part in declared, parts))


def _declared_names(api: Mapping[str, Any]) -> frozenset[str]:
    """Parts of a request, fields of every message, parameters of every operation."""
    names = {"body", "query", "path", "header"}
    for schema in api["components"]["schemas"].values():
        names.update(schema.get("properties", ()))
    for operations in api["paths"].values():
        for operation in operations.values():
            names.update(parameter["name"] for parameter in operation.get("parameters", ()))
    return frozenset(names)


async def _on_http(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error.__cause__, ProblemError):  # raised while the framework was reading the body
        return response_for(error.__cause__)
    status = error.status_code if isinstance(error, HTTPException) else 500
    failure = _ROUTING_FAILURES.get(status, "INPUT_INVALID" if status < 500 else "INTERNAL")
    headers = error.headers if isinstance(error, HTTPException) else None
    place, reason = ("method", "method") if status == HTTPStatus.METHOD_NOT_ALLOWED else ("body", "value")
    fields = [field_error(place, reason)] if failure == FailureCode.INPUT_INVALID else []
    return problem_response(failure, HTTPStatus(status).phrase, status=status, fields=fields, headers=headers)


async def _on_problem(_request: Request, error: Exception) -> JSONResponse:
    return response_for(error)
