"""What a client of an older level was answered it is still answered: recordings made with that level's last program.

Members may have been added; none is missing, of another kind, or of another value where values do not vary.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from terminal_agent.levels import API_LEVEL, OLDEST_API_LEVEL
from tests.terminal_agent.replay import Counter, Request, counter, differences

LEVELS = Path(__file__).parent / "levels"
RECORDINGS = sorted(LEVELS.glob("*/*.json"))


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    with counter(tmp_path_factory.mktemp("agent")) as made:
        yield made


@pytest.mark.parametrize("file", RECORDINGS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_an_older_client_is_answered_as_before(file: Path, stand: Counter) -> None:
    wrong = []
    for recorded in json.loads(file.read_text("utf-8")):
        if "message" in recorded:
            asked, seen = recorded["message"], stand.speak(recorded["message"])
        else:
            request = Request(**recorded["request"])
            status, seen = stand.play(request)
            asked = f"{request.method} {request.path}"
            wrong += [f"{asked}: status {status}"] if status != recorded["status"] else []
        wrong += [f"{asked}{line}" for line in differences(recorded["answer"], seen, may_grow=True)]
    stand.give_back()
    assert wrong == []


def test_supported_levels_are_recorded_and_others_are_refused(stand: Counter) -> None:
    assert {int(folder.name) for folder in LEVELS.iterdir()} == set(range(OLDEST_API_LEVEL, API_LEVEL))
    url = f"{stand.where.url}/healthz"
    for level, status in ((OLDEST_API_LEVEL, 200), (API_LEVEL, 200), (API_LEVEL + 1, 400), (OLDEST_API_LEVEL - 1, 400)):
        answer = httpx.get(url, headers={"X-OneCard-Api-Level": str(level)})
        assert (answer.status_code, answer.headers["x-onecard-api-level"]) == (status, str(API_LEVEL))
