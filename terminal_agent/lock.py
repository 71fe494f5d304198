"""Remote lock: the centre takes this terminal out of use. It holds over a restart, and without a network."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from cardlib.terminal_state import Lock
from hsm.sealed_store import write_atomically
from terminal_agent.hub import EventHub
from terminal_agent.problems import AgentError

TERMINAL_LOCKED: Final = "terminal_locked"
TERMINAL_UNLOCKED: Final = "terminal_unlocked"
_UNREADABLE: Final = Lock(reason="停用记录损坏 / the record of the lock is damaged", contact="中心 / the centre")
LOG = logging.getLogger("terminal_agent.lock")


class TerminalLockedError(AgentError):
    """No card work here until the centre unlocks; the detail says why and whom to call."""

    failure: ClassVar[str] = "TERMINAL_LOCKED"

    def __init__(self, lock: Lock) -> None:
        super().__init__(f"{lock.reason}; {lock.contact}")
        self.extra: Mapping[str, Any] = {"lock": lock.model_dump()}


class TerminalLock:
    """`file` None: forgotten at the end. On the event loop, but for `demand_open`."""

    def __init__(self, hub: EventHub, file: Path | None) -> None:
        self._hub = hub
        self._file = file
        self.lock = _kept(file)

    def demand_open(self) -> None:
        """Before a card, or an identity card, is touched. Raises TerminalLockedError."""
        if self.lock is not None:
            raise TerminalLockedError(self.lock)

    def set(self, lock: Lock | None) -> None:
        """As the centre says. A session that runs is let end: half a card is worse than one more."""
        lock = None if lock is None else lock.shown()
        if lock == self.lock:
            return
        self.lock = lock
        self._keep()
        if lock is None:
            LOG.info("unlocked by the centre")
            self._hub.publish(TERMINAL_UNLOCKED, {})
        else:
            LOG.warning("locked by the centre")
            self._hub.publish(TERMINAL_LOCKED, lock.model_dump())

    def _keep(self) -> None:
        if self._file is None:
            return
        try:
            if self.lock is None:
                self._file.unlink(missing_ok=True)
            else:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(self._file, self.lock.model_dump_json().encode())
        except OSError as error:
            LOG.error("%s cannot be written: %s", self._file.name, error.strerror)


def _kept(file: Path | None) -> Lock | None:
    """A file that cannot be read locks: else damaging it would unlock."""
    if file is None:
        return None
    try:
        return Lock.model_validate(json.loads(file.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        LOG.error("%s cannot be read", file.name)
        return _UNREADABLE
