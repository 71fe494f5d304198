"""Requests made up from the service's own description; `onecard bench --only api` sends ten times as many."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.api import Target, ask_all, serving
from tests.cardlib.support import key_service

EXAMPLES = 3


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with serving(key_service(), Path(tmp_path_factory.mktemp("api"))) as service:
        yield service


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_every_operation_answers_as_described(target: Target, mode: str) -> None:
    row = ask_all(target, mode, EXAMPLES)
    assert row.complaints == []
    assert row.operations > 80
    assert row.requests > row.operations * 2
    assert (row.accepted > row.operations // 2) is (mode == "positive")
