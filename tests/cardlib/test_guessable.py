"""Digits that are tried first."""

from __future__ import annotations

import pytest

from cardlib.guessable import Guess, about, guess

KNOWN = tuple(about("990101198808080048", "19880808"))


@pytest.mark.parametrize(
    ("digits", "why"),
    [
        ("111111", Guess.REPEATED),
        ("121212", Guess.REPEATED),
        ("730730", Guess.REPEATED),
        ("112233", Guess.REPEATED),
        ("8888901", Guess.REPEATED),
        ("123456", Guess.ROW),
        ("739876", Guess.ROW),
        ("0048", Guess.PERSONAL),
        ("198808", Guess.PERSONAL),
        ("08081988", Guess.PERSONAL),
        ("730516", None),
        ("7305169284", None),
    ],
)
def test_guess(digits: str, why: Guess | None) -> None:
    assert guess(digits, KNOWN) is why


def test_what_is_known_of_nobody_in_particular_is_not_asked_for() -> None:
    assert guess("198808") is None
