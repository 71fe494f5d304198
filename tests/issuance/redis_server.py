"""A private Redis for tests: in a temporary folder, reached over a Unix socket, in memory only, gone afterwards."""

from __future__ import annotations

import ctypes
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

START_TIMEOUT_S = 60.0
PR_SET_PDEATHSIG = 1


def program() -> str | None:
    return shutil.which("redis-server") or shutil.which("valkey-server")


class RedisServer:
    """Started and stopped at will; what it held is gone when it comes back."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._socket = folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ("--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no")
        self._process = subprocess.Popen(
            [self._program, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._socket.parent,
            preexec_fn=_die_with_parent,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                with Redis(unix_socket_path=str(self._socket)) as client:
                    client.ping()
            except (RedisError, OSError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def empty(self) -> None:
        with Redis(unix_socket_path=str(self._socket)) as client:
            client.flushall()

    def held(self) -> bytes:
        """Every key and every field of it."""
        with Redis(unix_socket_path=str(self._socket)) as client:
            parts: list[bytes] = []
            for key in client.scan_iter():
                parts.append(key)
                if client.type(key) == b"hash":
                    parts += [part for pair in client.hgetall(key).items() for part in pair]
                else:
                    parts.append(client.get(key) or b"")
            return b"\n".join(parts)

    def dump(self) -> dict[bytes, bytes]:
        with Redis(unix_socket_path=str(self._socket)) as client:
            return {key: client.dump(key) or b"" for key in client.scan_iter()}

    def restore(self, dump: dict[bytes, bytes]) -> None:
        """What it held then, and nothing of what came since."""
        self.empty()
        with Redis(unix_socket_path=str(self._socket)) as client:
            for key, value in dump.items():
                client.restore(key, 0, value)


@contextmanager
def running(program: str) -> Iterator[RedisServer]:
    folder = Path(tempfile.mkdtemp(prefix="onecard-redis-"))
    server = RedisServer(program, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _die_with_parent() -> None:
    """However the tests end, the server ends with them."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
