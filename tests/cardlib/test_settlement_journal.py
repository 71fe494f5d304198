"""The journal of settlements: durable, restartable, and never stopped by a damaged line."""

from __future__ import annotations

import json
import logging
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib import settlement_journal
from cardlib.medical import MedicalAccount, PendingTransaction
from cardlib.session import SocialSecurityCard
from cardlib.settlement_journal import Outcome, SettlementJournal, Slip, resolve
from hsm.transactions import Purchase
from simulators.card import SimCard
from tests.cardlib.test_medical import NOW, by_keys, interrupted, pay_40, transaction_keys

PURCHASE = Purchase(bytes(4), 7, 0, 10, 20, bytes(6), bytes(4), bytes.fromhex("20250316101500"))
PENDING = PendingTransaction.of(PURCHASE, "AA" * 16, "A00000011", 1)


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "j"
    first = SettlementJournal(path).begin(PENDING, is_centres=True)
    second = SettlementJournal(path).begin(PENDING)
    SettlementJournal(path).end(first, Outcome.DONE, mac2=b"\1" * 4, tac=b"\2" * 4)
    done, still_open = SettlementJournal(path).entries()
    assert (done.outcome, done.mac2, done.tac, done.awaits_report) == (Outcome.DONE, b"\1" * 4, b"\2" * 4, True)
    assert done.pending.transaction == PURCHASE
    assert [entry.id for entry in SettlementJournal(path).open_of("AA" * 16, "A00000011")] == [second]
    assert SettlementJournal(path).open_of("AA" * 16, "A00000012") == []
    assert not still_open.awaits_report
    SettlementJournal(path).reported(first, "CONFLICT")
    told = SettlementJournal(path).entries()[0]
    assert (told.awaits_report, told.refusal) == (False, "CONFLICT")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_cut_short_neither_blocks_nor_swallows_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "j"
    journal = SettlementJournal(path)
    kept = journal.begin(PENDING)
    for cut in (1, 30, 200):
        with path.open("ab") as file:
            file.write(path.read_bytes().splitlines()[0][:cut])
        added = journal.begin(PENDING)
        assert {kept, added} <= {entry.id for entry in journal.entries()}
    assert journal.damaged_lines() == 3
    assert "cannot be read" in caplog.text
    assert (tmp_path / "j.damaged").stat().st_mode & 0o777 == 0o600
    assert len(path.read_bytes().splitlines()) == 4


WORDS = st.sampled_from(["act", "id", "at", "pending", "outcome", "mac2", "tac", "begin", "end"])
JSON = st.recursive(
    st.none() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
)


@settings(max_examples=100)
@given(junk=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_put_aside(junk: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("junk") / "j"
    journal = SettlementJournal(path)
    entry_id = journal.begin(PENDING)
    with path.open("ab") as file:
        file.write(junk)
    logging.disable()
    try:
        journal.end(entry_id, Outcome.VOID)
        assert [entry.outcome for entry in journal.entries()] == [Outcome.VOID]
    finally:
        logging.disable(logging.NOTSET)


def test_compaction_forgets_old_ended_entries_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement_journal, "KEEP_ENDED", 2)
    monkeypatch.setattr(settlement_journal, "_COMPACT_LINES", 8)
    journal = SettlementJournal(tmp_path / "j")
    still_open, untold = journal.begin(PENDING), journal.begin(PENDING, is_centres=True)
    journal.end(untold, Outcome.VOID)
    ended = [journal.begin(PENDING) for _ in range(4)]
    for entry_id in ended:
        journal.end(entry_id, Outcome.DONE)
    journal.entries()
    assert [entry.id for entry in journal.entries()] == [still_open, untold, *ended[2:]]


def _begin_many(path: Path) -> None:
    for _ in range(20):
        SettlementJournal(path).begin(PENDING)


def test_several_processes_write_one_journal(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_begin_many, args=(tmp_path / "j",)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    journal = SettlementJournal(tmp_path / "j")
    assert (len(journal.entries()), journal.damaged_lines()) == (40, 0)


@pytest.mark.parametrize("is_done", [True, False])
def test_the_card_is_asked_and_the_answer_kept(is_done: bool, tmp_path: Path) -> None:
    chip, pending = interrupted(pay_40, is_done=is_done)
    journal = SettlementJournal(tmp_path / "j")
    journal.begin(pending)
    card = SocialSecurityCard(chip, chip.power_on())
    card.open()
    ((entry, receipt),) = resolve(journal, card, transaction_keys())
    assert entry.outcome is (Outcome.DONE if is_done else Outcome.VOID)
    assert (receipt is not None) == is_done == bool(journal.entries()[0].tac)
    assert resolve(journal, card) == []


def test_a_card_that_cannot_tell_any_more_does_not_block_the_terminal(tmp_path: Path) -> None:
    chip, pending = interrupted(pay_40, is_done=True)
    journal = SettlementJournal(tmp_path / "j")
    journal.begin(pending)
    card = SocialSecurityCard(chip, chip.power_on())
    card.open()
    for _ in range(31):
        slip = Slip(SettlementJournal(tmp_path / "others"))
        receipt = MedicalAccount(card).purchase((1, 0, 0), by_keys(), NOW, slip)
        slip.end(mac2=receipt.mac2, tac=receipt.tac)
    ((entry, receipt_or_none),) = resolve(journal, card, transaction_keys())
    assert (entry.outcome, receipt_or_none) == (Outcome.UNRESOLVED, None)
    assert journal.open_of(card.identification_code, card.card_number) == []


def test_another_card_is_left_alone(tmp_path: Path) -> None:
    journal = SettlementJournal(tmp_path / "j")
    journal.begin(PENDING)
    chip = SimCard(interrupted(pay_40, is_done=True)[0].state)
    card = SocialSecurityCard(chip, chip.power_on())
    card.open()
    assert resolve(journal, card) == []
    assert journal.entries()[0].outcome is Outcome.OPEN
