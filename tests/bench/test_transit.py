"""The short form of `./onecard bench --only transit`: its counts are facts, its times only plausible."""

from bench import transit


def test_a_tap_costs_few_commands_and_no_time_worth_naming():
    found = transit.measure(count=2, has_process=False)
    assert {row.tap: (row.commands, row.byte_count) for row in found.taps} == {
        "bus, fewest commands": (3, 132),
        "bus": (5, 254),
        "bus, senior free": (5, 254),
        "metro in": (7, 524),
        "metro out": (7, 524),
        "torn, tapped again": (3, 115),
    }
    assert all(row.cpu_ms[1] < transit.TARGET_MS for row in found.taps)
    assert all(0 < row.air_ms < 60 for row in found.taps)
    assert found.taps_cpu_s > 20
    assert len(found.tables()) == 3
