"""Compressed points on every engine, beside the arithmetic that has no library."""

import pytest

from hsm.api import BadInputError
from hsm.primitives import compress, decompress, engines
from hsm.primitives.sm2_forms import P


@pytest.mark.parametrize("engine", engines(), ids=lambda engine: engine.name)
def test_points_come_back_and_nothing_else_does(engine) -> None:
    for _ in range(10):
        public = engine.sm2_generate()[1]
        assert engine.sm2_decompress(compress(public)) == decompress(compress(public)) == public
    refused = 0
    for x in range(40):
        compressed = b"\x03" + x.to_bytes(32, "big")
        try:
            expected = decompress(compressed)
        except BadInputError:
            refused += 1
            with pytest.raises(BadInputError):
                engine.sm2_decompress(compressed)
        else:
            assert engine.sm2_decompress(compressed) == expected
    assert 5 < refused < 35
    good = compress(public)
    hybrid = bytes((6 + (public[-1] & 1),)) + public[1:]
    for wrong in (b"", b"\x00", good[:-1], good + b"\x00", b"\x04" + good[1:], public, hybrid):
        with pytest.raises(BadInputError):
            engine.sm2_decompress(wrong)
    for x in range(3):
        with pytest.raises(BadInputError):
            engine.sm2_decompress(b"\x02" + (P + x).to_bytes(32, "big"))
