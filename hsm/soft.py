"""The embedded key service: keys in a sealed file, used in this process.

Open keys live in bytearrays that are overwritten when a key is destroyed or the service closed; copies that Python and
the libraries make while computing are beyond its reach.
"""

from __future__ import annotations

from hsm.service import StoreKeyService


class SoftKeyService(StoreKeyService):
    """A key service that was given no device."""
