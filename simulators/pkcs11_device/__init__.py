"""A PKCS#11 token with a maker's own numbers for SM2 and SM4, before SoftHSM2: C source, profile, and its build."""

from __future__ import annotations

from simulators.pkcs11_device.library import PROFILE, build

__all__ = ["PROFILE", "build"]
