"""How commands speak: JSON on request, failures as cause and remedy, never a traceback."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import typer

from cardlib.failures import FailureCode, describe, failure_of

PIPE_CLOSED = 141
"""Exit status a shell reports for a process ended by SIGPIPE."""

P = ParamSpec("P")
T = TypeVar("T")


class CommandError(Exception):
    """A command cannot do its work; `failure` names a `FailureCode`."""

    def __init__(self, failure: FailureCode, detail: str = "") -> None:
        super().__init__(detail or failure)
        self.failure = failure


def listen(port: int, host: str = "127.0.0.1") -> socket.socket:
    """0: any free one. Raises CommandError where another program has the port."""
    try:
        # Asked anew, the socket knows that its protocol is TCP; without, asyncio leaves Nagle's delay on.
        return socket.socket(fileno=socket.create_server((host, port)).detach())
    except OSError as error:
        hint = "换一个端口，0 任选 / choose another port, 0: any free one"
        raise CommandError(FailureCode.INPUT_INVALID, f"{host}:{port}: {error.strerror}; {hint}") from None


def print_json(data: Any) -> None:
    print(json.dumps(data, ensure_ascii=False, indent=2))


def fail(error: BaseException, *, as_json: bool = False) -> typer.Exit:
    """Print what happened and what to do now; the exit status is 1."""
    failure = describe(failure_of(error))
    if as_json:
        print_json(
            {
                "ok": False,
                "failure": failure.code,
                "text": failure.text_zh,
                "text_en": failure.text_en,
                "remedy": failure.remedy_zh,
                "remedy_en": failure.remedy_en,
                "detail": str(error),
            }
        )
    else:
        print(f"✗ {failure.text_zh} / {failure.text_en}  [{failure.code}]", file=sys.stderr)
        print(f"  原因 {failure.cause_zh} / {failure.cause_en}", file=sys.stderr)
        print(f"  办法 {failure.remedy_zh} / {failure.remedy_en}", file=sys.stderr)
        if str(error):
            print(f"  {error}", file=sys.stderr)
    return typer.Exit(1)


def _named(error: Exception) -> Exception:
    """A bare ValueError out of a command, pydantic's included, is about what was typed."""
    if isinstance(error, ValueError) and failure_of(error) is FailureCode.INTERNAL:
        return CommandError(FailureCode.INPUT_INVALID, str(error))
    return error


def reports_failures(function: Callable[P, T]) -> Callable[P, T]:
    """Turn every exception of a command into its failure text; ONECARD_DEBUG=1 shows the traceback as well."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except (typer.Exit, typer.Abort, KeyboardInterrupt):
            raise
        except BrokenPipeError:
            # The reader of a pipe left (`onecard … | head`); nothing more may be written to it, not even at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(PIPE_CLOSED) from None
        except Exception as error:
            if os.environ.get("ONECARD_DEBUG"):
                raise
            raise fail(_named(error), as_json=bool(kwargs.get("as_json"))) from None

    return wrapper
