"""Cryptographic machines with the interface of GM/T 0018 (SDF): `SdfSource` under a vendor profile."""

from hsm.profile_table import ProfileError
from hsm.sdf.profile import Profile, load_profile, parse_profile
from hsm.sdf.session import SdfSession
from hsm.sdf.source import SdfSource

__all__ = ["Profile", "ProfileError", "SdfSession", "SdfSource", "load_profile", "parse_profile"]
