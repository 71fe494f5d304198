"""The journal's file: what was appended is there, in order and once, whatever power, disk and other programs do."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cardlib.terminal_records import DeviceAlarm, RecordBody, RecordRefusal, SentRecord, chained, genesis, spans
from terminal_agent.journal.store import CLIENT_CHANGED, NAME, RESERVE, JournalFullError, Limits, RecordJournal
from tests.terminal_agent.journal.stand import alarm

PAGE = 4096


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 5, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> Iterator[RecordJournal]:
    journal = RecordJournal(tmp_path, clock=clock)
    yield journal
    journal.close()


def marks(records: list[SentRecord]) -> list[str]:
    """What tells the tests' records apart."""
    payloads = [RecordBody.from_text(record.body).opened() for record in records]
    return [payload.port for payload in payloads if isinstance(payload, DeviceAlarm)]


def demand_chain(journal: RecordJournal, records: list[SentRecord]) -> None:
    digest = genesis(journal.standing().journal_id)
    for sequence, record in enumerate(records, start=1):
        digest = chained(digest, sequence, record.body)
        assert (record.sequence, record.hash) == (sequence, digest.hex())


def fill(journal: RecordJournal, *, is_admitted: bool = True) -> None:
    for number in range(10_000):
        if is_admitted:
            journal.admit(is_money=True)
        journal.append(alarm(f"{number:0200}"))


class JournalMachine(RuleBasedStateMachine):
    """Against a model: a list of what was appended and a number of what the centre has."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.clock = Clock()
        self.journal = RecordJournal(self.folder, clock=self.clock)
        self.written: list[str] = []
        self.first = 1
        self.told = 0

    @rule(count=st.integers(1, 3))
    def append(self, count: int) -> None:
        for _ in range(count):
            self.written.append(str(len(self.written)))
            sequence = self.journal.append(alarm(self.written[-1]), key=f"{len(self.written):032x}")
            assert sequence == self.first + len(self.written) - 1
            assert self.journal.append(alarm("again"), key=f"{len(self.written):032x}") == sequence

    @rule(share=st.floats(0, 1))
    def acknowledge(self, share: float) -> None:
        self.told += int(share * (len(self.written) - self.told))
        self.journal.acknowledge(self.told)

    @rule()
    def open_again(self) -> None:
        self.journal.close()
        self.journal = RecordJournal(self.folder, clock=self.clock)

    @rule()
    def another_program(self) -> None:
        self.written.append("other")
        other = RecordJournal(self.folder, clock=self.clock)
        other.append(alarm("other"), key=f"{len(self.written):032x}")
        other.close()

    @precondition(lambda self: self.written)
    @rule()
    def trim(self) -> None:
        self.clock.now += timedelta(days=31)
        self.journal.trim()

    @invariant()
    def agrees(self) -> None:
        standing = self.journal.standing()
        assert (standing.sequence, standing.acknowledged) == (len(self.written), self.told)
        assert marks(self.journal.batch()) == self.written[self.told :]
        assert (standing.oldest_at is None) == (standing.waiting == 0)

    def teardown(self) -> None:
        self.journal.close()


def test_against_a_model(tmp_path: Path) -> None:
    class Machine(JournalMachine):
        folder = tmp_path / "model"

    case = Machine.TestCase
    case.settings = settings(max_examples=12, stateful_step_count=10)
    case().runTest()


def test_a_power_cut_at_any_byte_leaves_a_prefix(journal: RecordJournal, tmp_path: Path) -> None:
    for number in range(24):
        journal.append(alarm(str(number)))
    wal = (tmp_path / (NAME + "-wal")).read_bytes()
    cuts = {*range(0, len(wal), PAGE + 24), len(wal), *random.Random(1).sample(range(len(wal)), 16)}
    lengths = []
    for cut in sorted(cuts):
        torn = tmp_path / "torn"
        torn.mkdir()
        shutil.copy(tmp_path / NAME, torn)
        (torn / (NAME + "-wal")).write_bytes(wal[:cut])
        copy = RecordJournal(torn)
        records = copy.batch()
        demand_chain(copy, records)
        assert marks(records) == [str(number) for number in range(len(records))]
        lengths.append(len(records))
        assert copy.append(alarm("next")) == len(records) + 1
        copy.close()
        shutil.rmtree(torn)
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (0, 24), "the whole log gives all that was acknowledged"
    assert len(set(lengths)) > 12


@pytest.mark.parametrize("spot", ["header", "root", "leaf", "end", "cut"])
def test_a_damaged_file_is_put_aside_and_what_it_gives_is_kept(tmp_path: Path, spot: str) -> None:
    journal = RecordJournal(tmp_path)
    for number in range(60):
        journal.append(alarm(str(number)))
    old = journal.standing().journal_id
    journal.close()
    data = bytearray((tmp_path / NAME).read_bytes())
    end = len(data) - 3 * PAGE
    at = {"header": 0, "root": PAGE, "leaf": len(data) // 2 // PAGE * PAGE, "end": end, "cut": end}[spot]
    data[at : at + (100 if spot == "header" else PAGE)] = random.Random(2).randbytes(100 if spot == "header" else PAGE)
    if spot == "cut":
        del data[at:]
    (tmp_path / NAME).write_bytes(data)
    (tmp_path / (NAME + "-wal")).write_bytes(b"torn")  # the computer went down
    again = RecordJournal(tmp_path)
    records = again.batch()
    demand_chain(again, records)
    kept = marks(records)
    assert set(kept) <= {str(number) for number in range(60)}
    if kept != [str(number) for number in range(60)]:
        assert again.standing().reason == "JOURNAL_DAMAGED"
        assert again.standing().journal_id != old
        assert again.standing().carried == spans(int(mark) + 1 for mark in kept)
        assert again.standing().follows == (None if spot in ("header", "root") else old)
        assert (tmp_path / (NAME + ".damaged-1")).exists()
    if spot in ("leaf", "end", "cut"):
        assert len(kept) >= 20
    again.append(alarm("after"))
    again.close()


def test_a_file_that_goes_bad_under_way_is_begun_anew(tmp_path: Path) -> None:
    """No restart: what asks next is refused once, what has happened already is written down."""
    for is_over in (False, True):
        folder = tmp_path / str(is_over)
        journal = RecordJournal(folder)
        for number in range(60):
            journal.append(alarm(str(number)))
        journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        data = bytearray((folder / NAME).read_bytes())
        data[2 * PAGE :] = random.Random(3).randbytes(len(data) - 2 * PAGE)
        journal.close()  # else its cache would know
        (folder / NAME).write_bytes(data)
        journal = RecordJournal(folder)
        if not is_over:
            with pytest.raises(JournalFullError, match="begun anew"):
                journal.admit(is_money=True)
            journal.admit(is_money=True)
        journal.append(alarm("after"))
        assert marks(journal.batch())[-1] == "after"
        assert journal.standing().reason == "JOURNAL_DAMAGED"
        demand_chain(journal, journal.batch())
        journal.close()


def test_a_terminal_registered_anew_takes_along_what_was_not_sent(tmp_path: Path) -> None:
    for client in (None, "t-old", "t-old", None):  # of one without a name it becomes the first one's
        journal = RecordJournal(tmp_path, client=client)
        old = journal.standing()
        assert (old.follows, journal.append(alarm(str(old.sequence + 1)))) == (None, old.sequence + 1)
        journal.acknowledge(min(2, old.sequence + 1))
        journal.close()
    for _ in range(2):
        journal = RecordJournal(tmp_path, client="t-new")
        standing = journal.standing()
        assert (standing.follows, standing.reason, standing.acknowledged) == (old.journal_id, CLIENT_CHANGED, 0)
        assert (standing.carried, marks(journal.batch())) == (((3, 4),), ["3", "4"])
        demand_chain(journal, journal.batch())
        journal.close()


def test_a_byte_that_went_bad_stops_nothing(journal: RecordJournal) -> None:
    """The centre finds it out by the hash, and in a new journal it is one record that nobody can use."""
    journal.append(alarm("a"))
    journal._connection.execute("UPDATE records SET body = CAST(x'7b00ff' || body AS TEXT)")
    assert journal.batch()[0].body.startswith("{\ufffd\ufffd")
    journal.renew("JOURNAL_FORKED")
    demand_chain(journal, journal.batch())


def test_purchases_stop_first(tmp_path: Path, clock: Clock) -> None:
    journal = RecordJournal(tmp_path, Limits(rows=10, age=timedelta(hours=1)), clock)
    for number in range(9):
        journal.admit(is_money=True)
        journal.append(alarm(str(number)))
    with pytest.raises(JournalFullError, match="9 records"):
        journal.admit(is_money=True)
    journal.admit()
    journal.append(alarm("what was under way"))
    with pytest.raises(JournalFullError):
        journal.admit()
    journal.acknowledge(8)
    journal.admit(is_money=True)
    clock.now += timedelta(hours=2)
    journal.admit()
    with pytest.raises(JournalFullError, match="waiting"):
        journal.admit(is_money=True)
    journal.acknowledge(10)
    journal.admit(is_money=True)
    journal.close()
    heavy = RecordJournal(tmp_path / "heavy", Limits(bytes=6000))
    with pytest.raises(JournalFullError):
        fill(heavy)
    assert 4 < heavy.standing().sequence < 20
    heavy.close()


def test_a_full_disk_refuses_before_and_takes_what_has_happened(journal: RecordJournal, tmp_path: Path) -> None:
    """The disk is the database's own limit here; a real one in tests/bench of the soak."""
    sql = journal._connection
    sql.execute(f"PRAGMA max_page_count = {sql.execute('PRAGMA page_count').fetchone()[0] + 3}")
    with pytest.raises(JournalFullError, match="full"):
        fill(journal, is_admitted=False)
    written = journal.standing().sequence
    assert written > 3
    assert not (tmp_path / RESERVE).exists(), "the space that was held back is given up"
    sql.execute("PRAGMA max_page_count = 100000")
    journal.admit(is_money=True)
    assert (tmp_path / RESERVE).exists(), "and taken again"
    assert journal.append(alarm("after")) == written + 1
    demand_chain(journal, journal.batch())


def test_no_space_for_the_reserve_admits_nothing(
    journal: RecordJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / RESERVE).unlink()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("terminal_agent.journal.store.os.fsync", full)
    with pytest.raises(JournalFullError, match="disk"):
        journal.admit()


def test_refusals_are_kept_and_the_oldest_go(journal: RecordJournal, clock: Clock) -> None:
    for number in range(5):
        journal.append(alarm(str(number)))
    journal.acknowledge(3, (RecordRefusal(sequence=2, failure="CONFLICT", detail="twice"),))
    assert [(one.sequence, one.failure, one.detail) for one in journal.aside()] == [(2, "CONFLICT", "twice")]
    journal.acknowledge(1)  # the centre was restored from an old copy: it gets them again
    assert marks(journal.batch()) == ["1", "2", "3", "4"]
    with pytest.raises(ValueError, match="centre has 6"):
        journal.acknowledge(6)
    clock.now += timedelta(days=40)
    journal.acknowledge(5)
    journal.trim()
    with pytest.raises(ValueError, match="centre has 0"):
        journal.acknowledge(0)
    assert journal.append(alarm("5")) == 6
    assert marks(journal.batch()) == ["5"]


def test_only_its_owner_may_read_it(journal: RecordJournal, tmp_path: Path) -> None:
    journal.append(alarm("x"))
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
    body = sqlite3.connect(tmp_path / NAME).execute("SELECT body FROM records").fetchone()[0]
    assert set(RecordBody.from_text(body).payload) == {"device", "port", "state"}
