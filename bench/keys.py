"""A ministry and a key service that belong together, for the length of one measurement."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from onecard_cli.home import import_roots
from simulators.ministry import RootKeys


@contextmanager
def simulated_keys() -> Iterator[tuple[SoftKeyService, RootKeys]]:
    """Random roots, in the service as in the cards; nothing stays behind."""
    roots = RootKeys.generate()
    with TemporaryDirectory(prefix="onecard-bench-") as folder:
        store, passphrase = Path(folder) / "keys.json", secrets.token_urlsafe(16)
        # The store's own cost is not what is measured here.
        with SoftKeyService.create(store, passphrase, cost=ScryptCost(n=2, r=8, p=1)) as service:
            import_roots(service, roots)
            yield service, roots
