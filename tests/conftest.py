"""Tests marked `pcsc` need a PC/SC service: skipped with the reason where there is none, an error in CI."""

from __future__ import annotations

import functools
import gc
import os

import pytest
import typer.main
import typer.testing
from hypothesis import HealthCheck, settings

from apdu.pcsc import is_available as client_available
from simulators.pcscd import is_available as daemon_available

# Else each call of a test's runner reads the signatures of all commands again, a quarter of a second's work.
typer.testing._get_command = functools.cache(typer.main.get_command)

# How long an example takes is measured in bench/, on a quiet machine. Hypothesis' own profile for CI says the same.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])

gc.disable()  # until all is collected


def pcsc_problem() -> str:
    """What is missing, empty when nothing is."""
    for is_there, reason in (client_available(needs_service=False), daemon_available()):
        if not is_there:
            return reason
    return ""


def pytest_collection_finish() -> None:
    """What collecting made stays until the end: every full collection of garbage would look at all of it again."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A random example that fails has found something, whatever a second run of other examples says."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.flaky(reruns=0))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("pcsc") is None:
        return
    if problem := pcsc_problem():
        if os.environ.get("CI"):
            pytest.fail(f"CI must have PC/SC: {problem}", pytrace=False)
        pytest.skip(problem)
