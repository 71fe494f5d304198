"""Engine where the system has no suitable OpenSSL: fast symmetric ciphers, SM2 over gmssl."""

from __future__ import annotations

from hsm.primitives.fast import FastSymmetric
from hsm.primitives.portable import PortableSm2


class HybridEngine(FastSymmetric, PortableSm2):
    name = "hybrid"
