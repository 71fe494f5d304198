"""The PIN dialog over HTTP: who may open and answer it, how often, and what of the digits is left behind."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apdu.inprocess import InProcessReaders
from apdu.serial.errors import PinEntriesDifferError, PinEntryCancelledError, PinEntryTimeoutError, PinLengthError
from apdu.serial.pinpad import Pin
from cardlib.failures import describe, failure_of
from terminal_agent.app import create_app
from terminal_agent.pin_dialog import PinDialog, PinForm, PinSubject
from terminal_agent.problems import ReaderBusyError
from terminal_agent.settings import AgentSettings
from tests.terminal_agent.stand import BASE, client_of, settings, until

OWN = {"Origin": BASE}
LISTED = "https://hall.example"


class Asking:
    """A function that waits for a PIN on a thread of its own."""

    def __init__(self, dialog: PinDialog, client: httpx.AsyncClient, *, is_new: bool = False) -> None:
        self.client = client
        self.task = asyncio.create_task(asyncio.to_thread(dialog.enter, is_new=is_new))
        self._dialog = dialog

    async def open(self) -> tuple[str, str]:
        """Address of the page, and the page."""
        await until(lambda: self._dialog.is_wanted)
        begun = await self.client.get("/pin")
        assert begun.status_code == 303
        page = await self.client.get(begun.headers["location"])
        assert page.status_code == 200
        return begun.headers["location"], page.text

    async def send(self, page: str, **fields: str) -> str:
        """The end the answer leads to."""
        sent = await self.client.post("/pin", data={"key": key_of(page)} | fields, headers=OWN)
        assert sent.status_code == 303
        return sent.headers["location"].removeprefix("/pin/end/")


def key_of(page: str) -> str:
    return re.findall(r'name="key" value="([\w-]{43})"', page)[0]


@asynccontextmanager
async def desk(**changes: Any) -> AsyncIterator[tuple[PinDialog, httpx.AsyncClient]]:
    app = create_app(settings(**changes), InProcessReaders(()))
    dialog: PinDialog = app.state.agent.dialog
    async with client_of(app) as client:
        yield dialog, client


async def test_a_pin_is_typed_and_wiped(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(1):
        async with desk() as (dialog, client):
            dialog.subject = lambda is_new: PinSubject("iVerifyPIN", "", "Reader <1>", "A0000****", 3)
            asking = Asking(dialog, client)
            address, page = await asking.open()
            assert (await client.get("/v1/info")).json()["is_pin_wanted"] is True
            for shown in (
                "请输入社保卡密码",
                "Enter the card&#39;s PIN",
                "验证密码",
                "Reader &lt;1&gt;",
                "A0000****",
                "3 次",
            ):
                assert shown in page
            assert await asking.send(page, pin="135790") == "sent"
            pin = await asking.task
            assert isinstance(pin, Pin)
            with pin:
                assert pin.digits == "135790"
            assert (len(pin), (await client.get("/v1/info")).json()["is_pin_wanted"]) == (0, False)
    assert "135790" not in caplog.text
    assert address.removeprefix("/pin/") not in "".join(r.getMessage() for r in caplog.records if r.name != "httpx")


@pytest.mark.parametrize(
    ("is_new", "fields", "end", "kind", "code"),
    [
        (False, {"act": "cancel"}, "cancelled", PinEntryCancelledError, -31),
        (False, {"pin": "123"}, "length", PinLengthError, -33),
        (False, {"pin": "1234567890123"}, "length", PinLengthError, -33),
        (False, {"pin": "12a456"}, "length", PinLengthError, -33),
        (False, {}, "length", PinLengthError, -33),
        (True, {"pin": "123456", "again": "123457"}, "differ", PinEntriesDifferError, -34),
        (True, {"pin": "123456"}, "differ", PinEntriesDifferError, -34),
    ],
)
async def test_ends_have_their_codes(
    is_new: bool, fields: dict[str, str], end: str, kind: type[Exception], code: int
) -> None:
    async with desk() as (dialog, client):
        asking = Asking(dialog, client, is_new=is_new)
        _, page = await asking.open()
        assert ('name="again"' in page) is is_new
        assert await asking.send(page, **fields) == end
        with pytest.raises(kind) as raised:
            await asking.task
        assert describe(failure_of(raised.value)).driver_code == code
        assert (await client.get(f"/pin/end/{end}")).status_code == 200


async def test_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk() as (dialog, client):
        for total_s in (0.3, 5.0):  # a busy computer may open the page too late for the first
            monkeypatch.setattr(dialog, "_total_s", total_s)
            asking = Asking(dialog, client)
            await until(lambda: dialog.is_wanted or asking.task.done())  # noqa: B023 - awaited here
            page = (await client.get("/pin", follow_redirects=True)).text
            with pytest.raises(PinEntryTimeoutError) as raised:
                await asking.task
            if 'name="key"' in page:
                break
        assert describe(failure_of(raised.value)).driver_code == -32
        assert await asking.send(page, pin="123456") == "stale"
        assert (await client.get("/pin/end/stale")).status_code == 410


async def test_tickets_and_keys_work_once() -> None:
    async with desk() as (dialog, client):
        assert (await client.get("/pin")).headers["location"] == "/pin/end/none"
        asking = Asking(dialog, client)
        first, old = await asking.open()
        assert (await client.get(first)).status_code == 410, "a second opening"
        assert (await client.get("/pin/" + "A" * 43)).status_code == 410
        assert (await client.get("/pin/%E5%AF%86")).status_code == 410
        _, page = await asking.open()
        assert await asking.send(old, pin="123456") == "stale", "a newer page made it useless"
        assert await asking.send(page.replace(key_of(page), "B" * 43), pin="123456") == "stale"
        with pytest.raises(ReaderBusyError):
            await asyncio.to_thread(dialog.enter, is_new=False)
        assert await asking.send(page, pin="123456") == "sent"
        assert await asking.send(page, pin="654321") == "stale", "a replay"
        with await asking.task as pin:
            assert pin.digits == "123456"
        following = Asking(dialog, client)
        await until(lambda: dialog.is_wanted)
        assert await following.send(page, pin="123456") == "stale", "the key of an earlier entry"
        dialog.close()
        with pytest.raises(PinEntryCancelledError):
            await following.task
        with pytest.raises(PinEntryCancelledError):
            dialog.enter(is_new=False)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": LISTED},
        {"Origin": "null"},
        {"Origin": "https://other.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": BASE, "Host": "evil.example:12343"},
    ],
)
async def test_only_the_agents_own_page_may(headers: dict[str, str]) -> None:
    async with desk(allowed_origins=(LISTED,)) as (dialog, client):
        asking = Asking(dialog, client)
        _, page = await asking.open()
        ticket = dialog.take_ticket()
        assert ticket is not None
        for path in ("/pin", f"/pin/{ticket}", "/pin/end/sent"):
            assert (await client.get(path, headers=headers)).status_code in (403, 421)
        form = {"key": key_of(page), "pin": "123456"}
        assert (await client.post("/pin", data=form, headers=headers)).status_code in (403, 421)
        assert (await client.post("/pin", data=form)).status_code == 403, "a form without Origin"
        preflight = {"Access-Control-Request-Method": "POST"} | headers
        assert (await client.options("/pin", headers=preflight)).status_code in (403, 421)
        assert (await client.get(f"/pin/{ticket}")).status_code == 200, "the ticket is still good"
        dialog.close()
        with pytest.raises(PinEntryCancelledError):
            await asking.task


async def test_no_frame_no_cache_no_long_form() -> None:
    async with desk() as (dialog, client):
        asking = Asking(dialog, client)
        await until(lambda: dialog.is_wanted)
        ticket = dialog.take_ticket()
        for path in ("/pin", f"/pin/{ticket}", "/pin/end/stale", "/pin/end/nonsense"):
            answer = await client.get(path)
            policy = answer.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in policy
            assert "form-action 'self'" in policy
            assert "default-src 'none'" in policy
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "same-origin", "else a form's Origin is null"
        counter = await client.get("/")
        assert "form-action 'none'" in counter.headers["content-security-policy"]
        assert (await client.post("/pin", content=b"pin=" + b"1" * 600, headers=OWN)).status_code == 413
        dialog.close()
        with pytest.raises(PinEntryCancelledError):
            await asking.task


async def test_who_goes_while_the_card_is_asked_for_its_tries_is_not_waited_for() -> None:
    async with desk() as (dialog, client):
        begun, goes_on = threading.Event(), threading.Event()

        def subject(is_new: bool) -> PinSubject:
            begun.set()
            goes_on.wait()
            return PinSubject()

        dialog.subject = subject
        asking = Asking(dialog, client)
        await until(begun.is_set)
        dialog.give_up()
        goes_on.set()
        with pytest.raises(PinEntryCancelledError):
            await asyncio.wait_for(asking.task, 20)
        assert not dialog.is_wanted


async def test_listeners_hear_that_a_pin_is_wanted_and_no_way_in() -> None:
    app = create_app(settings(), InProcessReaders(()))
    async with client_of(app) as client:
        dialog, events = app.state.agent.dialog, app.state.agent.hub.subscribe()
        asking = Asking(dialog, client)
        _, page = await asking.open()
        assert await asking.send(page, pin="123456") == "sent"
        (await asking.task).wipe()
        wanted, over = [await anext(events) for _ in range(2)]
        assert (wanted.name, over.name) == ("pin_wanted", "pin_over")
        assert wanted.data == {"function": "", "is_new": False, "seconds": 60}
        assert "12345" not in f"{wanted}{over}"


async def test_the_configured_window_gets_an_address_and_is_ended(tmp_path: Path) -> None:
    seen = tmp_path / "address"
    script = f"import sys,time;open({str(seen)!r},'w').write(sys.argv[1]);time.sleep(60)"
    async with desk(pin_dialog_command=(sys.executable, "-c", script, "{url}")) as (dialog, client):
        asking = Asking(dialog, client)
        address = await until(lambda: seen.exists() and seen.read_text())
        assert address.startswith(f"{BASE}/pin/")
        page = (await client.get(address)).text
        assert await asking.send(page, pin="123456") == "sent"
        (await asking.task).wipe()
        await until(lambda: all(thread.name != "pin window" for thread in threading.enumerate()))


async def test_a_window_that_does_not_start_leaves_the_page(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with desk(pin_dialog_command=("no-such-browser", "--app={url}")) as (dialog, client):
            asking = Asking(dialog, client)
            _, page = await asking.open()
            assert await asking.send(page, act="cancel") == "cancelled"
            with pytest.raises(PinEntryCancelledError):
                await asking.task
    assert "did not start" in caplog.text
    assert "/pin/" not in caplog.text


def test_a_window_without_address_is_refused() -> None:
    with pytest.raises(ValueError, match="url"):
        AgentSettings(pin_dialog_command=("browser",))


@hypothesis_settings(max_examples=100)
@given(st.binary(max_size=80) | st.lists(st.sampled_from([b"pin=", b"key=", b"&", b"act=cancel", b"12"])).map(b"".join))
def test_every_form_is_taken_apart_and_wiped(raw: bytes) -> None:
    body = bytearray(raw)
    with PinForm(body) as form:
        assert len(form.pin) + len(form.again) + len(form.key) <= len(raw)
    assert not any(body) and not any(form.pin) and not any(form.again)  # noqa: PT018
