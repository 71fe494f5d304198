"""The key service on every backend of this machine, each with the same random keys, for the length of a measurement.

`soft` in this process, `remote` the same in a process of its own, `pkcs11` two SoftHSM2 tokens, `sdf` two simulated
machines. A backend whose software is missing is skipped with the reason.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from hsm import pkcs11, sdf
from hsm.api import CARD_ALGORITHMS, Algorithm, KeyRef, KeyService, Purpose
from hsm.configuration import KeyConfiguration
from hsm.pool import DevicePool
from hsm.primitives import default_engine
from hsm.remote import KeyServer, connect
from hsm.sealed_store import ScryptCost
from hsm.service import StoreKeyService
from simulators import sdf_device

CHEAP: Final = ScryptCost(n=2)
"""The store's own cost is not what is measured here."""
SESSIONS: Final = 16
ROOTS: Final = {"IRK": Purpose.AUTHENTICATION, "STK": Purpose.MESSAGE}
START_S: Final = 20.0
_PKCS11_PROFILE = Path(pkcs11.__file__).parent / "profiles" / "softhsm2.toml"
_SDF_PROFILE = Path(sdf.__file__).parent / "profiles" / "onecard_simulator.toml"


class BackendMissingError(Exception):
    """What this machine lacks for a backend."""


@dataclass(frozen=True, slots=True)
class Roots:
    """Values known to the measurement, to compute beside the service."""

    values: dict[KeyRef, bytes] = field(repr=False)

    @classmethod
    def random(cls) -> Roots:
        return cls(
            {KeyRef(name, algorithm): secrets.token_bytes(16) for name in ROOTS for algorithm in CARD_ALGORITHMS}
        )


@dataclass(frozen=True, slots=True)
class Stand:
    """A backend filled with the roots. `lose` takes a machine away in mid-work and `restore` brings it back;
    `has_spare` tells whether another machine goes on meanwhile."""

    name: str
    service: KeyService
    algorithms: frozenset[Algorithm]
    lose: Callable[[], None]
    restore: Callable[[], None]
    has_spare: bool
    pool: DevicePool | None = None

    def refs(self, name: str) -> list[KeyRef]:
        return [KeyRef(name, algorithm) for algorithm in CARD_ALGORITHMS if algorithm in self.algorithms]


@contextmanager
def opened(name: str, roots: Roots) -> Iterator[Stand]:
    """Raises BackendMissingError."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="onecard-bench-")))
        stand = BACKENDS[name](folder, stack)
        _fill(stand, roots)
        yield stand


def _fill(stand: Stand, roots: Roots) -> None:
    for ref, value in roots.values.items():
        if ref.algorithm in stand.algorithms:
            share = secrets.token_bytes(len(value))
            other = bytes(a ^ b for a, b in zip(share, value, strict=True))
            stand.service.import_components(ref, ROOTS[ref.name], [share, other], level=1)
    cipher = Algorithm.SM4 if Algorithm.SM4 in stand.algorithms else Algorithm.TDES
    stand.service.generate(KeyRef("records", cipher), Purpose.SEAL)
    pair = Algorithm.SM2 if Algorithm.SM2 in stand.algorithms else Algorithm.P256
    stand.service.generate_pair(KeyRef("issuer", pair))


def _soft(folder: Path, stack: ExitStack) -> Stand:
    """Has no machine to lose: another program changes the store instead, which this one must take in."""
    store, words = folder / "store", secrets.token_urlsafe(16)
    service = stack.enter_context(StoreKeyService.create(store, words, cost=CHEAP))

    def another_program() -> None:
        with StoreKeyService.open(store, words) as other:
            other.generate(KeyRef("other", Algorithm.SM4), Purpose.SEAL)
            other.destroy(KeyRef("other", Algorithm.SM4))

    return Stand("soft", service, frozenset(Algorithm), another_program, another_program, has_spare=True)


def _remote(folder: Path, stack: ExitStack) -> Stand:
    store, words, path = folder / "store", secrets.token_urlsafe(16), folder / "keys.socket"
    StoreKeyService.create(store, words, cost=CHEAP).close()
    context, running = multiprocessing.get_context("spawn"), []

    def start() -> None:
        process = context.Process(target=_serve, args=(store, words, path), daemon=True)
        process.start()
        running.append(process)
        _wait_for(lambda: bool(client.keys() or True))

    def kill() -> None:
        process = running.pop()
        process.kill()
        process.join()

    client = stack.enter_context(closing(connect(path)))
    start()
    stack.callback(lambda: kill() if running else None)
    return Stand("remote", client, frozenset(Algorithm), kill, start, has_spare=False)


def _serve(store: Path, words: str, path: Path) -> None:
    with StoreKeyService.open(store, words) as service:
        KeyServer(path, service, may_manage=True).serve()


def _pkcs11(folder: Path, stack: ExitStack) -> Stand:
    if shutil.which("softhsm2-util") is None:
        raise BackendMissingError("softhsm2-util is not installed (package softhsm2)")
    tokens, pin, wrapping = folder / "tokens", "31415926", secrets.token_bytes(32)
    tokens.mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\n")
    stack.enter_context(_environment(SOFTHSM2_CONF=str(folder / "softhsm2.conf"), ONECARD_TOKEN_PIN=pin))
    for label in ("first", "second"):
        command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "27182818", "--pin", pin]
        subprocess.run(command, check=True, capture_output=True)
        text = _PKCS11_PROFILE.read_text("utf-8").replace('label = "onecard" ', f'label = "{label}" ')
        # Of a token that is gone SoftHSM2 still uses what is unwrapped; with room for two keys that is soon noticed.
        text = text.replace("cached_keys = 128 ", "cached_keys = 2 ")
        (folder / f"{label}.toml").write_text(text, "utf-8")
        with closing(pkcs11.Pkcs11Source(pkcs11.load_profile(folder / f"{label}.toml"))) as source:
            source.ensure_wrapping_key(wrapping)
    machines = "".join(f'[[machine]]\nname = "{name}"\nprofile = "{name}.toml"\n' for name in ("first", "second"))
    service, pool = _pooled(folder, stack, f'backend = "pkcs11"\n{machines}')
    token = sorted(tokens.iterdir())[0]
    away = folder / "away"
    return Stand(
        "pkcs11",
        service,
        pool.algorithms,
        lambda: void(token.rename(away)),
        lambda: void(away.rename(token)),
        True,
        pool,
    )


def _sdf(folder: Path, stack: ExitStack) -> Stand:
    is_possible, reason = sdf_device.is_available()
    if not is_possible:
        raise BackendMissingError(reason)
    library = sdf_device.build(folder)
    machines = [sdf_device.init_device(folder / name, seed="bench", library=library) for name in ("first", "second")]
    stack.enter_context(_environment(ONECARD_SDF_PASSWORD=machines[0].password))
    shutil.copyfile(_SDF_PROFILE, folder / "profile.toml")
    text = "".join(
        f'[[machine]]\nname = "{device.folder.name}"\nprofile = "profile.toml"\nlibrary = "{device.library}"\n'
        for device in machines
    )
    service, pool = _pooled(folder, stack, f'backend = "sdf"\nclaims = "claims"\n{text}')
    return Stand("sdf", service, pool.algorithms, machines[0].unplug, machines[0].plug, has_spare=True, pool=pool)


def _pooled(folder: Path, stack: ExitStack, configuration: str) -> tuple[StoreKeyService, DevicePool]:
    text = f"{configuration}\n[pool]\nsessions = {SESSIONS}\nwait_s = 30\n"
    pool = KeyConfiguration.parse(text.encode(), folder).device(default_engine())
    assert isinstance(pool, DevicePool)
    words = secrets.token_urlsafe(16)
    return stack.enter_context(StoreKeyService.create(folder / "store", words, cost=CHEAP, device=pool)), pool


BACKENDS: Final[dict[str, Callable[[Path, ExitStack], Stand]]] = {
    "soft": _soft,
    "remote": _remote,
    "pkcs11": _pkcs11,
    "sdf": _sdf,
}


def void(_: object) -> None:
    """Drops an answer nobody asked for."""


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _wait_for(is_ready: Callable[[], bool]) -> None:
    from hsm.device import DeviceLostError

    end = time.monotonic() + START_S
    while True:
        try:
            is_ready()
        except DeviceLostError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return
