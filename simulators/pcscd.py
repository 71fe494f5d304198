"""A private PC/SC service with virtual readers, for one run or one test worker.

pcscd takes a listening socket on file descriptor 3 (LISTEN_FDS, LISTEN_PID), so any number of instances live side by
side without touching the machine's own. Clients find it through the variables in `env`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar, Literal

from simulators import ifd

Driver = Literal["vpcd", "onecard"]

PCSCD_PLACES = ("/usr/sbin/pcscd", "/usr/local/sbin/pcscd")
VPCD_LIBRARY = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
SLOTS_PER_VPCD = 2
VPCDS_MAX = 8
CARD_TIMEOUT_S = 10.0
START_ATTEMPTS = 5
START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 15.0
SOCKET_PATH_MAX = 107
PR_SET_PDEATHSIG = 1
LISTEN_FD = 3
TCP_LISTEN = "0A"


class PcscdError(Exception):
    """The private PC/SC service cannot be had on this machine."""

    failure: ClassVar[str] = "READER_SERVICE_UNAVAILABLE"


def find_pcscd() -> str | None:
    return shutil.which("pcscd") or next((place for place in PCSCD_PLACES if Path(place).exists()), None)


def is_available(driver: Driver = "vpcd") -> tuple[bool, str]:
    """Whether `PrivatePcscd` can start here, and if not what is missing."""
    if not sys.platform.startswith("linux"):
        return False, "private pcscd instances need Linux"
    if find_pcscd() is None:
        return False, "pcscd is not installed (Debian package pcscd)"
    if driver == "onecard":
        return ifd.is_available()
    if not VPCD_LIBRARY.exists():
        return False, "the virtual reader driver is not installed (Debian package vsmartcard-vpcd)"
    return True, ""


class PrivatePcscd:
    """pcscd with `vpcds` virtual readers of two slots each. A context manager.

    With the driver `vpcd` cards plug into `ports` (VpcdLink). With `onecard`, our own, every slot is a reader, cards
    plug into `sockets` (IfdLink), are noticed at once, and one that hangs for `card_timeout_s` is out of its reader.

    It ends with the thread that started it, so that a killed test leaves nothing behind: start it from a thread that
    lives as long as the service is wanted.
    """

    def __init__(self, vpcds: int = 1, *, driver: Driver = "vpcd", card_timeout_s: float = CARD_TIMEOUT_S) -> None:
        if not 1 <= vpcds <= VPCDS_MAX:
            raise ValueError(f"1 to {VPCDS_MAX} virtual readers, not {vpcds}")
        self.vpcds = vpcds
        self.driver = driver
        self.card_timeout_s = card_timeout_s
        self.ports: list[int] = []
        self.sockets: list[str] = []
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket_path(self) -> str:
        return str(self._require_folder() / "comm")

    @property
    def env(self) -> dict[str, str]:
        """For client processes; libpcsclite reads it once, so set it before the first PC/SC call."""
        return {"PCSCLITE_CSOCK_NAME": self.socket_path}

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> PrivatePcscd:
        """Raises PcscdError. Port clashes with other processes are retried."""
        available, reason = is_available(self.driver)
        if not available:
            raise PcscdError(reason)
        self._folder = Path(tempfile.mkdtemp(prefix="onecard-"))
        if len(self.socket_path) > SOCKET_PATH_MAX:
            self.stop()
            raise PcscdError("the temporary folder's path is too long for a socket")
        self._launch()
        return self

    def restart(self) -> None:
        """Kill it and start it again at the same socket. All cards are out, and `ports` are others.

        Raises PcscdError. From the thread that started it.
        """
        self.kill()
        self._launch()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL; the folder goes with it."""
        self._end_process()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def kill(self) -> None:
        """End it the hard way: also frees a client blocked in a call."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> PrivatePcscd:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _launch(self) -> None:
        configure = self._configure if self.driver == "vpcd" else self._configure_onecard
        for _ in range(START_ATTEMPTS):
            configure()
            self._spawn()
            if self._is_ready():
                return
            self._end_process()
        log = (self._require_folder() / "log").read_text(errors="replace")[-500:]
        self.stop()
        raise PcscdError(f"pcscd did not start: {log}")

    def _require_folder(self) -> Path:
        if self._folder is None:
            raise PcscdError("the private pcscd is not running")
        return self._folder

    def _configure(self) -> None:
        """One reader entry per virtual reader, each on its own copy of the driver.

        The driver keeps its connections in static variables indexed by slot; two entries on one loaded library would
        share them, and dlopen sees through links.
        """
        folder = self._require_folder()
        conf = folder / "reader.conf.d"
        conf.mkdir(exist_ok=True)
        base = _free_ports(self.vpcds * SLOTS_PER_VPCD)
        self.ports = list(range(base, base + self.vpcds * SLOTS_PER_VPCD))
        entries = []
        for index in range(self.vpcds):
            library = folder / f"libifdvpcd-{index}.so"
            if not library.exists():
                shutil.copy(VPCD_LIBRARY.resolve(), library)
            port = self.ports[index * SLOTS_PER_VPCD]
            entries.append(
                f'FRIENDLYNAME "OneCard Virtual Reader {index}"\nDEVICENAME /dev/null:{port}\n'
                f"LIBPATH {library}\nCHANNELID {port}\n"
            )
        (conf / "onecard").write_text("\n".join(entries), encoding="ascii")

    def _configure_onecard(self) -> None:
        """All readers on one library; its table has room for as many as pcscd has."""
        folder = self._require_folder()
        conf = folder / "reader.conf.d"
        conf.mkdir(exist_ok=True)
        library = folder / ifd.LIBRARY
        try:
            if not library.exists():
                ifd.build(folder)
        except ifd.IfdBuildError as error:
            self.stop()
            raise PcscdError(str(error)) from error
        entries = []
        numbers = range(self.vpcds * SLOTS_PER_VPCD)
        self.sockets = [str(folder / f"slot-{number}") for number in numbers]
        for number in numbers:
            Path(self.sockets[number]).unlink(missing_ok=True)
            entries.append(
                f'FRIENDLYNAME "OneCard Reader {number:02d}"\n'
                f"DEVICENAME {folder}:{number}:{round(self.card_timeout_s * 1000)}\n"
                f"LIBPATH {library}\nCHANNELID {number}\n"
            )
        (conf / "onecard").write_text("\n".join(entries), encoding="ascii")

    def _spawn(self) -> None:
        folder = self._require_folder()
        Path(self.socket_path).unlink(missing_ok=True)
        command = [find_pcscd() or "pcscd", "--foreground", "--error", "--config", str(folder / "reader.conf.d")]
        if _has_polkit_switch(command[0]):
            command.append("--disable-polkit")
        # LISTEN_PID must be pcscd's own: a shell sets it and becomes pcscd
        shell = 'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, (folder / "log").open("ab") as log:
            listener.bind(self.socket_path)
            listener.listen(64)
            fd = listener.fileno()
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", shell, "sh", *command],
                preexec_fn=lambda: _prepare_child(fd),
                pass_fds=(fd, LISTEN_FD),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _is_ready(self) -> bool:
        """Ready when every port and socket listens. Not tried by connecting: that would be a card insertion."""
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                return False
            if set(self.ports) <= _listening_ports() and all(Path(path).exists() for path in self.sockets):
                return True
            time.sleep(0.002)
        return False

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _prepare_child(fd: int) -> None:
    """Die with the parent, however it ends; the listening socket becomes descriptor 3."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if fd == LISTEN_FD:
        os.set_inheritable(LISTEN_FD, True)
    else:
        os.dup2(fd, LISTEN_FD, inheritable=True)


def _has_polkit_switch(pcscd: str) -> bool:
    """Newer pcscd asks polkit, which a private instance must not need."""
    answer = subprocess.run([pcscd, "--help"], capture_output=True, text=True, check=False, timeout=30)
    return "--disable-polkit" in answer.stdout + answer.stderr


def _free_ports(count: int) -> int:
    """First of `count` consecutive free TCP ports."""
    for _ in range(200):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            base = int(probe.getsockname()[1])
        if base + count > 0xFFFF:
            continue
        with contextlib.ExitStack() as stack:
            try:
                for port in range(base, base + count):
                    stack.enter_context(socket.socket()).bind(("0.0.0.0", port))  # noqa: S104 (as vpcd will)
            except OSError:
                continue
            return base
    raise PcscdError("no run of free TCP ports")


def _listening_ports() -> set[int]:
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            rows = [line.split() for line in Path(table).read_text(encoding="ascii").splitlines()[1:]]
            ports |= {int(row[1].rsplit(":", 1)[1], 16) for row in rows if row[3] == TCP_LISTEN}
    return ports
