"""The phone app where something is missing or wrong: the network, its file, what was typed, a photo too large."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from cardlib.transit_code import MAJORITY
from simulators.portrait import Portrait
from simulators.wallet.family import portrait_of
from simulators.wallet.phone import Link, Phone, TransitRight, new_key
from tests.cardlib.transit_code_stand import Stand
from tests.issuance.conftest import ok
from tests.issuance.ecards.test_family import CHILD, guardian, issued
from tests.issuance.phone import PASSWORD
from tests.issuance.wallet.test_wallet import Wallet, unreached


async def test_gates_open_without_a_network(tmp_path: Path) -> None:
    """The page says so, and the phone keeps its word as long as the right lives."""
    async with unreached(tmp_path) as screen:
        await screen.get("/welcome")
        phone = Phone.open(tmp_path / f"{screen.http.cookies['oc_phone']}.json")
        phone.take_link(Link("e" * 32, "a" * 32, "测*甲", new_key()[0]))
        await screen.get("/code?scene=transit")
        assert "现在连不上社保卡服务" in screen.words
        signed = Stand().signed().encode(MAJORITY)
        phone.transit = TransitRight(signed, 2_000_000_000, 60, "a_c")
        phone.save()
        await screen.get("/code?scene=transit")
        assert (screen.status, "没有网络" in screen.words) == (200, True)
        assert screen.code.startswith(signed)


async def test_a_card_that_cannot_be_used_leaves_no_right_on_the_phone(wallet: Wallet) -> None:
    screen = await wallet.signed()
    (file,) = wallet.folder.iterdir()
    phone = Phone.open(file)
    phone.transit = TransitRight(b"\x81\x00", 2_000_000_000, 60, "a_c")
    phone.save()
    await screen.get("/card")
    assert Phone.open(file).transit is not None
    await screen.get("/do/loss_temporary")
    await screen.post("/do/loss_temporary", password=PASSWORD)
    assert Phone.open(file).transit is None


async def test_a_spoilt_phone_starts_again(wallet: Wallet) -> None:
    screen = await wallet.signed()
    (file,) = wallet.folder.iterdir()
    file.write_text('{"link": 1')
    await screen.get("/card")
    assert (screen.path, "重新申领" in screen.words) == ("/welcome", True)
    assert file.with_suffix(".spoilt").read_text() == '{"link": 1', "somebody may want to look at it"
    file.write_text("{")
    assert ok(await screen.http.get("/code/next"), 401)["go"].startswith("/welcome?")


async def test_what_are_not_six_digits_costs_no_try(wallet: Wallet) -> None:
    screen = await wallet.signed()
    for password in ("48291", "abcdef", "４８２９１５", "482915 "):
        for path in ("/do/loss_formal", "/card/password"):
            await screen.get(path)
            await screen.post(path, old=password, password=password, again=password)
            assert (screen.status, "密码是 6 位数字" in screen.words) == (409, True), (path, password)
    await screen.get("/do/loss_formal")
    await screen.post("/do/loss_formal", password="604827")
    assert "ECARD_PASSWORD_WRONG" in screen.words
    ((wrong,),) = wallet.centre.store.sql("SELECT wrong_at FROM ecards WHERE wrong_at != '[]'")
    assert len(json.loads(wrong)) == 1


async def test_too_large_a_file_is_said_to_be(tmp_path: Path) -> None:
    async with unreached(tmp_path) as screen:
        await screen.get("/scan")
        await screen.post("/scan", text="", files={"picture": ("code.png", bytes(21 * 2**20))})
        assert (screen.status, "文件太大了" in screen.words) == (413, True)


def _taken(size: tuple[int, int], turned: int) -> bytes:
    """A portrait as a telephone saves it: large, and lying on its side with a note to turn it."""
    exif = Image.Exif()
    exif[0x0112] = turned
    out = io.BytesIO()
    picture = Image.open(io.BytesIO(Portrait().jpeg())).resize(size)
    (picture.rotate(90, expand=True) if turned == 6 else picture).save(out, "JPEG", quality=97, exif=exif)
    return out.getvalue()


@pytest.mark.parametrize(("size", "turned"), [((1790, 2205), 1), ((1790, 2205), 6), ((358, 441), 1)])
def test_a_photo_becomes_a_portrait(size: tuple[int, int], turned: int) -> None:
    with Image.open(io.BytesIO(portrait_of(_taken(size, turned)))) as made:
        assert (made.size, made.format) == ((358, 441), "JPEG")
        difference = ImageChops.difference(made.convert("L"), Image.open(io.BytesIO(Portrait().jpeg())).convert("L"))
        assert ImageStat.Stat(difference).mean[0] < 6
    assert len(portrait_of(_taken(size, turned))) <= 40_000
    assert portrait_of(b"no picture") == b"no picture"


async def test_a_child_is_shown_with_its_photo(wallet: Wallet) -> None:
    screen = await wallet.signed()
    card_number = await issued(wallet.centre, 4, person=CHILD, guardian=guardian(1))
    await screen.get("/family/add")
    who = {"name": CHILD["name"], "number": CHILD["social_security_number"], "card_number": card_number}
    await screen.post("/family/add", **who, relation="child", password=PASSWORD, files={"portrait": ("", b"")})
    assert (screen.status, who["name"] in screen.text) == (409, True), "a child needs a photo"
    photo = {"portrait": ("IMG_1.JPG", _taken((1790, 2205), 6))}
    await screen.post("/family/add", **who, relation="child", password=PASSWORD, files=photo)
    assert (screen.path, "出示 TA 的码" in screen.words) == ("/family", True), screen.words
