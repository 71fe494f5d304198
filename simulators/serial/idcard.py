"""A simulated ID-card module with the card of an invented person."""

from __future__ import annotations

from dataclasses import dataclass

from simulators.serial.pty import PtyDevice

HEADER = bytes.fromhex("AAAAAA9669")
SAM_NUMBER = bytes.fromhex("05000300") + bytes(12)
OK, CHECK_ERROR, UNKNOWN_COMMAND, NOT_PERMITTED, FOUND, NOT_FOUND, SELECT_FAILED = (
    0x90,
    0x10,
    0x21,
    0x23,
    0x9F,
    0x80,
    0x81,
)


@dataclass(frozen=True, slots=True)
class Person:
    """Invented: region 990101 does not exist. `valid_to` may be 长期; `kind` J has the residence permit's marks."""

    name: str = "测试甲"
    sex: str = "1"
    nation: str = "01"
    birth: str = "19900101"
    address: str = "测试省测试市测试路1号"
    number: str = "990101199001010012"
    issuer: str = "测试市公安局"
    valid_from: str = "20200101"
    valid_to: str = "20400101"
    kind: str = ""

    def text(self) -> bytes:
        """The 256 bytes a module delivers: UTF-16LE, fields of fixed length filled with spaces."""
        fields = (
            (self.name, 15),
            (self.sex, 1),
            (self.nation, 2),
            (self.birth, 8),
            (self.address, 35),
            (self.number, 18),
            (self.issuer, 15),
            (self.valid_from, 8),
            (self.valid_to, 8),
            ("", 14),
            (self.kind, 1),
            ("", 3),
        )
        return b"".join(text.ljust(width)[:width].encode("utf-16-le") for text, width in fields)


class SimIdCardModule(PtyDevice):
    """`place` and `lift` a card; like the real ones it finds a card once, until that has been lifted."""

    def __init__(self, person: Person | None = None, *, label: str = "SDT") -> None:
        self.photo = bytes(range(256)) * 4
        self.override: dict[int, int] = {}
        """Status instead of the right one, by command and parameter as one number."""
        self._person = person
        self._state = "new"
        self._buffer = b""
        super().__init__(label)

    def place(self, person: Person) -> None:
        self._person, self._state = person, "new"

    def lift(self) -> None:
        self._person, self._state = None, "new"

    def reset(self) -> None:
        self._buffer = b""

    def receive(self, data: bytes) -> bytes:
        self._buffer += data
        answers = b""
        while (start := self._buffer.find(HEADER)) >= 0 and len(self._buffer) >= start + 7:
            length = int.from_bytes(self._buffer[start + 5 : start + 7], "big")
            if len(self._buffer) < start + 7 + length:
                break
            counted = self._buffer[start + 5 : start + 7 + length]
            self._buffer = self._buffer[start + 7 + length :]
            answers += self._answer(counted)
        return answers

    def _answer(self, counted: bytes) -> bytes:
        check = 0
        for byte in counted:
            check ^= byte
        command = int.from_bytes(counted[2:4], "big")
        status, data = (CHECK_ERROR, b"") if check else self._run(command)
        if command in self.override:
            status, data = self.override[command], b""
        body = bytes((0, 0, status)) + data
        counted = (len(body) + 1).to_bytes(2, "big") + body
        check = 0
        for byte in counted:
            check ^= byte
        return HEADER + counted + bytes([check])

    def _run(self, command: int) -> tuple[int, bytes]:
        if command == 0x11FF:
            return OK, b""
        if command == 0x12FF:
            return OK, SAM_NUMBER
        if command == 0x2001:
            if self._person is None or self._state == "read":
                return NOT_FOUND, b""
            self._state = "found"
            return FOUND, bytes(4)
        if command == 0x2002:
            if self._person is None or self._state != "found":
                return SELECT_FAILED, b""
            self._state = "selected"
            return OK, bytes(8)
        if command == 0x3001:
            if self._person is None or self._state != "selected":
                return NOT_PERMITTED, b""
            self._state = "read"
            text = self._person.text()
            return OK, len(text).to_bytes(2, "big") + len(self.photo).to_bytes(2, "big") + text + self.photo
        return UNKNOWN_COMMAND, b""
