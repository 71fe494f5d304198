"""PKCS#11 tokens as key devices, through ctypes and a profile per product.

source = Pkcs11Source(load_profile(path))
with contextlib.closing(source.open_session()) as session: ...
"""

from __future__ import annotations

from hsm.pkcs11.profile import Profile, load_profile, parse_profile
from hsm.pkcs11.session import Pkcs11Session
from hsm.pkcs11.source import Pkcs11Source, WrappingKeyMissingError

__all__ = [
    "Pkcs11Session",
    "Pkcs11Source",
    "Profile",
    "WrappingKeyMissingError",
    "load_profile",
    "parse_profile",
]
