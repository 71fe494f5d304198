"""Every backend of the key service, as the contract suite meets it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from hsm.api import CARD_PURPOSES, Algorithm, KeyRef, KeyService, Purpose
from hsm.device import SessionSource
from hsm.pkcs11 import Pkcs11Source, load_profile
from hsm.pool import DevicePool
from hsm.primitives import default_engine
from hsm.remote import KeyServer, connect
from hsm.sdf import SdfSource
from hsm.sealed_store import ScryptCost
from hsm.service import StoreKeyService
from hsm.soft import SoftKeyService
from simulators import pkcs11_device
from simulators.sdf_device import build, init_device, is_available
from tests.hsm.sdf_stand import profile_of
from tests.hsm.softhsm import SoftHsm, shipped, softhsm_problem
from tests.hsm.vector_files import own, unhex

CARD = own("vectors_card_crypto.json")
META = CARD["meta"]
CHEAP = ScryptCost(n=2)
WORDS = "correct horse battery"
PURPOSES = {
    "STK": Purpose.MESSAGE,
    "STKDF03": Purpose.MESSAGE,
    "DPK": Purpose.PURCHASE,
    "DLK": Purpose.LOAD,
    "DTK": Purpose.TAC,
}

_LIBRARIES: dict[str, Path] = {}


@dataclass(frozen=True)
class Backend:
    """`open` gives a service with an empty table, closed with the stack."""

    name: str
    open: Callable[[Path, ExitStack], StoreKeyService]


def soft(folder: Path, stack: ExitStack) -> StoreKeyService:
    return stack.enter_context(SoftKeyService.create(folder / "store", WORDS, cost=CHEAP))


def remote(folder: Path, stack: ExitStack) -> StoreKeyService:
    """The soft service in the place of another process, with what the suite looks at beside the contract."""
    service = soft(folder, stack)
    server = KeyServer(folder / "keys.socket", service, may_manage=True)
    thread = threading.Thread(target=server.serve)
    thread.start()
    stack.callback(thread.join)
    stack.callback(server.close)
    client: Any = stack.enter_context(closing(connect(folder / "keys.socket")))
    client.device, client.table = service.device, service.table
    return cast(StoreKeyService, client)


def pkcs11(folder: Path, stack: ExitStack) -> StoreKeyService:
    """SoftHSM2: 3DES, P-256 and RSA."""
    token = _softhsm(folder, stack)
    token.token()
    return _pooled(folder, stack, [token.source(algorithms=frozenset({Algorithm.TDES, Algorithm.P256, Algorithm.RSA}))])


def pkcs11_vendor(folder: Path, stack: ExitStack) -> StoreKeyService:
    """The same token behind a library that offers SM2 and SM4 under a maker's numbers."""
    token = _softhsm(folder, stack)
    token.token()
    if not is_available()[0]:
        pytest.skip(is_available()[1])
    library = _built("vendor", lambda: pkcs11_device.build(folder, shipped().library))
    source = Pkcs11Source(replace(load_profile(pkcs11_device.PROFILE), library=library))
    token.sources.append(source)
    return _pooled(folder, stack, [source])


def sdf(folder: Path, stack: ExitStack) -> StoreKeyService:
    """Two machines of our own library with the same keys."""
    if not is_available()[0]:
        pytest.skip(is_available()[1])
    library = _built("sdf", lambda: build(folder))
    devices = [init_device(folder / f"machine-{n}", seed="contract", library=library) for n in (1, 2)]
    sources = [SdfSource(profile_of(d), d.library, folder / "claims", name=d.folder.name) for d in devices]
    return _pooled(folder, stack, sources)


def _built(name: str, build_it: Callable[[], Path]) -> Path:
    """A library is compiled for the first test that wants it; pytest keeps that test's folder until the end."""
    if name not in _LIBRARIES:
        _LIBRARIES[name] = build_it()
    return _LIBRARIES[name]


def _softhsm(folder: Path, stack: ExitStack) -> SoftHsm:
    if problem := softhsm_problem():
        pytest.skip(problem)
    token = SoftHsm(folder, stack.enter_context(pytest.MonkeyPatch.context()))
    stack.callback(token.release)
    return token


def _pooled(folder: Path, stack: ExitStack, sources: Sequence[SessionSource]) -> StoreKeyService:
    device = DevicePool(sources, wait_s=30)  # many threads on a busy machine
    return stack.enter_context(StoreKeyService.create(folder / "store", WORDS, cost=CHEAP, device=device))


BACKENDS = [
    Backend("soft", soft),
    Backend("remote", remote),
    Backend("pkcs11", pkcs11),
    Backend("pkcs11-vendor", pkcs11_vendor),
    Backend("sdf", sdf),
]


@contextmanager
def opened(backend: Backend, folder: Path) -> Iterator[StoreKeyService]:
    """Skips with a reason where the backend's software is not there."""
    with ExitStack() as stack:
        yield backend.open(folder, stack)


def algorithms(service: StoreKeyService) -> frozenset[Algorithm]:
    return service.device.algorithms


def needs(service: StoreKeyService, *wanted: Algorithm) -> None:
    missing = set(wanted) - algorithms(service)
    if missing:
        pytest.skip(f"{service.device.name} has no {', '.join(sorted(missing))}")


def put(service: KeyService, key: KeyRef, purpose: Purpose, value: bytes, *, level: int = 0) -> None:
    """By components, as custodians bring a key whose value the test knows."""
    mask = default_engine().sm3(str(key).encode())[: len(value)]
    shares = [mask, bytes(a ^ b for a, b in zip(mask, value, strict=True))]
    service.import_components(key, purpose, shares, level=level)


def put_roots(service: KeyService, algorithm: Algorithm) -> None:
    """The vectors' root keys in one environment, and a master key D0 D1 … DF."""
    put(service, KeyRef("TMK_SSSE", algorithm), Purpose.MASTER, bytes(range(0xD0, 0xE0)))
    for name, root in META["root_keys"].items():
        value = unhex(root["key"])
        is_single = algorithm is Algorithm.TDES and name.startswith("STK")
        purpose = PURPOSES.get(name, Purpose.AUTHENTICATION)
        assert purpose in CARD_PURPOSES
        put(service, KeyRef(name, algorithm), purpose, value[:8] if is_single else value, level=root["level"])
