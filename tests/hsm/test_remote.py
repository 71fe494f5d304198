"""The key service over its socket: what passes, what is refused, what a lost server means."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm import remote
from hsm.api import (
    Algorithm,
    Authentication,
    BadInputError,
    CardFactors,
    KeyInfo,
    KeyNotFoundError,
    KeyPurposeError,
    KeyRef,
    KeyService,
    KeyStoreLockedError,
    Purpose,
)
from hsm.device import DeviceLostError
from hsm.remote import MANAGING, USING, KeyServer, RemoteService, connect, decode, encode
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from hsm.transactions import TransactionKeys
from hsm.transit_transactions import TransitTacs

KEY = KeyRef("records", Algorithm.SM4)
FACTORS = CardFactors("990100", bytes(range(8)))


class Served:
    def __init__(self, folder: Path, *, may_manage: bool = False) -> None:
        self.path = folder / "keys.socket"
        self.service = SoftKeyService.create(folder / "store", "a long passphrase", cost=ScryptCost(n=2))
        self.may_manage = may_manage
        self.start()

    def start(self) -> None:
        self.server = KeyServer(self.path, self.service, may_manage=self.may_manage)
        self.thread = threading.Thread(target=self.server.serve)
        self.thread.start()

    def stop(self) -> None:
        self.server.close()
        self.thread.join()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.stop()
    served.service.close()


@pytest.fixture
def client(served: Served) -> Iterator[RemoteService]:
    client = connect(served.path)
    yield client
    client.close()


def test_is_the_contract(client: RemoteService) -> None:
    assert isinstance(client, KeyService)
    assert isinstance(client, TransactionKeys)
    assert isinstance(client, TransitTacs)
    assert {"seal", "sign", "check_tac", "check_transit_tac", "keys"} <= USING
    assert not USING & MANAGING


def test_values_and_errors_pass(served: Served, client: RemoteService) -> None:
    info = client.generate(KEY, Purpose.SEAL)
    assert info == served.service.info(KEY) == client.info(KEY)
    assert isinstance(info, KeyInfo)
    assert client.unseal(KEY, client.seal(KEY, b"plain", b"row 1"), b"row 1") == b"plain"
    with pytest.raises(KeyNotFoundError, match="absent"):
        client.seal(KeyRef("absent", Algorithm.SM4), b"")
    with pytest.raises(BadInputError):
        client.random(0)
    listed = client.keys()
    assert [info.ref for info in listed] == [KEY]


def test_users_bring_and_destroy_no_keys(served: Served, client: RemoteService, tmp_path: Path) -> None:
    client.generate(KEY, Purpose.SEAL)
    with pytest.raises(KeyPurposeError):
        client.destroy(KEY)
    with pytest.raises(KeyPurposeError):
        client.generate(KeyRef("IRK", Algorithm.SM4), Purpose.AUTHENTICATION)
    with pytest.raises(KeyPurposeError):
        client.import_components(KeyRef("IRK", Algorithm.SM4), Purpose.AUTHENTICATION, [bytes(16), b"\x01" * 16])
    folder = tmp_path / "managed"
    folder.mkdir()
    managed = Served(folder, may_manage=True)
    try:
        manager = connect(managed.path)
        manager.generate(KeyRef("IRK", Algorithm.SM4), Purpose.AUTHENTICATION, level=1)
        manager.destroy(KeyRef("IRK", Algorithm.SM4))
        manager.close()
    finally:
        managed.stop()
        managed.service.close()


def test_work_resumes_when_the_server_does(served: Served, client: RemoteService) -> None:
    client.generate(KEY, Purpose.SEAL)
    served.stop()
    for _ in range(2):
        with pytest.raises(DeviceLostError):
            client.seal(KEY, b"x")
    served.start()
    assert client.unseal(KEY, client.seal(KEY, b"x")) == b"x"
    client.close()
    with pytest.raises(KeyStoreLockedError):
        client.seal(KEY, b"x")


def test_a_closed_server_serves_nobody_who_came_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served, is_accepted, is_closed = Served(tmp_path), threading.Event(), threading.Event()
    begin = remote._Server.process_request_thread

    def late(server: remote._Server, request: socket.socket, address: object) -> None:
        is_accepted.set()
        is_closed.wait(30)
        begin(server, request, address)

    monkeypatch.setattr(remote._Server, "process_request_thread", late)
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(30)
        line.connect(str(served.path))
        remote.send(line, {"method": "random", "arguments": [4], "options": {}})
        assert is_accepted.wait(30)
        served.stop()
        is_closed.set()
        with contextlib.suppress(ConnectionError):
            assert line.recv(1) == b""
    served.service.close()


def test_threads_have_their_own_lines(client: RemoteService) -> None:
    client.generate(KEY, Purpose.SEAL)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            text = b"%d" % number
            assert all(client.unseal(KEY, client.seal(KEY, text)) == text for _ in range(10))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_other_users_are_turned_away(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    assert served.path.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(remote, "_peer", lambda _: os.getuid() + 1)
    stranger = connect(served.path)
    with pytest.raises(DeviceLostError):
        stranger.keys()


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"method": "close", "arguments": [], "options": {}}',
        b'{"method": "__init__", "arguments": [], "options": {}}',
        b'{"method": "info", "arguments": [{"type": "Path", "fields": {}}], "options": {}}',
        b'{"method": "info", "arguments": [{"type": "KeyRef", "fields": {"x": 1}}], "options": {}}',
        b'{"method": "random", "arguments": [{"bytes": "?"}], "options": {}}',
        b'{"method": "generate", "arguments": [], "options": {}}',
        b"[" * 100_000,
    ],
)
def test_other_frames_are_answered_with_an_error(served: Served, frame: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(30)
        line.connect(str(served.path))
        line.sendall(struct.pack(">I", len(frame)) + frame)
        answer = remote.receive(line)
    assert answer is not None
    assert b'"error"' in answer
    assert b"Traceback" not in answer


def test_too_long_and_cut_frames_end_the_connection(served: Served, client: RemoteService) -> None:
    for raw in (struct.pack(">I", remote.MAX_FRAME + 1), b"\0\0", struct.pack(">I", 9) + b"x"):
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(30)
            line.connect(str(served.path))
            line.sendall(raw)
            line.shutdown(socket.SHUT_WR)
            assert b"error" in (remote.receive(line) or b"")
            assert line.recv(1) == b""
    assert client.random(4)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["bytes", "enum", "list", "type"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=100)
@given(value=JSON)
def test_decoding_anything(value: object) -> None:
    with contextlib.suppress(BadInputError):
        decode(value)


@settings(max_examples=60)
@given(data=st.binary(max_size=20), number=st.integers(), text=st.text(max_size=10))
def test_values_survive(data: bytes, number: int, text: str) -> None:
    items = [Authentication(FACTORS, data, data), KEY, None, True, (number, text), [Purpose.SEAL]]
    assert decode(encode(items)) == items
    with pytest.raises(BadInputError):
        encode(object())
