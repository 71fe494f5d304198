"""The parsers of outside bytes under the same inputs the bench makes a million of."""

from __future__ import annotations

import pytest

from apdu import tlv
from bench import fuzz
from bench.fuzz import Target, mutations, run
from bench.fuzz_targets import targets
from cardlib.failures import FailureCode

INPUTS = 2_000
TARGETS = targets()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_input_is_taken_or_refused_by_type(target: Target) -> None:
    row = run(target, INPUTS)
    assert row.faults == []
    assert (row.inputs, row.taken + row.refused) == (INPUTS, INPUTS)
    assert row.taken, "no input got through: the samples are stale"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_refusals_name_a_failure_or_are_python_s_own(target: Target) -> None:
    for refusal in target.refusals:
        named = getattr(refusal, "failure", None)
        assert named in FailureCode.__members__ or refusal.__module__.split(".")[0] in ("builtins", "pydantic_core")


def test_the_same_seed_gives_the_same_inputs_and_another_others() -> None:
    samples = TARGETS[0].samples
    first, again, other = (list(mutations(samples, 200, seed)) for seed in ("a", "a", "b"))
    assert first == again != other
    assert len(set(first)) > 150


def test_a_fault_is_found_and_can_be_made_again() -> None:
    """A parser that trusts the length it is told."""

    def trusting(raw: bytes) -> None:
        tlv.parse(raw)
        raw[raw[1] + 1]

    row = run(Target("坏", "bad", TARGETS[0].samples, trusting, (tlv.TlvDecodingError,)), INPUTS)
    assert not row.is_clean
    assert row.taken + row.refused + row.fault_count == INPUTS
    assert row.faults[0].startswith("IndexError")
    with pytest.raises(IndexError):
        trusting(bytes.fromhex(row.faults[0].split("<- ")[1]))
    assert "IndexError" in str(fuzz.FuzzResult([row], fuzz.SEED).tables()[1])


def test_two_processes_find_what_one_does() -> None:
    def counts(workers: int) -> list[tuple[str, int, int]]:
        result = fuzz.measure(inputs=100, workers=workers, only=("ATR", "command APDU"))
        return [(row.target, row.taken, row.refused) for row in result.rows]

    assert counts(2) == counts(1)
    assert len(counts(1)) == 2
