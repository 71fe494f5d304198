"""A simulated PSAM (网点终端安全存取模块): keys, authentication, message keys, settlement (psam.md 1 to 4)."""

from simulators.psam.build import build_psam
from simulators.psam.card import AID_APPLICATION, ATR, SimPsam
from simulators.psam.state import ControlKey, KeyRecord, PsamState, PsamStateError, PsamStore

__all__ = [
    "AID_APPLICATION",
    "ATR",
    "ControlKey",
    "KeyRecord",
    "PsamState",
    "PsamStateError",
    "PsamStore",
    "SimPsam",
    "build_psam",
]
