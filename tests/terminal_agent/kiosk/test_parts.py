"""Forms, words, voice, receipts and the staff's side of the kiosk."""

from __future__ import annotations

import asyncio
import re
import shutil
import string
import tomllib
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cardlib.failures import FailureCode, describe
from terminal_agent.kiosk import forms, slips, voice, words
from terminal_agent.kiosk.clock import RealClock
from terminal_agent.kiosk.flows import FLOWS, load
from terminal_agent.kiosk.screens import Field, Receipt, Screen
from terminal_agent.kiosk.staff import TRIES, StaffPinError, is_pin, staff_pin
from tests.terminal_agent.kiosk.stand import Guest, visiting

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,12}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), max_size=30)


# -- forms -----------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.dictionaries(NAMES, VALUES, max_size=forms.MAX_FIELDS))
def test_a_form_comes_back_as_it_was_sent(fields: dict[str, str]) -> None:
    body = urlencode(fields).encode()
    if len(body) <= forms.MAX_FORM:
        assert forms.parse(body) == fields


@settings(max_examples=100)
@given(st.binary(max_size=200) | st.text("ab=&%+0\x00é", max_size=60).map(str.encode))
def test_any_bytes_are_a_form_or_refused(body: bytes) -> None:
    try:
        fields = forms.parse(body)
    except forms.FormError:
        return
    assert len(fields) <= forms.MAX_FIELDS
    assert all(value.isprintable() for value in fields.values())


@pytest.mark.parametrize(
    "body",
    [
        b"a=1&a=2",
        b"a=%00",
        b"a=%ff",
        b"A=1",
        b"=1",
        b"a",
        b"&",
        "a=é".encode(),
        b"a=" + b"x" * forms.MAX_FORM,
        b"&".join(b"f%d=1" % n for n in range(forms.MAX_FIELDS + 1)),
    ],
)
def test_what_a_page_of_ours_never_sends_is_refused(body: bytes) -> None:
    with pytest.raises(forms.FormError):
        forms.parse(body)


@pytest.mark.parametrize("number", ["", "-1", "1.0", "²", "99999999999", "2147483648"])
def test_numbers_are_small_and_plain(number: str) -> None:
    with pytest.raises(forms.FormError):
        forms.number({"screen": number}, "screen")


def test_entries_are_checked_as_a_whole_and_not_told() -> None:
    screen = Screen(name="x", fields=(Field("a", "[0-9]+", 3), Field("b", "x", 1, is_optional=True)))
    assert forms.entries(screen, {"a": " 12 ", "c": "other"}) == {"a": "12", "b": ""}
    for wrong in ("", "1234", "12x", "12\n3"):
        with pytest.raises(forms.EntryError) as told:
            forms.entries(screen, {"a": wrong})
        assert told.value.fields == ("a",)
        assert not wrong or wrong not in str(told.value)


# -- words -----------------------------------------------------------------------------------------------------------


def test_both_languages_have_the_same_words_and_places() -> None:
    zh, en = words.words()["zh"], words.words()["en"]
    assert zh.keys() == en.keys()
    for screen in zh:
        assert zh[screen].keys() == en[screen].keys(), screen
        for key, text in zh[screen].items():
            assert _places(text) == _places(en[screen][key]), (screen, key)
            assert text.strip(), (screen, key)
            assert en[screen][key].strip(), (screen, key)
            assert not re.search("[\u4e00-\u9fff]", en[screen][key]) or key in ("mark", "other_language"), (screen, key)


def _places(text: str) -> set[str | None]:
    return {place for _, place, _, _ in string.Formatter().parse(text) if place is not None}


def test_every_screen_speaks_and_no_sentence_has_a_place_for_data() -> None:
    for lang in words.LANGS:
        silent = [
            name
            for name, texts in words.words()[lang].items()
            if "title" in texts and not _is_part(name) and "say" not in texts
        ]
        assert not silent
        for sentence in words.spoken(lang):
            assert not _places(sentence)
            assert len(sentence) < 200


def _is_part(table: str) -> bool:
    return table.startswith(("tile_", "failure_")) or table in ("shared", "steps", "receipt")


def test_every_template_is_a_screen_s_a_layout_or_part_of_one() -> None:
    root = Path(words.__file__).parent
    pages = {page.stem: page.read_text("utf-8") for page in (root / "templates").glob("*.html")}
    code = "".join(file.read_text("utf-8") for file in root.rglob("*.py"))
    named = set(re.findall(r'"(\w+)(?:\.html)?"', code)) | set(re.findall(r'"(\w+)\.html"', "".join(pages.values())))
    assert pages.keys() - named - words.words()["zh"].keys() == set()


def test_every_failure_is_said_whole_and_every_flow_has_a_tile() -> None:
    known = words.words()["zh"]
    for name, flow in load().items():
        assert flow.tile is None or {"title", "hint"} <= known[f"tile_{name}"].keys()
    assert len(set(FLOWS)) == len(FLOWS)
    for table in known:
        if table.startswith("failure_"):
            describe(FailureCode(table.removeprefix("failure_")))
            assert known[table].keys() == {"text", "cause", "remedy"}


def test_a_photo_is_refused_in_words_without_figures() -> None:
    rules = tomllib.loads((Path(words.__file__).parents[2] / "issuance/input_rules.toml").read_text("utf-8"))
    for lang in words.LANGS:
        table = words.words()[lang]["photo_reasons"]
        reasons = {key.removesuffix("_do") for key in table}
        assert reasons - {"other"} <= rules.keys()
        assert table.keys() == reasons | {f"{reason}_do" for reason in reasons}
        assert not re.search("[0-9{]", "".join(table.values()))


def test_no_screen_shows_an_icon_that_is_not_drawn() -> None:
    root = Path(words.__file__).parents[2]
    drawn = set(re.findall(r'id="i-([a-z]+)"', (root / "onecard_ui/static/icons.svg").read_text()))
    used = {flow.tile.icon for flow in load().values() if flow.tile}
    for page in (root / "terminal_agent/kiosk/templates").glob("*.html"):
        used |= set(re.findall(r'icon\("([a-z]+)"', page.read_text()))
    assert used <= drawn


# -- voice -----------------------------------------------------------------------------------------------------------


FAKE_SPEAKER = """#!/bin/sh
cat > {heard}
echo x >> {heard}.calls
printf 'RIFF\\377\\377\\377\\177WAVEfmt \\020\\000\\000\\0001234567890123456data\\377\\377\\377\\177abcdef'
"""


async def test_sentences_are_spoken_once_with_true_lengths(tmp_path: Path) -> None:
    program, heard = tmp_path / "speaker", tmp_path / "heard"
    program.write_text(FAKE_SPEAKER.format(heard=heard))
    program.chmod(0o755)
    speaker = voice.Speaker(str(program))
    made = await speaker.wav("zh", 0)
    assert made is not None
    assert made == await speaker.wav("zh", 0)
    assert made[4:8] == (len(made) - 8).to_bytes(4, "little")
    assert made.endswith(b"data\x06\x00\x00\x00abcdef")
    assert heard.read_text() == words.spoken("zh")[0]
    assert (tmp_path / "heard.calls").read_text() == "x\n"
    assert await speaker.wav("zh", len(words.spoken("zh"))) is None
    assert await speaker.wav("en", -1) is None


@pytest.mark.parametrize("script", ["exit 3", "printf nonsense", "exec no-such-program"])
async def test_a_speaker_that_fails_is_silence(tmp_path: Path, script: str) -> None:
    program = tmp_path / "speaker"
    program.write_text(f"#!/bin/sh\ncat > /dev/null\n{script}\n")
    program.chmod(0o755)
    assert await voice.Speaker(str(program)).wav("en", 0) is None


@pytest.mark.skipif(shutil.which(voice.PROGRAM) is None, reason="espeak-ng is not installed")
@pytest.mark.parametrize("lang", words.LANGS)
async def test_the_real_speaker_knows_both_languages(lang: words.Lang) -> None:
    made = await voice.Speaker().wav(lang, 0)
    assert made is not None
    assert len(made) > 10_000


# -- receipts --------------------------------------------------------------------------------------------------------


def test_a_receipt_fits_the_paper_and_is_a_file_that_says_the_same() -> None:
    receipt = Receipt("test", (("receipt_number", "很长的内容" * 9),), "9A41-7Q", "help")
    shown = list(slips.lines(receipt, "zh", "示例市民服务中心", slips.datetime(2026, 1, 5, 9, 0)))
    assert all(slips._width(line.text) <= slips.WIDTH // (2 if line.is_large else 1) for line in shown)
    assert slips.as_receipt(receipt, "en", "").encode()
    pdf = slips.as_pdf(receipt, "zh", "示例市民服务中心")
    assert "示例市民服务中心".encode("utf-16-be").hex().encode() in pdf
    start = int(pdf.rsplit(b"startxref\n", 1)[1].split()[0])
    assert pdf[start:].startswith(b"xref")
    for index, entry in enumerate(re.findall(rb"^(\d{10}) 00000 n", pdf, re.MULTILINE), 1):
        assert pdf[int(entry) :].startswith(b"%d 0 obj" % index)


def test_a_receipt_s_number_is_whole() -> None:
    for number, parts in (("9A41-7Q", ["9A41-7Q"]), ("2600 0000 0000 0175", ["2600 0000", "0000 0175"])):
        shown = slips.lines(Receipt("test", (), number), "zh", "", slips.datetime(2026, 1, 5, 9, 0))
        texts = [(line.text, line.is_large) for line in shown]
        first = texts.index((parts[0], True))
        assert [text for text, is_large in texts if is_large] == parts
        assert texts[first - 1] == ("受理号", False)


def test_a_place_is_broken_where_it_has_a_point() -> None:
    shown = slips.lines(Receipt("test"), "zh", "示例市民服务中心一层 · 2 号自助机", slips.datetime(2026, 1, 5, 9, 0))
    assert [line.text for line in shown][1:3] == ["示例市民服务中心一层", "2 号自助机"]


@settings(max_examples=80)
@given(st.text(st.sampled_from("卡 ab一，“·-㛃9"), max_size=90), st.integers(2, 40))
@example("check and go on", 12)
def test_folding_loses_nothing_but_blanks(text: str, width: int) -> None:
    folded = slips.folded(text, width)
    assert "".join(folded).replace(" ", "") == text.replace(" ", "")
    assert all(sum(2 if char > "~" else 1 for char in line) <= width for line in folded)
    assert all(line == line.strip() for line in folded)


def test_no_line_begins_with_a_mark_that_ends_one() -> None:
    assert slips.folded("点“取我的卡”，或到窗口", 14) == ["点“取我的", "卡”，或到窗口"]


# -- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passes", range(4))
async def test_an_end_that_meets_what_is_waited_for_is_no_less_an_end(passes: int) -> None:
    """Else an agent that stops while somebody presses a button would never have stopped."""
    event = asyncio.Event()

    async def waits() -> None:
        while True:
            await RealClock().wait(event, 600.0)
            event.clear()

    task = asyncio.create_task(waits())
    for _ in range(3):
        await asyncio.sleep(0)
    event.set()
    for _ in range(passes):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=30)
    assert task.cancelled()


# -- staff -----------------------------------------------------------------------------------------------------------

PIN = "135790"


def test_a_staff_pin_is_kept_as_what_scrypt_makes_of_it() -> None:
    kept = staff_pin(PIN)
    assert is_pin(PIN, kept)
    assert not is_pin("135791", kept)
    assert PIN not in kept
    for wrong in ("12345", "1234567890123", "12345a", "１２３４５６"):
        with pytest.raises(StaffPinError):
            staff_pin(wrong)


async def open_staff(guest: Guest, pin: str) -> int:
    return await guest.post("/kiosk/staff/open", {"pin": pin})


async def test_staff_see_the_machine_and_close_and_reopen_it() -> None:
    async with visiting({"trail": _nothing}, kiosk_staff_pin=staff_pin(PIN)) as guest:
        assert "staff_log_in" in (await guest.client.get("/kiosk/staff")).text
        await guest.tool("help")
        assert await open_staff(guest, "000000") == 403
        assert not guest.desk.staff.is_open
        assert await open_staff(guest, PIN) == 303
        assert guest.desk.state().mode == "staff"
        assert (await guest.client.get("/kiosk")).headers["location"] == "/kiosk/staff"
        page = (await guest.client.get("/kiosk/staff")).text
        assert "Citizen Slot 00 00" in page
        assert 'value="helped"' in page
        for act in ("helped", "out", "unknown", "test_print"):
            assert await guest.post("/kiosk/staff/act", {"act": act}) == 303
        assert guest.desk.help_since is None
        assert guest.desk.staff.note_failure is FailureCode.DEVICE_NOT_CONFIGURED
        await guest.post("/kiosk/staff/act", {"act": "close"})
        assert guest.screen == "out_of_service"
        assert guest.desk.state().mode == "out"
        assert await guest.post("/kiosk/staff/act", {"act": "reopen"}) == 303
        assert guest.screen == "out_of_service"
        await open_staff(guest, PIN)
        await guest.post("/kiosk/staff/act", {"act": "reopen"})
        await guest.clock.advance(181)
        assert not guest.desk.staff.is_open
        assert guest.screen == "home"


async def test_staff_tries_are_few_and_without_a_pin_there_are_none() -> None:
    async with visiting({"trail": _nothing}, kiosk_staff_pin=staff_pin(PIN)) as guest:
        for _ in range(TRIES):
            await open_staff(guest, "000000")
        assert await open_staff(guest, PIN) == 403
        await guest.clock.advance(301)
        assert await open_staff(guest, PIN) == 303
    async with visiting({"trail": _nothing}) as guest:
        assert await open_staff(guest, "") == 403
        assert not guest.desk.staff.is_open


async def test_time_stands_still_for_the_visit_while_staff_are_there() -> None:
    async def flow(visit: object) -> None:
        await visit.ask(Screen(name="moment", layout="plain"))  # type: ignore[attr-defined]

    async with visiting({"flow": flow}, kiosk_staff_pin=staff_pin(PIN)) as guest:
        await guest.act("start-flow")
        await open_staff(guest, PIN)
        await guest.clock.advance(100)
        assert "moment" not in (await guest.client.get("/kiosk/staff")).text.split("<main")[1].split(">")[0]
        await guest.post("/kiosk/staff/act", {"act": "close"})
        assert guest.screen == "moment"


async def _nothing(visit: object) -> None: ...
