"""A private PostgreSQL for tests: its own cluster in a temporary folder, reached over a Unix socket, gone afterwards.

Nothing of it survives a power cut, which tests do not need. PostgreSQL refuses to run as root, so under root the
cluster belongs to an unprivileged account.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

ACCOUNTS = ("postgres", "nobody")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
PR_SET_PDEATHSIG = 1
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "max_wal_size": "32MB",
    "dynamic_shared_memory_type": "mmap",  # containers have a small /dev/shm
    "deadlock_timeout": "100ms",
    "timezone": "Asia/Shanghai",  # so that a time which lost its zone shows
}


class PostgresError(Exception):
    """The private PostgreSQL did not come up."""


def binaries() -> Path | None:
    """Folder of the server's programs: the newest of Debian's, else where `initdb` is on the path."""
    versions = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if versions:
        return max(versions, key=lambda path: [int(part) for part in path.parent.name.split(".")])
    found = shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


class Postgres:
    """One running cluster; `url` names a database of it the way the service's settings do."""

    def __init__(self, programs: Path, folder: Path, **settings: str) -> None:
        self._programs = programs
        self._settings = SETTINGS | settings
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        account = _account(self.folder)
        options = (
            "--no-sync",
            "--username=onecard",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--wal-segsize=1",
        )
        command = [str(self._programs / "initdb"), *options, f"--pgdata={self.data}"]
        made = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, **account)
        if made.returncode:
            raise PostgresError(f"initdb: {made.stderr}")
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self.data), "-k", str(self.folder), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=_die_with_parent,
                **account,
            )
        self._await_answer()

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)  # fast shutdown: sessions are ended
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(STOP_TIMEOUT_S)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://onecard@/{database}?host={self.folder}"

    def create(self, database: str, template: str = "template0") -> None:
        self._execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')

    def drop(self, database: str) -> None:
        self._execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def stored(self, database: str) -> bytes:
        """Every byte the server keeps of a database: tables, write-ahead log, server log."""
        self._execute("CHECKPOINT")
        with psycopg.connect(host=str(self.folder), user="onecard", dbname=database) as connection:
            row = connection.execute("SELECT oid::text FROM pg_database WHERE datname = current_database()").fetchone()
        assert row is not None
        folders = (self.data / "base" / row[0], self.data / "pg_wal")
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return b"".join(_read(path) for path in [*files, self.log])

    def _execute(self, statement: str) -> None:
        with psycopg.connect(
            host=str(self.folder), user="onecard", dbname="postgres", autocommit=True, connect_timeout=30
        ) as connection:
            connection.execute(statement)

    def _await_answer(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self._execute("SELECT 1")
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise PostgresError(self.log.read_text(errors="replace")) from error
                time.sleep(0.02)
            else:
                return


@contextmanager
def running(programs: Path, **settings: str) -> Iterator[Postgres]:
    """`settings` of the server that are not those of `SETTINGS`."""
    folder = Path(tempfile.mkdtemp(prefix="onecard-pg-"))
    server = Postgres(programs, folder, **settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # a piece of the write-ahead log that is used again under another name
        return b""


def _account(folder: Path) -> dict[str, Any]:
    """Options of `subprocess` that leave root; the folder is given to that account."""
    if os.geteuid() != 0:
        return {}
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise PostgresError(f"PostgreSQL does not run as root, and there is no account {' or '.join(ACCOUNTS)}")


def _die_with_parent() -> None:
    """However the tests end, the server ends with them. Runs after the change of account, which would undo it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
