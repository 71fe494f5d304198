"""Which engine this process uses: the fastest whose known answers are right, chosen once, the reason logged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

from hsm.primitives import known_answers, libcrypto
from hsm.primitives.engine import Engine, EngineUnavailableError
from hsm.primitives.fast import FastEngine

_LOG = logging.getLogger(__name__)


@cache
def portable_engine() -> Engine:
    """gmssl and pycryptodome; always there."""
    from hsm.primitives.portable import PortableEngine

    return PortableEngine()


@cache
def fast_engine() -> Engine:
    """cryptography and the system's OpenSSL; raises EngineUnavailableError saying what is missing."""
    return _checked(lambda: FastEngine(libcrypto.load()))


def _hybrid_engine() -> Engine:
    # Imported where it is needed: gmssl and pycryptodome are three megabytes that the fast engine does without.
    from hsm.primitives.hybrid import HybridEngine

    return _checked(HybridEngine)


@cache
def default_engine() -> Engine:
    """Fast, else fast but for SM2, else portable."""
    makers: tuple[Callable[[], Engine], ...] = (fast_engine, _hybrid_engine)
    for make in makers:
        try:
            engine = make()
        except EngineUnavailableError as error:
            _LOG.warning("slower cryptography engine: %s", error)
        else:
            _LOG.info("cryptography engine: %s", engine.name)
            return engine
    return portable_engine()


def engines() -> list[Engine]:
    """Every engine this machine can run, for tests that must hold on all of them."""
    found = [portable_engine()]
    try:
        found.append(fast_engine())
    except EngineUnavailableError as error:
        _LOG.warning("no fast engine: %s", error)
    return found


def _checked(make: Callable[[], Engine]) -> Engine:
    # A foreign library that is broken may fail in any way; whatever it raises means "not this engine".
    try:
        engine = make()
        known_answers.check(engine)
    except EngineUnavailableError:
        raise
    except Exception as error:
        raise EngineUnavailableError(f"engine failed its known-answer tests: {error!r}") from error
    return engine
