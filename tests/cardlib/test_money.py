from __future__ import annotations

import pytest

from cardlib.money import fen, yuan


def test_amounts_are_written_as_people_read_them() -> None:
    assert [yuan(amount) for amount in (0, 5, 1205, -50, -1205)] == ["0.00", "0.05", "12.05", "-0.50", "-12.05"]
    assert yuan(123456789, is_grouped=True) == "1,234,567.89"
    assert (yuan(50, is_signed=True), yuan(-50, is_signed=True)) == ("+0.50", "-0.50")


def test_amounts_are_read_as_people_write_them() -> None:
    assert [fen(text) for text in ("12.34", "12.3", "12", "0", "99999999.99")] == [1234, 1230, 1200, 0, 9999999999]
    for wrong in ("1.234", "-1", "1.", ".5", "1e2", "x", "NaN", "100000000", "１", "1\n", ""):
        with pytest.raises(ValueError, match="yuan"):
            fen(wrong)
