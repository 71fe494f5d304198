"""Points at which a test lets a process die or lose its database: ONECARD_CRASH_AT=kill:print.done,sever:reserve.done.

Nothing but tests sets the variable; without it a point costs one look into the environment.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "ONECARD_CRASH_AT"
_struck: set[str] = set()


def strikes(act: str, point: str) -> bool:
    """Whether `act` is to happen at this point; once in a process."""
    wanted = f"{act}:{point}"
    if wanted in _struck or wanted not in os.environ.get(VARIABLE, "").split(","):
        return False
    _struck.add(wanted)
    return True


def reach(point: str) -> None:
    """The process ends here, as by kill -9, where that is asked for."""
    if strikes("kill", point):
        os.kill(os.getpid(), signal.SIGKILL)
