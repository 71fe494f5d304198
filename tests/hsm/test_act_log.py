"""The log of key acts: what was written is read, and every way to touch it is named."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsm import act_log
from hsm.act_log import LOG_KEY, ActLog, ActLogError, Result
from hsm.api import Algorithm, KeyRef
from hsm.soft import SoftKeyService
from tests.hsm.backends import CHEAP, WORDS

Change = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[SoftKeyService]:
    with SoftKeyService.create(tmp_path / "store", WORDS, cost=CHEAP) as service:
        yield service


@pytest.fixture
def log(service: SoftKeyService, tmp_path: Path) -> ActLog:
    log = ActLog(service, tmp_path / "store")
    for number in range(1, 6):
        log.append(["甲", "乙"], "rotate", Result.DONE, key=f"IRK/SM4/v{number}", kcv="A1B2C3", detail="\n换 \u2028")
    return log


def test_what_was_done_is_read_again(log: ActLog) -> None:
    acts = log.entries()
    assert [(act.number, act.who, act.key, act.result) for act in acts] == [
        (n, ("甲", "乙"), f"IRK/SM4/v{n}", Result.DONE) for n in range(1, 6)
    ]
    assert acts[0].detail == "\n换 \u2028"
    assert log.head().count == 5
    assert {file.stat().st_mode & 0o777 for file in log.files} == {0o600}


def test_a_store_without_acts_has_no_log(service: SoftKeyService, tmp_path: Path) -> None:
    assert ActLog(service, tmp_path / "store").entries() == []
    assert service.keys() == []


def relabelled(lines: list[bytes]) -> list[bytes]:
    return [*lines[:1], lines[1].replace(b"rotate", b"rotatf"), *lines[2:]]


@pytest.mark.parametrize(
    ("change", "entry", "says"),
    [
        (relabelled, 2, "altered"),
        (lambda lines: [*lines[:2], lines[2][:-1], *lines[3:]], 3, "altered"),
        (lambda lines: [b"0" * 64 + lines[0][64:], *lines[1:]], 1, "altered"),
        (lambda lines: [*lines[:1], lines[2], lines[1], *lines[3:]], 2, "out of its place"),
        (lambda lines: [*lines[:2], *lines[3:]], 3, "out of its place"),
        (lambda lines: [lines[0], *lines], 2, "out of its place"),
        (lambda lines: lines[:4], 5, "missing; the log had 5"),
        (lambda lines: [], 1, "missing; the log had 5"),
        (lambda lines: [*lines, b"{}"], 6, "altered"),
    ],
)
def test_a_touched_log_names_the_entry(log: ActLog, change: Change, entry: int, says: str) -> None:
    path = log.files[0]
    lines = path.read_bytes().split(b"\n")[:-1]
    path.write_bytes(b"".join(line + b"\n" for line in change(lines)))
    for use in (log.entries, lambda: log.append(["甲"], "import", Result.DONE)):
        with pytest.raises(ActLogError, match=says) as refused:
            use()
        assert refused.value.entry == entry


def test_a_touched_head_is_noticed(log: ActLog) -> None:
    head = log.files[1]
    content = head.read_bytes()
    for wrong in (content.replace(b"5", b"4", 1), content[:-2], b"", b"\xff \xff"):
        head.write_bytes(wrong)
        with pytest.raises(ActLogError, match="head: altered"):
            log.entries()
    head.unlink()
    with pytest.raises(ActLogError, match="head: gone"):
        log.entries()


def test_an_older_head_covers_one_line_and_no_more(log: ActLog) -> None:
    """One: the process ended between the line and the head. Two: the head was put back."""
    head = log.files[1]
    kept = head.read_bytes()
    log.append(["甲"], "import", Result.DONE)
    newer = head.read_bytes()
    head.write_bytes(kept)
    assert len(log.entries()) == 6
    log.append(["甲"], "import", Result.DONE)
    assert len(log.entries()) == 7
    head.write_bytes(kept)
    with pytest.raises(ActLogError, match="behind the end"):
        log.entries()
    head.write_bytes(newer)
    assert len(log.entries()) == 7


def test_a_line_torn_by_a_power_cut_is_written_over(log: ActLog) -> None:
    path = log.files[0]
    whole = path.read_bytes()
    path.write_bytes(whole + b"5fa7 half of a li")
    assert len(log.entries()) == 5
    log.append(["乙"], "destroy", Result.REFUSED)
    assert path.read_bytes().startswith(whole)
    assert log.entries()[-1].result is Result.REFUSED


def test_a_log_of_another_store_does_not_pass(log: ActLog, tmp_path: Path) -> None:
    with SoftKeyService.create(tmp_path / "other", WORDS, cost=CHEAP) as other:
        theirs = ActLog(other, tmp_path / "other")
        theirs.append(["甲"], "init", Result.DONE)
        for mine, file in zip(log.files, theirs.files, strict=True):
            file.write_bytes(mine.read_bytes())
        with pytest.raises(ActLogError):
            theirs.entries()


def test_two_at_once_take_turns(log: ActLog, service: SoftKeyService, tmp_path: Path) -> None:
    def work() -> None:
        own = ActLog(service, tmp_path / "store")
        for _ in range(5):
            own.append(["丙"], "derive", Result.DONE)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [act.number for act in log.entries()] == list(range(1, 21))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_anything_else_is_no_log(log: ActLog, content: bytes) -> None:
    log.files[0].write_bytes(content + b"\n")
    with pytest.raises(ActLogError):
        log.entries()


def test_the_key_of_the_log_is_one(service: SoftKeyService, log: ActLog) -> None:
    assert act_log.own_key(service, LOG_KEY) == KeyRef(LOG_KEY, Algorithm.SM4)
