"""The key service in a process of its own, over a Unix socket: web code names keys and never holds one.

Frames are four bytes of length and JSON; bytes travel as base64, values of the contract by their type names. Only
methods of the contract can be called, and those that bring, wrap or destroy keys only where the server was told so.
The peer must be the same user, or one the server was told of (SO_PEERCRED).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import logging
import os
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Collection
from dataclasses import fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final, cast

from hsm import api, device, transactions, transit_transactions
from hsm.api import BadInputError, HsmError, KeyService, Purpose
from hsm.device import DeviceLostError
from hsm.primitives import AuthenticationFailed
from hsm.transactions import CryptogramError, TransactionKeys
from hsm.transit_transactions import TransitTacs

LOG = logging.getLogger("hsm.remote")
MAX_FRAME: Final = 1 << 20
MAX_DEPTH: Final = 8
TIMEOUT_S: Final = 30.0
_LENGTH = struct.Struct(">I")

MANAGING: Final = frozenset(("import_components", "import_wrapped", "derive_root", "wrap_root", "retire", "destroy"))
_CONTRACTS: Final = (KeyService, TransactionKeys, TransitTacs)
USING: Final = (
    frozenset(name for contract in _CONTRACTS for name in dir(contract) if not name.startswith("_")) - MANAGING
)
_MADE_BY_USERS: Final = frozenset((Purpose.SEAL, Purpose.SIGN, Purpose.DECRYPT))
_VALUES: Final[dict[str, type[Any]]] = {
    cls.__name__: cls
    for cls in (
        api.KeyRef,
        api.KeyInfo,
        api.CardFactors,
        api.DiversificationStep,
        api.Authentication,
        api.SecuredMessage,
        transactions.Load,
        transactions.Purchase,
        transit_transactions.TransitTransaction,
    )
}
_ENUMS: Final[dict[str, type[StrEnum]]] = {cls.__name__: cls for cls in (api.Algorithm, api.Purpose, api.KeyState)}
_ERRORS: Final[dict[str, Callable[[str], HsmError]]] = {
    cls.__name__: cls
    for cls in (
        api.KeyNotFoundError,
        api.KeyExistsError,
        api.KeyPurposeError,
        api.KeyExpiredError,
        api.KeyStoreLockedError,
        api.KeyStoreCorruptError,
        BadInputError,
        AuthenticationFailed,
        CryptogramError,
        device.DeviceError,
        DeviceLostError,
        device.DeviceBusyError,
        device.AlgorithmUnavailableError,
    )
}


class RemoteProtocolError(HsmError):
    """The other side sent something else than a frame of this protocol."""

    failure: ClassVar[str] = "INPUT_INVALID"


class KeyServer:
    """Serves `service` at `path` until `close`; `serve` blocks.

    The socket file is for its owner only; with `users` the peer's id alone decides. Raises KeyExistsError while another
    process serves there.
    """

    def __init__(
        self, path: Path, service: KeyService, *, may_manage: bool = False, users: Collection[int] = ()
    ) -> None:
        methods = USING | MANAGING if may_manage else USING
        allowed = frozenset(users) | {os.getuid()}

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    _serve_connection(self.request, service, methods, allowed)

        _take_place(path)
        before = os.umask(0o177 if not users else 0o111)
        try:
            self._server = _Server(str(path), Handler)
        finally:
            os.umask(before)
        self._path = path

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.1)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for line in list(self._server.lines):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        self._path.unlink(missing_ok=True)


def _take_place(path: Path) -> None:
    """A socket that nobody answers is what a killed server left. Raises KeyExistsError while one serves."""
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
        else:
            raise api.KeyExistsError(f"another process serves keys at {path.name}")


class _Server(socketserver.ThreadingUnixStreamServer):
    """`lines` are the connections that were accepted and have not ended, also those whose thread has yet to begin."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: str, handler: type[socketserver.BaseRequestHandler]) -> None:
        self.lines: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.lines.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.lines.discard(request)
        super().shutdown_request(request)


def _serve_connection(
    line: socket.socket, service: KeyService, methods: frozenset[str], allowed: frozenset[int]
) -> None:
    user = _peer(line)
    if user not in allowed:
        LOG.warning("user %d may not use the key service", user)
        return
    while True:
        try:
            frame = receive(line)
        except RemoteProtocolError as error:
            send(line, {"error": BadInputError.__name__, "text": str(error)})
            return
        if frame is None:
            return
        send(line, _answer(service, methods, frame))


def _answer(service: KeyService, methods: frozenset[str], frame: bytes) -> dict[str, Any]:
    try:
        request = json.loads(frame)
        name, arguments = request["method"], [decode(value) for value in request["arguments"]]
        options = {str(key): decode(value) for key, value in request["options"].items()}
        if name not in methods:
            raise api.KeyPurposeError("the key service does not do this for its users")
        if name == "generate" and arguments[1] not in _MADE_BY_USERS and not methods >= MANAGING:
            raise api.KeyPurposeError("users of the key service make keys for data and signatures only")
        return {"result": encode(getattr(service, name)(*arguments, **options))}
    except HsmError as error:
        kind = next((cls.__name__ for cls in type(error).__mro__ if cls.__name__ in _ERRORS), DeviceLostError.__name__)
        return {"error": kind, "text": str(error)}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return {"error": BadInputError.__name__, "text": "not a call of the key service"}
    except Exception as error:
        LOG.error("unforeseen %s in the key service", type(error).__name__)
        return {"error": DeviceLostError.__name__, "text": "the key service failed"}


class RemoteKeyService:
    """The client; safe for several threads. A lost connection is made anew once per call.

    Raises what the service raises; DeviceLostError while nobody serves.
    """

    def __init__(self, path: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []
        self._is_open = True

    def close(self) -> None:
        with self._lock:
            self._is_open = False
            idle, self._idle = self._idle, []
        for line in idle:
            line.close()

    def call(self, method: str, *arguments: object, **options: object) -> Any:
        if not self._is_open:
            raise api.KeyStoreLockedError("the key service is closed")
        request = {
            "method": method,
            "arguments": [encode(value) for value in arguments],
            "options": {key: encode(value) for key, value in options.items()},
        }
        for is_last in (False, True):
            line, is_new = self._take()
            try:
                if is_new:
                    line.connect(str(self._path))
                answer = self._exchange(line, request)
            except (OSError, EOFError):
                line.close()
                if is_new or is_last:
                    raise DeviceLostError("the key service does not answer") from None
            except BaseException:
                line.close()
                raise
            else:
                self._give_back(line)
                break
        if "error" in answer:
            raise _ERRORS.get(str(answer["error"]), DeviceLostError)(str(answer.get("text", "")))
        return decode(answer.get("result"))

    def _take(self) -> tuple[socket.socket, bool]:
        """An idle connection, or a new one that is not connected yet."""
        with self._lock:
            if self._idle:
                return self._idle.pop(), False
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.settimeout(self._timeout_s)
        return line, True

    def _exchange(self, line: socket.socket, request: dict[str, Any]) -> dict[str, Any]:
        send(line, request)
        frame = receive(line)
        if frame is None:
            raise EOFError
        try:
            answer = json.loads(frame)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise RemoteProtocolError("the key service answered something else than JSON")
        return answer

    def _give_back(self, line: socket.socket) -> None:
        with self._lock:
            if self._is_open:
                self._idle.append(line)
                return
        line.close()


def _method(name: str) -> Callable[..., Any]:
    def method(self: RemoteKeyService, *arguments: object, **options: object) -> Any:
        return self.call(name, *arguments, **options)

    method.__name__ = name
    return method


for _name in USING | MANAGING:
    setattr(RemoteKeyService, _name, _method(_name))


class RemoteService(KeyService, TransactionKeys, TransitTacs):
    """What `connect` gives, for type checkers: the contract, and `close`."""

    def close(self) -> None: ...


def connect(path: Path, *, timeout_s: float = TIMEOUT_S) -> RemoteService:
    """Nothing is sent before the first call."""
    return cast(RemoteService, RemoteKeyService(path, timeout_s=timeout_s))


# -- frames -------------------------------------------------------------------------------------------------------


def send(line: socket.socket, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode("ascii")
    line.sendall(_LENGTH.pack(len(body)) + body)


def receive(line: socket.socket) -> bytes | None:
    """One frame; None at the end of the connection. Raises RemoteProtocolError for one that is too long or cut."""
    head = _read(line, _LENGTH.size)
    if not head:
        return None
    if len(head) < _LENGTH.size:
        raise RemoteProtocolError("a frame was cut off")
    (length,) = _LENGTH.unpack(head)
    if length > MAX_FRAME:
        raise RemoteProtocolError(f"a frame has at most {MAX_FRAME} bytes")
    body = _read(line, length)
    if len(body) < length:
        raise RemoteProtocolError("a frame was cut off")
    return body


def _read(line: socket.socket, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        part = line.recv(length - len(found))
        if not part:
            break
        found += part
    return bytes(found)


def _peer(line: socket.socket) -> int:
    """User id of the other end; systems without SO_PEERCRED rely on the mode of the socket file."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.getuid()
    raw = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", raw)
    return int(user)


def encode(value: object) -> Any:
    """JSON form. Raises BadInputError for what the contract has no name for."""
    if isinstance(value, StrEnum):
        return {"enum": type(value).__name__, "value": value.value}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, bytes | bytearray):
        return {"bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, list | tuple):
        return {"list": [encode(item) for item in value], "is_tuple": isinstance(value, tuple)}
    if is_dataclass(value) and type(value).__name__ in _VALUES:
        content = {field.name: encode(getattr(value, field.name)) for field in fields(value)}
        return {"type": type(value).__name__, "fields": content}
    raise BadInputError(f"{type(value).__name__} is not part of the key service's contract")


def decode(value: Any, depth: int = 0) -> Any:
    """The value of `encode`. Raises BadInputError."""
    if depth > MAX_DEPTH:
        raise BadInputError("a value of the key service is nested too deep")
    if value is None or isinstance(value, bool | int | str):
        return value
    try:
        if "bytes" in value:
            return base64.b64decode(value["bytes"], validate=True)
        if "enum" in value:
            return _ENUMS[value["enum"]](value["value"])
        if "list" in value:
            items = [decode(item, depth + 1) for item in value["list"]]
            return tuple(items) if value["is_tuple"] else items
        content = {str(name): decode(item, depth + 1) for name, item in value["fields"].items()}
        return _VALUES[value["type"]](**content)
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise BadInputError("a value of the key service is malformed") from error
