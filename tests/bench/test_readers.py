"""Structure of the measurement of many readers; counts only, never times."""

from __future__ import annotations

from bench import readers
from simulators.pcscd import is_available


def test_all_transports_are_measured_with_one_frozen() -> None:
    result = readers.measure(readers=4, pcsc_readers=4, calls=2)
    measured = {row.transport: row.readers for row in result.rows}
    assert measured[readers.IN_PROCESS] == measured[readers.SERIAL] == 4
    for driver, transport in (("vpcd", readers.PCSC), ("onecard", readers.IFD)):
        assert measured.get(transport) == 4 or not is_available(driver)[0]
    assert all(row.free_p50_ms <= row.free_max_ms for row in result.rows)
    assert all(row.is_met == (row.frozen_max_ms <= readers.LIMIT_MS) for row in result.rows)
    assert readers.SERIAL in str(result.to_json())
    assert len(result.tables()) == 1 + len(result.skipped)
