"""`docs/card-conformance.md`: every command, documented status word and generation, and the test that proves it.

`python -m tests.cardlib.test_conformance_table` writes the page anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apdu.sw import meaning
from cardlib.explain import explain
from cardlib.failures import FailureCode, describe
from cardlib.spec import Generation
from simulators.card import Algorithm
from simulators.card import card as chip_card
from simulators.psam import card as psam_card
from tests.cardlib.conformance import COMMANDS, Command, card, documented
from tests.cardlib.conformance.psam_commands import PSAM_COMMANDS, PsamCommand, PsamHost

ALGORITHMS = {Algorithm.TRIPLE_DES: "3DES", Algorithm.SM4: "SM4"}
PAGE = Path(__file__).parents[2] / "docs" / "card-conformance.md"
HEAD = """# Status words of the card and the PSAM (状态字对照)

Made by `tests/cardlib/test_conformance_table.py`; do not edit. Every command of the simulated card and PSAM, every
status word its table documents, and whether a card of the generation, or an environment of the PSAM, was brought to
answer it. A row's test is `tests/cardlib/test_conformance_table.py::test_word_is_reached[<test>-<generation>]`, of
the PSAM `test_word_of_the_psam_is_reached[<test>-<algorithm>]`; the scenarios are
`tests/cardlib/conformance/`. `./onecard card explain <word> --ins <instruction>` tells cause and remedy of each.

`✓` reached by that test; `—` not applicable: the reference COS profile builds no 1.0 cards. Words that no card can be
brought to stand below their command with the reason. Instructions that are none get `6D00`, on both.
"""
PSAM_HEAD = """
# PSAM commands

Columns are the environments of the PSAM.
"""


def slug(command: Command | PsamCommand) -> str:
    return command.name.replace(" ", "-").replace("/", "-")


def is_applicable(command: Command, word: str, generation: Generation) -> bool:
    return generation is not Generation.V1 or not (command.is_profile or word in command.not_in_1_0)


def cases() -> Iterator[tuple[Command, str, Generation]]:
    for command in COMMANDS:
        for word in sorted(command.scenarios()):
            for generation in Generation:
                if is_applicable(command, word, generation):
                    yield command, word, generation


def fits(answer: str, word: str) -> bool:
    got, fixed = answer[-4:].upper(), word.rstrip("x")
    return len(got) == 4 and got.startswith(fixed)


@pytest.mark.parametrize(
    ("command", "word", "generation"),
    [pytest.param(*case, id=f"{slug(case[0])}-{case[1]}-{case[2]}") for case in cases()],
)
def test_word_is_reached(command: Command, word: str, generation: Generation) -> None:
    answer = command.scenarios()[word](card(generation))
    assert fits(answer, word), answer


@pytest.mark.parametrize(
    ("command", "word", "algorithm"),
    [
        pytest.param(command, word, algorithm, id=f"{slug(command)}-{word}-{ALGORITHMS[algorithm]}")
        for command in PSAM_COMMANDS
        for word in sorted(command.scenarios())
        for algorithm in ALGORITHMS
    ],
)
def test_word_of_the_psam_is_reached(command: PsamCommand, word: str, algorithm: Algorithm) -> None:
    answer = command.scenarios()[word](PsamHost(algorithm))
    assert fits(answer, word), answer


@pytest.mark.parametrize(
    ("command", "documented"),
    [
        pytest.param(command, table.get(command.name, ""), id=f"{kind}-{slug(command)}")
        for kind, commands, table in (("card", COMMANDS, documented.CARD), ("psam", PSAM_COMMANDS, documented.PSAM))
        for command in commands
    ],
)
def test_no_documented_word_is_left_out(command: Command | PsamCommand, documented: str) -> None:
    assert set(documented.split()) <= command.scenarios().keys() | command.unreachable.keys()


def test_no_documented_command_is_left_out() -> None:
    assert documented.CARD.keys() <= {command.name for command in COMMANDS}
    assert documented.PSAM.keys() <= {command.name for command in PSAM_COMMANDS}


@pytest.mark.parametrize(
    "send",
    [pytest.param(lambda: card(Generation.V3), id="card"), pytest.param(lambda: PsamHost(Algorithm.SM4), id="psam")],
)
def test_an_instruction_that_is_none(send: Any) -> None:
    assert send()("0012000000") == "6D00"


@pytest.mark.parametrize("command", [*COMMANDS, *PSAM_COMMANDS], ids=slug)
def test_the_host_explains_every_word_in_both_languages(command: Command) -> None:
    for word in (*command.scenarios(), *command.unreachable):
        sw = int(word.replace("x", "2"), 16)
        said = meaning(sw, command.ins)
        assert "unknown" not in said.text_en, word
        assert said.text_zh.strip(), word
        if said.failure is not None:
            failure = describe(FailureCode(said.failure))
            assert failure.cause_zh and failure.cause_en and failure.remedy_zh and failure.remedy_en  # noqa: PT018
        assert explain(f"{sw:04X}", ins=command.ins).title_en == said.text_en


def test_every_command_of_the_card_is_in_the_table() -> None:
    assert {ins for _, ins in chip_card.COMMANDS} == {command.ins for command in COMMANDS}
    assert set(psam_card.COMMANDS) == {command.ins for command in PSAM_COMMANDS}


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.cardlib.test_conformance_table"


def page() -> str:
    parts = [HEAD]
    for command in COMMANDS:
        parts += section(
            command,
            [str(generation) for generation in Generation],
            {
                word: [is_applicable(command, word, generation) for generation in Generation]
                for word in command.scenarios()
            },
        )
        parts += [f"\n{word} in 1.0: not reachable, {why}.\n" for word, why in sorted(command.not_in_1_0.items())]
    parts.append(PSAM_HEAD)
    for command in PSAM_COMMANDS:
        parts += section(command, list(ALGORITHMS.values()), {word: [True, True] for word in command.scenarios()})
    return "".join(parts)


def section(command: Command | PsamCommand, columns: list[str], words: dict[str, list[bool]]) -> list[str]:
    """The table of one command, and the words that cannot be reached."""
    is_psam = isinstance(command, PsamCommand)
    lines = [
        f"\n## {'PSAM ' * is_psam}{command.name} (INS {command.ins:02X})\n",
        f"| word | meaning | {' | '.join(columns)} | test |",
        "|---|---|" + "---|" * len(columns) + "---|",
    ]
    for word in sorted(words):
        said = meaning(int(word.replace("x", "2"), 16), command.ins)
        # 22 hexadecimal is 34; a tries counter has one digit.
        zh, en = (re.sub("34|2", "x", text) if "x" in word else text for text in (said.text_zh, said.text_en))
        marks = ["✓" if is_reached else "—" for is_reached in words[word]]
        lines.append(f"| {word} | {zh} / {en} | {' | '.join(marks)} | {slug(command)}-{word} |")
    lines += [f"\n{word}: not reachable, {reason}." for word, reason in sorted(command.unreachable.items())]
    return ["\n".join(lines) + "\n"]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
