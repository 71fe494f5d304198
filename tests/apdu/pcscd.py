"""A pcscd of one's own that can be killed and started again at the same socket."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PCSCD = shutil.which("pcscd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
VPCD = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")

# pcscd takes a listening socket on descriptor 3; LISTEN_PID must be its own pid, which only the shell that becomes
# it knows. It dies with the process that started it, however that one ends.
LAUNCH = 'export LISTEN_FDS=1 LISTEN_PID=$$; exec setpriv --pdeathsig TERM "$@"'
TRIES = 3


def missing() -> str:
    """Why this machine cannot run it, "" when it can."""
    if PCSCD is None or not VPCD.exists() or shutil.which("setpriv") is None:
        return "needs pcscd, vsmartcard-vpcd and setpriv"
    return ""


class TestPcscd:
    __test__ = False

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="apdu-"))
        self.socket = self.directory / "comm"
        self.ports: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """With new ports: those of a killed daemon stay in TIME_WAIT. Another program may be quicker to take one."""
        for _ in range(TRIES):
            if self._started():
                return
            self.kill()
        raise RuntimeError("pcscd did not come up")

    def _started(self) -> bool:
        port = _free_pair()
        self.ports = [port, port + 1]
        config = self.directory / "conf"
        config.mkdir(exist_ok=True)
        (config / "vpcd").write_text(
            f'FRIENDLYNAME "Virtual PCD"\nDEVICENAME /dev/null:{port}\nLIBPATH {VPCD}\nCHANNELID {port}\n'
        )
        self.socket.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.socket))
            listening.listen(64)
            descriptor = listening.fileno()
            self._process = subprocess.Popen(
                # bash: dash takes no descriptor above 9.
                ["bash", "-c", f"exec 3<&{descriptor}; {LAUNCH}", "bash", str(PCSCD), "-f", "-e", "-c", str(config)],
                pass_fds=(descriptor,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        end = time.monotonic() + 20
        while time.monotonic() < end and self._process.poll() is None:
            if set(self.ports) <= _listening():
                return True
            time.sleep(0.005)
        return False

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def stop(self) -> None:
        self.kill(signal.SIGTERM)
        shutil.rmtree(self.directory, ignore_errors=True)


def _free_pair() -> int:
    """The first of two ports nobody has; one in use by another would cost a whole start."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


def _listening() -> set[int]:
    """A look, not a try: a connection would be the insertion of a card."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A"}
