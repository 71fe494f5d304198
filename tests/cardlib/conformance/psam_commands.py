"""Every command of the PSAM with the status words of its table (draft P9, tables 12 to 31; psam.md 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from simulators.card.crypto import Algorithm
from simulators.psam import KeyRecord, PsamState, PsamStore
from simulators.psam.state import KEY_FILE_RECORDS, KID_ADF_MASTER
from tests.cardlib.conformance.model import then
from tests.simulators.support import Host, vectors
from tests.simulators.test_psam import ADF, FACTORS, PROCESS, SELECT
from tests.simulators.test_psam_keys import loaded as write_key
from tests.simulators.test_psam_keys import open_psam, proved

NO_OTHER_INSTRUCTION = "it answers instructions the PSAM does not have"
STATE_FIRST = "the state is checked first (6901), and no settlement begins outside the application"
FREE_USE = "the keys are free to use (P9 table 8)"


@dataclass
class PsamHost:
    """A PSAM of one environment with its application selected; `send` follows 61xx."""

    algorithm: Algorithm
    store: FailingStore = field(default_factory=lambda: FailingStore())

    def __post_init__(self) -> None:
        self.send: Host = open_psam(self.algorithm, store=self.store)

    @property
    def is_sm4(self) -> bool:
        return self.algorithm is Algorithm.SM4

    @property
    def environment(self):
        return next(e for e in self.send.card.state.environments if e.algorithm is self.algorithm)

    def __call__(self, command: str) -> str:
        return self.send(command)


class FailingStore(PsamStore):
    """Keeps the image it was given last and, once broken, refuses every new one."""

    def __init__(self) -> None:
        super().__init__("unused")
        self.is_broken = False
        self._text = ""

    def exists(self) -> bool:
        return bool(self._text)

    def load(self) -> PsamState:
        return PsamState.from_json(self._text)

    def save(self, state: PsamState) -> None:
        if self.is_broken:
            raise OSError("memory")
        self._text = state.to_json()


PsamScenario = Callable[[PsamHost], str]


@dataclass(frozen=True)
class PsamCommand:
    """`plain` is a well-formed instance. Derived words: class 6E00, PSAM blocked 6A81."""

    name: str
    ins: int
    plain: PsamScenario
    done: PsamScenario
    words: dict[str, PsamScenario] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)

    def scenarios(self) -> dict[str, PsamScenario]:
        derived: dict[str, PsamScenario] = {
            "9000": self.done,
            "6E00": lambda h: h("1" + self.plain(h)[1:]),
            "6A81": lambda h: then(_block(h), h(self.plain(h))),
        }
        return derived | self.words


def _block(h: PsamHost) -> None:
    h.send.card.state.is_blocked = True


def _alg(h: PsamHost, des: str, sm4: str) -> str:
    return sm4 if h.is_sm4 else des


def _record(h: PsamHost, usage: str = "6708", value: str = "55" * 16) -> str:
    return f"{usage}00{int(h.algorithm):02X}00000000{value}"


def _load(h: PsamHost, plain: str, p1: int, *, kid: int = 1, p2: int = 0x11, key: bytes | None = None) -> str:
    if kid:
        assert proved(h.send, h.algorithm, kid) == "9000"
    options = {} if key is None else {"key": key}
    return write_key(h.send, h.algorithm, plain, p1, p2, **options)


def _broken(h: PsamHost, act: PsamScenario, *, kid: int | None = None) -> str:
    if kid is not None:
        proved(h.send, h.algorithm, kid)
    h.store.is_broken = True
    return act(h)


def _without_master(h: PsamHost) -> PsamHost:
    h.environment.controls = [key for key in h.environment.controls if key.kid != KID_ADF_MASTER]
    return h


def _outside(h: PsamHost) -> PsamHost:
    h(SELECT[h.algorithm])
    return h


def _wrong(h: PsamHost, times: int) -> str:
    return [proved(h.send, h.algorithm, 2, bytes(16)) for _ in range(times)][-1]


def _full(h: PsamHost) -> PsamHost:
    h.environment.records += [KeyRecord(0x67, 0x20, bytes(16), 0x11)] * KEY_FILE_RECORDS
    return h


def _delivered(h: PsamHost, usage: int = 0x67) -> PsamHost:
    h.environment.records.append(KeyRecord(usage, 0x08, bytes(16)))
    tail = _alg(h, "", "00" * 8)
    assert h(f"BFDE{usage:02X}08{_alg(h, '20', '28')}{FACTORS}{PROCESS}{tail}") == "9000"
    return h


def _purchase(h: PsamHost) -> str:
    name = _alg(h, "3DES", "SM4")
    return next(v for v in vectors("vectors_psam")["vectors"] if v["id"] == f"psam-purchase-{name}")["init_sam_capdu"]


def _settled(h: PsamHost) -> str:
    """CREDIT with the worked MAC2: the counter must be the worked one."""
    name = _alg(h, "3DES", "SM4")
    vector = next(v for v in vectors("vectors_psam")["vectors"] if v["id"] == f"psam-purchase-{name}")
    h.environment.counter = 0x2A
    h(vector["init_sam_capdu"])
    return h(vector["credit_sam_capdu"])


def _at(text: str, byte: int, value: str) -> str:
    return text[: 2 * byte] + value + text[2 * byte + len(value) :]


DELIVERY = "BFDE670820" + FACTORS + PROCESS
BLOCKS = "80FA0000"

SELECT_PSAM = PsamCommand(
    "SELECT",
    0xA4,
    lambda h: ADF,
    lambda h: h(ADF),
    {
        "61xx": lambda h: h.send.card.transmit(bytes.fromhex(ADF)).hex(),
        "6700": lambda h: h("00A4040001D1"),
        "6A82": lambda h: h("00A4040006D15600000599"),
        "6A86": lambda h: h("00A40100020016"),
    },
    {"6985": "nothing must come before a selection"},
)
READ = PsamCommand(
    "READ BINARY",
    0xB0,
    lambda h: "00B0990004",
    lambda h: h("00B0990004"),
    {
        "6A82": lambda h: h("00B0960006"),
        "6A86": lambda h: h("00B0E00004"),
        "6986": lambda h: h("00B0000004"),
        "6B00": lambda h: h("00B0990401"),
        "6Cxx": lambda h: h("00B0990005"),
    },
)
UPDATE = PsamCommand(
    "UPDATE BINARY",
    0xD6,
    lambda h: "00D69C000102",
    lambda h: then(proved(h.send, h.algorithm, 3), h("00D69C000102")),
    {
        "6581": lambda h: _broken(h, lambda h: h("00D69C000102"), kid=3),
        "6700": lambda h: h("00D69C0000"),
        "6982": lambda h: h("00D6990004" + "00" * 4),
        "6986": lambda h: h("00D6000001AA"),
        "6A82": lambda h: h("00D6960001AA"),
        "6A86": lambda h: h("00D6E00001AA"),
        "6B00": lambda h: then(proved(h.send, h.algorithm, 3), h("00D69C0A01AA")),
    },
)
GET_CHALLENGE = PsamCommand(
    "GET CHALLENGE",
    0x84,
    lambda h: "0084000008",
    lambda h: h("0084000008"),
    {"6700": lambda h: h("0084000005"), "6A86": lambda h: h("0084010008")},
)
GET_RESPONSE = PsamCommand(
    "GET RESPONSE",
    0xC0,
    lambda h: "00C0000001",
    lambda h: h(ADF),
    {
        "61xx": lambda h: then(h.send.card.transmit(bytes.fromhex(ADF)), h("00C0000004")),
        "6Cxx": lambda h: then(h.send.card.transmit(bytes.fromhex(ADF)), h("00C00000FF")),
        "6A86": lambda h: h("00C0010001"),
        "6F00": lambda h: h("00C0000001"),
    },
)
INITIALIZE_ENVIRONMENT = PsamCommand(
    "INITIALIZE ENVIRONMENT",
    0xEC,
    lambda h: "BFEC00000199",
    lambda h: h("BFEC00000199"),
    {
        "6700": lambda h: h("BFEC0000029999"),
        "6A80": lambda h: h("BFEC0000019A"),
        "6A86": lambda h: h("BFEC01000199"),
    },
    {"6985": "it is taken in every DF (OPEN S5)"},
)
EXTERNAL_AUTHENTICATION = PsamCommand(
    "EXTERNAL AUTHENTICATION",
    0x82,
    lambda h: "0082000110" + "11" * 16,
    lambda h: proved(h.send, h.algorithm, 1),
    {
        "63Cx": lambda h: _wrong(h, 1),
        "6581": lambda h: _broken(h, lambda h: _wrong(h, 1)),
        "6700": lambda h: h("008200010F" + "11" * 15),
        "6983": lambda h: _wrong(h, 4),
        "6984": lambda h: h("0082000110" + "11" * 16),
        "6985": lambda h: proved(_outside(h).send, h.algorithm, 1),
        "6A86": lambda h: h("0082010110" + "11" * 16),
        "6A88": lambda h: proved(h.send, h.algorithm, 4),
    },
    {"6982": "nothing must be proved before it"},
)
_KEY_WORDS: dict[str, PsamScenario] = {
    "6A82": lambda h: _load(h, _record(h), 0, p2=0x14),
    "6982": lambda h: _load(h, _record(h), 0, kid=0),
    "6985": lambda h: _load(_outside(h), _record(h), 0, kid=0),
    "6A88": lambda h: _load(_without_master(h), _record(h), 0),
}
CREATE_KEY = PsamCommand(
    "CREATE KEY",
    0xD4,
    lambda h: "84D4001124" + "00" * 36,
    lambda h: _load(h, _record(h), 0),
    _KEY_WORDS
    | {
        "6581": lambda h: _broken(h, lambda h: write_key(h.send, h.algorithm, _record(h)), kid=1),
        "6700": lambda h: h("84D4001123" + "00" * 35),
        "6983": lambda h: then([_load(h, _record(h), 0, key=bytes(16)) for _ in range(3)], _load(h, _record(h), 0)),
        "6984": lambda h: then(proved(h.send, h.algorithm), h("84D4001124" + "00" * 36)),
        "6988": lambda h: _load(h, _record(h), 0, key=bytes(16)),
        "6A80": lambda h: _load(h, _record(h, usage="7F08"), 0),
        "6A84": lambda h: _load(_full(h), _record(h), 0),
        "6A86": lambda h: h("84D4021124" + "00" * 36),
    },
    {"6A83": "it looks for no record", "6D00": NO_OTHER_INSTRUCTION},
)
CHANGED = "670800" + "55" * 16
CHANGE_KEY = PsamCommand(
    "CHANGE KEY",
    0xD4,
    lambda h: f"84D40111{_alg(h, '1C', '24')}" + "00" * (0x24 if h.is_sm4 else 0x1C),
    lambda h: then(_load(h, _record(h), 0), _load(h, CHANGED, 1)),
    {
        "6581": lambda h: then(
            _load(h, _record(h), 0), _broken(h, lambda h: write_key(h.send, h.algorithm, CHANGED, 1))
        ),
        "6700": lambda h: h("84D4011123" + "00" * 35),
        "6982": lambda h: _load(h, CHANGED, 1, kid=0),
        "6983": lambda h: then([_load(h, CHANGED, 1, key=bytes(16)) for _ in range(3)], _load(h, CHANGED, 1)),
        "6984": lambda h: then(proved(h.send, h.algorithm), h(CHANGE_KEY.plain(h))),
        "6985": lambda h: _load(_outside(h), CHANGED, 1, kid=0),
        "6988": lambda h: _load(h, CHANGED, 1, key=bytes(16)),
        "6A80": lambda h: _load(h, "670801" + "55" * 16, 1),
        "6A82": lambda h: _load(h, CHANGED, 1, p2=0x14),
        "6A83": lambda h: _load(h, CHANGED, 1),
        "6A86": lambda h: h(_at(CHANGE_KEY.plain(h), 2, "02")),
        "6A88": lambda h: _load(_without_master(h), CHANGED, 1),
    },
    {"6A84": "the record is there already", "6D00": NO_OTHER_INSTRUCTION},
)
DELIVERY_SESSION_KEY = PsamCommand(
    "DELIVERY SESSION KEY",
    0xDE,
    lambda h: DELIVERY,
    lambda h: then(_delivered(h), "9000"),
    {
        "6700": lambda h: h("BFDE670819" + FACTORS[:32] + PROCESS + "00"),
        "6985": lambda h: _outside(h)(_whole_delivery(h)),
        "6A80": lambda h: _delivered(h)(f"BFDE4708{_alg(h, '18', '20')}{FACTORS[:32]}{PROCESS}{_alg(h, '', '00' * 8)}"),
        "6A88": lambda h: h(_whole_delivery(h)),
    },
    {
        "6982": FREE_USE,
        "6983": FREE_USE,
        "6A86": "every P1 P2 names a key; one that is not there is 6A88",
        "6D00": NO_OTHER_INSTRUCTION,
    },
)


def _whole_delivery(h: PsamHost) -> str:
    return f"BFDE6708{_alg(h, '20', '28')}{FACTORS}{PROCESS}{_alg(h, '', '00' * 8)}"


CIPHER_DATA = PsamCommand(
    "CIPHER DATA",
    0xFA,
    lambda h: BLOCKS + _alg(h, "08" + "00" * 8, "10" + "00" * 16),
    lambda h: _delivered(h)(CIPHER_DATA.plain(h)),
    {
        "6700": lambda h: _delivered(h)(BLOCKS + "0C" + "00" * 12),
        "6901": lambda h: h(CIPHER_DATA.plain(h)),
        "6985": lambda h: _delivered(h, 0x66)(CIPHER_DATA.plain(h)),
        "6A86": lambda h: h("80FA040008" + "00" * 8),
    },
    {"6D00": NO_OTHER_INSTRUCTION},
)
INIT_SAM = PsamCommand(
    "INIT SAM FOR PURCHASE",
    0x70,
    _purchase,
    lambda h: h(_purchase(h)),
    {
        "6581": lambda h: _broken(h, lambda h: h(_purchase(h))),
        "6700": lambda h: h("8070010020" + "00" * 32),
        "6985": lambda h: _outside(h)(_purchase(h)),
        "6A80": lambda h: h(_at(_purchase(h), 4, "2C") + FACTORS[:16]),
        "6A86": lambda h: h(_at(_purchase(h), 2, "00")),
        "6A88": lambda h: h(_at(_purchase(h), 5 + 26, "09")),
    },
    {"6D00": NO_OTHER_INSTRUCTION},
)
CREDIT_SAM = PsamCommand(
    "CREDIT SAM FOR PURCHASE",
    0x72,
    lambda h: "8072000004" + "00" * 4,
    _settled,
    {
        "6700": lambda h: then(h(_purchase(h)), h("8072000003" + "00" * 3)),
        "6901": lambda h: h("8072000004" + "00" * 4),
        "6A86": lambda h: h("8072010004" + "00" * 4),
        "9302": lambda h: then(h(_purchase(h)), h("8072000004" + "00" * 4)),
    },
    {"6985": STATE_FIRST, "6D00": NO_OTHER_INSTRUCTION, "63Cx": "a wrong MAC2 is 9302 (OPEN S6)"},
)

PSAM_COMMANDS: tuple[PsamCommand, ...] = (
    SELECT_PSAM,
    GET_RESPONSE,
    READ,
    UPDATE,
    GET_CHALLENGE,
    INITIALIZE_ENVIRONMENT,
    EXTERNAL_AUTHENTICATION,
    CREATE_KEY,
    CHANGE_KEY,
    DELIVERY_SESSION_KEY,
    CIPHER_DATA,
    INIT_SAM,
    CREDIT_SAM,
)
