"""Every blocked card is found and no other, through full editions, deltas, damage and age."""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps_catalog.block_list import (
    BlockList,
    BlockListError,
    Kind,
    OlderListError,
    Verdict,
    build,
    build_delta,
    read_listing,
)
from apps_catalog.block_list.files import (
    DELTA,
    EXACT,
    FILTER,
    HEAD_BYTES,
    Content,
    check,
)
from apps_catalog.block_list.keys import KEY_BYTES, Keys, purse_number, transit_account_number
from apps_catalog.errors import QueryError
from hsm.primitives import default_engine

AT = 1_800_000_000


def numbers(seed: int, many: int) -> list[tuple[Kind, str]]:
    chance = random.Random(seed)
    return [(chance.choice(list(Kind)), f"{chance.getrandbits(128):032X}") for _ in range(many)]


BLOCKED = numbers(1, 3000)
GOOD = numbers(2, 3000)


@pytest.fixture(scope="module")
def edition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edition")
    build(folder, BLOCKED, as_of=AT)
    return folder


@pytest.fixture
def folder(edition: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(edition, tmp_path / "edition"))


def verdicts(folder: Path, cards: list[tuple[Kind, str]]) -> list[Verdict]:
    with BlockList(folder) as block_list:
        return [block_list.look(*card) for card in cards]


def test_with_the_exact_list_every_answer_is_certain(edition: Path) -> None:
    assert set(verdicts(edition, BLOCKED)) == {Verdict.BLOCKED}
    assert set(verdicts(edition, GOOD)) == {Verdict.CLEAR}


def test_the_filter_alone_suspects_every_blocked_card_and_few_others(folder: Path) -> None:
    (folder / EXACT).unlink()
    assert set(verdicts(folder, BLOCKED)) == {Verdict.SUSPECTED}
    good = verdicts(folder, GOOD)
    assert good.count(Verdict.BLOCKED) == 0
    assert good.count(Verdict.SUSPECTED) < 30  # 0.22 % of 3000 are 7


def test_the_filter_keeps_to_its_bytes(edition: Path) -> None:
    assert ((edition / FILTER).stat().st_size - HEAD_BYTES) / len(BLOCKED) <= 1.6


def test_a_list_held_in_memory_gives_the_same_answers(folder: Path) -> None:
    build_delta(folder, BLOCKED[40:] + GOOD[:60], as_of=AT + 300)
    with BlockList(folder) as block_list:
        block_list.hold()
        (folder / EXACT).write_bytes(b"")
        assert {block_list.look(*card) for card in BLOCKED[40:] + GOOD[:60]} == {Verdict.BLOCKED}
        assert {block_list.look(*card) for card in BLOCKED[:40] + GOOD[60:]} == {Verdict.CLEAR}
        assert len(block_list) == len(BLOCKED) + 20


def test_a_card_is_not_the_electronic_card_of_the_same_number(edition: Path) -> None:
    other = [(Kind.ECARD if kind is Kind.CARD else Kind.CARD, number) for kind, number in BLOCKED]
    assert set(verdicts(edition, other)) == {Verdict.CLEAR}


def test_purses_and_accounts_are_numbers_of_their_own_kinds(tmp_path: Path) -> None:
    purse = purse_number(bytes.fromhex("09990100FFFFFFFF"), "9990100000000001234")
    account = transit_account_number("09990100", "00009901000000001234")
    assert (purse, account) == ("099901009990100000000001234FFFFF", "0999010000009901000000001234FFFF")
    build(tmp_path, [(Kind.PURSE, purse), (Kind.TRANSIT_ACCOUNT, account)], as_of=1)
    cards = [(kind, number) for kind in Kind for number in (purse, account)]
    assert [
        kind for (kind, _), told in zip(cards, verdicts(tmp_path, cards), strict=True) if told is Verdict.BLOCKED
    ] == [
        Kind.PURSE,
        Kind.TRANSIT_ACCOUNT,
    ]


@pytest.mark.parametrize("issuer", [b"\x09\x99\x01", b"\x09\x99\x01\xff", b""])
@pytest.mark.parametrize("number", ["999010000000000123", "", "99901000000000012A4"])
def test_what_is_no_purse_has_no_number(issuer: bytes, number: str) -> None:
    for made in (lambda: purse_number(issuer, "9" * 19), lambda: purse_number(bytes(4), number)):
        with pytest.raises(QueryError):
            made()


def test_letters_of_either_case_are_one_number(edition: Path) -> None:
    assert set(verdicts(edition, [(kind, number.lower()) for kind, number in BLOCKED[:20]])) == {Verdict.BLOCKED}


@pytest.mark.parametrize(
    "number", ["", "12", "G" * 32, "1" * 31, "1" * 33, "11 " * 10 + "11", "11 " * 15 + "11", "١" * 32]
)
def test_a_number_that_cannot_be_is_refused_and_not_repeated(edition: Path, number: str) -> None:
    with BlockList(edition) as block_list, pytest.raises(QueryError) as caught:
        block_list.look(Kind.CARD, number)
    assert not number or number not in str(caught.value)


def test_an_entry_is_salted_sm3() -> None:
    number = "110000D156000005000000A1FFFFFFFF"
    salt = bytes(range(16))
    whole = default_engine().sm3(salt + b"\x01" + bytes.fromhex(number))
    assert Keys(salt).of(Kind.CARD, number) == whole[:KEY_BYTES]


def test_editions_share_no_entry(folder: Path) -> None:
    before = (folder / EXACT).read_bytes()
    head = build(folder, BLOCKED, as_of=AT)
    assert head.edition == AT + 1
    with (folder / EXACT).open("rb") as stream:
        check(stream, Content.EXACT, EXACT)
    assert head.salt not in before


def test_a_delta_blocks_and_releases(folder: Path) -> None:
    released, added = BLOCKED[:40], GOOD[:60]
    head = build_delta(folder, BLOCKED[40:] + added, as_of=AT + 300)
    assert (head.entries, head.removed, head.edition, head.base) == (60, 40, AT + 300, AT)
    with BlockList(folder) as block_list:
        assert len(block_list) == len(BLOCKED) + 20
        assert (block_list.edition, block_list.as_of) == (AT + 300, AT + 300)
    assert set(verdicts(folder, released + GOOD[60:])) == {Verdict.CLEAR}
    assert set(verdicts(folder, added + BLOCKED[40:])) == {Verdict.BLOCKED}
    (folder / EXACT).unlink()
    assert set(verdicts(folder, released)) == {Verdict.CLEAR}
    assert set(verdicts(folder, added)) == {Verdict.BLOCKED}


def test_the_last_delta_holds_all_since_the_full_edition(folder: Path) -> None:
    build_delta(folder, BLOCKED[40:] + GOOD[:60], as_of=AT + 300)
    head = build_delta(folder, BLOCKED[20:] + GOOD[:10], as_of=AT + 300)
    assert (head.entries, head.removed, head.edition) == (10, 20, AT + 301)
    assert set(verdicts(folder, BLOCKED[20:] + GOOD[:10])) == {Verdict.BLOCKED}
    assert set(verdicts(folder, BLOCKED[:20] + GOOD[10:])) == {Verdict.CLEAR}


def test_an_older_edition_is_not_used_again(folder: Path) -> None:
    build_delta(folder, BLOCKED, as_of=AT + 300)
    BlockList(folder, at_least=AT + 300).close()
    (folder / DELTA).unlink()
    with pytest.raises(OlderListError):
        BlockList(folder, at_least=AT + 300)


def test_files_of_different_editions_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    build(other, BLOCKED, as_of=AT)
    shutil.copy(other / EXACT, folder / EXACT)
    with pytest.raises(BlockListError):
        BlockList(folder)  # the same edition number, another salt
    (folder / EXACT).unlink()
    build_delta(other, GOOD, as_of=AT + 1)
    shutil.copy(other / DELTA, folder / DELTA)
    with pytest.raises(BlockListError):
        BlockList(folder)


def test_a_full_edition_takes_the_old_delta_away(folder: Path) -> None:
    build_delta(folder, GOOD, as_of=AT + 300)
    build(folder, BLOCKED[:300], as_of=AT + 300)
    assert verdicts(folder, [*BLOCKED[:2], GOOD[0]]) == [Verdict.BLOCKED, Verdict.BLOCKED, Verdict.CLEAR]
    assert not (folder / DELTA).exists()


def test_without_a_full_edition_there_is_no_delta_and_no_list(tmp_path: Path) -> None:
    with pytest.raises(BlockListError):
        build_delta(tmp_path, BLOCKED, as_of=AT)
    with pytest.raises(BlockListError):
        BlockList(tmp_path)


def test_an_edition_may_be_empty(tmp_path: Path) -> None:
    build(tmp_path, [], as_of=AT)
    assert set(verdicts(tmp_path, GOOD[:100])) == {Verdict.CLEAR}


def test_a_full_edition_replaces_files_of_another_version(folder: Path) -> None:
    for name in (FILTER, EXACT):
        data = bytearray((folder / name).read_bytes())
        data[4] = 1
        (folder / name).write_bytes(data)
    with pytest.raises(BlockListError, match="version 1"):
        BlockList(folder)
    assert build(folder, BLOCKED, as_of=AT - 5).edition == AT + 1
    assert verdicts(folder, [BLOCKED[0], GOOD[0]]) == [Verdict.BLOCKED, Verdict.CLEAR]


def test_a_failed_build_leaves_the_edition_before_it(folder: Path) -> None:
    def broken() -> Iterator[tuple[Kind, str]]:
        yield from GOOD[:10]
        raise OSError("the database is gone")

    with pytest.raises(OSError, match="gone"):
        build(folder, broken(), as_of=AT + 9)
    with pytest.raises(QueryError):
        build_delta(folder, [(Kind.CARD, "1")], as_of=AT + 9)
    assert sorted(path.name for path in folder.iterdir()) == sorted([FILTER, EXACT])
    assert verdicts(folder, [BLOCKED[0], GOOD[0]]) == [Verdict.BLOCKED, Verdict.CLEAR]


@pytest.mark.parametrize("name", [FILTER, EXACT, DELTA])
def test_damage_anywhere_is_found(folder: Path, name: str) -> None:
    build_delta(folder, BLOCKED[3:] + GOOD[:3], as_of=AT + 1)
    path = folder / name
    whole = path.read_bytes()
    places = [*range(HEAD_BYTES), HEAD_BYTES + 3, len(whole) // 2, len(whole) - 1]
    broken = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in places]
    broken += [whole[:at] for at in (0, 5, HEAD_BYTES - 1, HEAD_BYTES, len(whole) - 1)]
    for data in [*broken, whole + b"\0"]:
        path.write_bytes(data)
        with pytest.raises(BlockListError):
            BlockList(folder)


def signed(folder: Path, name: str, content: Content, body: bytes, entries: int, removed: int = 0) -> None:
    """A file whose digest is right, so that only what it says can be wrong."""
    sm3 = default_engine().sm3
    with (folder / FILTER).open("rb") as stream:
        full, _ = check(stream, Content.FILTER, FILTER)
    edition = full.edition + (content is Content.DELTA)
    facts = struct.pack("<4sBBHQQQ16sQQ", b"OCBL", 2, content, 0, edition, AT, AT, full.salt, entries, removed)
    chunks = [sm3(body[at : at + (1 << 20)]) for at in range(0, len(body), 1 << 20)]
    (folder / name).write_bytes(facts + sm3(facts + b"".join(chunks)) + body)


@settings(max_examples=80)
@given(st.sampled_from([FILTER, EXACT, DELTA]), st.binary(max_size=120), st.integers(0, 2**64 - 1), st.integers(0, 9))
def test_any_body_is_used_or_refused(
    edition: Path, tmp_path_factory: pytest.TempPathFactory, name: str, body: bytes, entries: int, removed: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for other in (FILTER, EXACT):
        shutil.copy(edition / other, folder / other)
    content = {FILTER: Content.FILTER, EXACT: Content.EXACT, DELTA: Content.DELTA}[name]
    signed(folder, name, content, body, entries % 12 if entries % 3 else entries, removed if name == DELTA else 0)
    try:
        answers = set(verdicts(folder, BLOCKED[:3]))
    except BlockListError:
        return
    assert answers <= set(Verdict)


@pytest.mark.parametrize(
    ("name", "content", "body", "entries", "removed"),
    [
        (FILTER, Content.FILTER, struct.pack("<Q", 0) + b"\0" * 8, 1, 0),
        (FILTER, Content.FILTER, struct.pack("<Q", 2**60) + b"\0" * 8, 1, 0),
        (FILTER, Content.FILTER, struct.pack("<Q", 9), 0, 0),
        (FILTER, Content.FILTER, struct.pack("<Q", 9) + b"\0" * 80, 1, 0),
        (EXACT, Content.EXACT, b"a" * 8 + struct.pack("<I", 2), 1, 0),
        (DELTA, Content.DELTA, b"a" * 16 + struct.pack("<II", 2, 0), 2, 0),
        (DELTA, Content.DELTA, (b"a" * 8 + struct.pack("<I", 1)) * 2, 1, 1),
        (DELTA, Content.DELTA, b"", 2**40, 0),
    ],
)
def test_contents_that_cannot_be(
    folder: Path, name: str, content: Content, body: bytes, entries: int, removed: int
) -> None:
    if name == FILTER:
        (folder / EXACT).unlink()
    signed(folder, name, content, body, entries, removed)
    with pytest.raises(BlockListError):
        BlockList(folder)


def test_a_file_of_another_content_is_refused(edition: Path) -> None:
    with (edition / FILTER).open("rb") as stream, pytest.raises(BlockListError):
        check(stream, Content.EXACT, FILTER)


def test_a_list_cut_short_in_use_is_noticed(folder: Path) -> None:
    with BlockList(folder) as block_list:
        with (folder / EXACT).open("r+b") as stream:
            stream.truncate(HEAD_BYTES)
        with pytest.raises(BlockListError):
            block_list.look(*BLOCKED[0])


def test_progress_names_every_step(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    cards = ((Kind.CARD, f"{number:032X}") for number in count())
    some = [next(cards) for _ in range(100_000)]
    build(tmp_path, some, as_of=AT, progress=lambda step, done: told.append((step, done)))
    assert told == [(step, 100_000) for step in ("read", "list", "filter")]


def test_a_listing_names_the_wrong_line_only(tmp_path: Path) -> None:
    path = tmp_path / "blocked.csv"
    path.write_text(f"# lost\n\ncard,{'1' * 32}\necard,{'ab' * 16}\n", encoding="utf-8")
    assert list(read_listing(path)) == [(Kind.CARD, "1" * 32), (Kind.ECARD, "ab" * 16)]
    for wrong in (f"bank,{'1' * 32}", "card,123", "1" * 100, f"card,{'1' * 30}\u0661\u0661"):
        path.write_text(f"card,{'1' * 32}\n{wrong}\n", encoding="utf-8")
        with pytest.raises(QueryError, match=r"blocked\.csv:2:") as caught:
            list(read_listing(path))
        assert wrong not in str(caught.value)
