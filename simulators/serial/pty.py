"""The far end of a serial line, on a pseudo-terminal. Speed and parity mean nothing there."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import tempfile
import threading
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Self

CHUNK = 4096


class PtyDevice:
    """A device plugged into `path`, which stays the same over `unplug` and `plug`. A context manager.

    Subclasses answer bytes in `receive`, on the device's own thread. `mangle` changes every message on its way out, a
    line that is cut or disturbed; while `is_frozen` nothing is answered, and what came in that time never is.
    """

    def __init__(self, label: str = "device") -> None:
        self.is_frozen = False
        self.mangle: Callable[[bytes], bytes] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="onecard-"))
        self._link = self._folder / f"tty-{label}"
        self._guard = threading.Lock()
        self._ends: tuple[int, int] | None = None
        self._bell: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None
        self.plug()

    @property
    def path(self) -> str:
        return str(self._link)

    def receive(self, data: bytes) -> bytes:
        """The answer to what the host sent, empty for none yet."""
        raise NotImplementedError

    def reset(self) -> None:
        """The device got power: half-received requests are forgotten."""

    def plug(self) -> None:
        """Nothing when it is plugged in."""
        with self._guard:
            if self._ends is not None:
                return
            # Our own hold on the host's end: without one, reads fail until a host has opened the line.
            ends = self._ends = os.openpty()
            tty.setraw(ends[1])
            bell = self._bell = os.pipe()
            self.reset()
            fresh = self._folder / "fresh"
            fresh.symlink_to(os.ttyname(ends[1]))
            fresh.replace(self._link)
            self._thread = threading.Thread(target=self._serve, args=(ends, bell[0]), name=self._link.name, daemon=True)
            self._thread.start()

    def unplug(self) -> None:
        """Both ends go, as with a cable that is pulled: a waiting host sees it at once."""
        with self._guard:
            ends, bell, thread = self._ends, self._bell, self._thread
            if ends is None or bell is None:
                return
            self._ends = self._bell = None
            self._link.unlink(missing_ok=True)
            os.write(bell[1], b"!")
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        for descriptor in (*ends, *bell):
            os.close(descriptor)

    def close(self) -> None:
        self.unplug()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def send(self, message: bytes) -> None:
        """Unasked, as a scanner does. Lost when the device is unplugged or frozen."""
        with self._guard:
            if self._ends is None or self.is_frozen:
                return
            if self.mangle is not None:
                message = self.mangle(message)
            view = memoryview(message)
            while view:
                view = view[os.write(self._ends[0], view) :]

    def _serve(self, ends: tuple[int, int], bell: int) -> None:
        poll = select.poll()
        poll.register(ends[0], select.POLLIN)
        poll.register(bell, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if bell in ready:
                return
            with contextlib.suppress(OSError):
                data, is_frozen = os.read(ends[0], CHUNK), self.is_frozen
                answer = self.receive(data)
                if answer and not is_frozen and self._ends is ends:
                    self.send(answer)
