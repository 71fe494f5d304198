"""Files, authentication, PIN and blocks (draft P5 §6 and its tables, P7 §13)."""

from __future__ import annotations

from simulators.card import CardState, SimCard, crypto
from simulators.card.state import KeyType
from tests.cardlib.conformance.model import PIN, WRONG, Command, authenticated, df_of, enter, send_all, then, without
from tests.simulators.support import DF, SSSE, Host

DATE = "050420260202"
PLAIN_UPDATE = f"00DC052806{DATE}"
BINARY = "00D6870004AABBCCDD"
NO_RANDOM = "it takes no random"


def _secured_update(h: Host, ins: str, body: str, key: bytes | None = None) -> str:
    header = "04DC0528" if ins == "DC" else "04D68700"
    return authenticated(h, 0x04).secured(header, body, key or h.key(0x02))


def _without_challenge(h: Host, command: str) -> str:
    return authenticated(h, 0x04)(command)


def _missing_mac(h: Host, command: str) -> str:
    authenticated(h, 0x04)
    return send_all(h, "0084000008", command)


def _reload(h: Host, body: str = "", key: bytes | None = None, kid: int = 0x06) -> str:
    """PIN CHANGE/UNBLOCK; with `body` the cipher of a reload."""
    if kid:
        authenticated(h, kid)
    return h.secured("84240001" if body else "84240000", body, key or h.key(0x02))


def _block(h: Host, *, key: bytes | None = None, kid: int = 0x83, df: str = "DF03") -> str:
    enter(h, df)
    if kid:
        h.authenticate(kid, df)
    return h.secured("841E0001", "", key or h.key(0x82, df))


def _block_all(h: Host, *, key: bytes | None = None, kid: int = 0x05) -> str:
    h(SSSE)
    if kid:
        h.authenticate(kid)
    return h.secured("84160000", "", key or h.key(0x02))


def _wrong_authentication(h: Host, times: int) -> str:
    return [h.authenticate(0x06, key=bytes(16)) for _ in range(times)][-1]


SELECT = Command(
    "SELECT",
    0xA4,
    DF["DF03"],
    lambda h: h(SSSE),
    bad_p1p2="00A4030000",
    bad_length="00A4020003EF0501",
    df="DF03",
    words={"6A82": lambda h: h("00A4040006D15600000599"), "61xx": lambda h: h.card.transmit(bytes.fromhex(SSSE)).hex()},
)
GET_RESPONSE = Command(
    "GET RESPONSE",
    0xC0,
    "00C0000001",
    lambda h: h(SSSE),
    bad_p1p2="00C0010001",
    bad_length="00C000000100",
    words={
        "61xx": lambda h: then(h.card.transmit(bytes.fromhex(SSSE)), h("00C0000004")),
        "6Cxx": lambda h: then(h.card.transmit(bytes.fromhex(SSSE)), h("00C00000FF")),
        "6F00": lambda h: h("00C0000001"),
    },
)
GET_CHALLENGE = Command(
    "GET CHALLENGE", 0x84, "0084000008", lambda h: h("0084000008"), bad_p1p2="0084010008", bad_length="0084000005"
)
INTERNAL_AUTHENTICATION = Command(
    "INTERNAL AUTHENTICATION",
    0x88,
    "0088000010" + "11" * 16,
    lambda h: h("0088000010" + "11" * 16),
    bad_p1p2="0088000110" + "11" * 16,
    bad_length="008800000F" + "11" * 15,
    words={"6A88": lambda h: h("0088000011" + "11" * 16 + "03")},
)
EXTERNAL_AUTHENTICATION = Command(
    "EXTERNAL AUTHENTICATION",
    0x82,
    "0082000410" + "11" * 16,
    lambda h: h.authenticate(0x04),
    writes=True,
    bad_p1p2="0082010410" + "11" * 16,
    bad_length="008200040F" + "11" * 15,
    words={
        "6984": lambda h: h("0082000410" + "11" * 16),
        "6A88": lambda h: h.authenticate(0x0E, key=bytes(16)),
        "63Cx": lambda h: _wrong_authentication(h, 1),
        "6983": lambda h: _wrong_authentication(h, 4),
    },
)
VERIFY = Command(
    "VERIFY",
    0x20,
    PIN,
    lambda h: h(PIN),
    bad_p1p2="0020000103123456",
    bad_length="0020000001FF",
    words={
        "63Cx": lambda h: h(WRONG),
        "6983": lambda h: send_all(h, *[WRONG] * 4),
        "6A88": lambda h: without(h, "SSSE", {KeyType.PIN}, 1)(PIN),
    },
    unreachable={"6984": NO_RANDOM},
)
CHANGE_PIN = Command(
    "CHANGE PIN",
    0x5E,
    "805E010007123456FF654321",
    lambda h: h("805E010007123456FF654321"),
    writes=True,
    bad_p1p2="805E000007123456FF654321",
    bad_length="805E010001FF",
    words={
        "6A80": lambda h: h("805E010006123456654321"),
        "63Cx": lambda h: h("805E010007111111FF654321"),
        "6983": lambda h: send_all(h, *[WRONG] * 3, "805E010007123456FF654321"),
    },
)
PIN_CHANGE_UNBLOCK = Command(
    "PIN CHANGE/UNBLOCK",
    0x24,
    "842400000400000000",
    _reload,
    writes=True,
    bad_p1p2="842400020400000000",
    bad_length="842400000500000000" + "00",
    words={
        "6982": lambda h: _reload(h, kid=0),
        "6984": lambda h: authenticated(h, 0x06)("842400000400000000"),
        "6988": lambda h: _reload(h, key=bytes(8 if h.card.state.algorithm == 0 else 16)),
        "6A80": lambda h: _reload(h, _cipher(h, "0212FF")),
        "6983": lambda h: then(_wrong_authentication(h, 3), h("842400000400000000")),
        "6985": lambda h: Host(SimCard(CardState()))("842400000400000000"),
        "6A88": lambda h: without(h, "SSSE", {KeyType.PIN}, 1)("842400000400000000"),
    },
)


def _cipher(h: Host, plain: str) -> str:
    """The cipher of a reload under the session key of the worked challenge."""
    algorithm, body = h.card.state.algorithm, bytes.fromhex(plain) + b"\x80"
    session = crypto.session_key(algorithm, h.key(0x02), bytes.fromhex("A1A2A3A4A5A6A7A8"))
    return crypto.ecb(algorithm, session, body.ljust(algorithm.block, b"\0")).hex()


READ_BINARY = Command(
    "READ BINARY",
    0xB0,
    "00B0870004",
    lambda h: authenticated(h, 0x0A if _has_read_key(h) else 0x04)("00B0870004"),
    bad_p1p2="00B0E00004",
    words={
        "6B00": lambda h: send_all(_opened_fingerprint(h), "00B00F0001"),
        "6Cxx": lambda h: send_all(_opened_fingerprint(h), "00B002FF05"),
        "6981": lambda h: h("00B0850004"),
        "6982": lambda h: h("00B0870004"),
        "6986": lambda h: h("00B0000004"),
        "6A82": lambda h: h("00B09F0004"),
    },
    not_in_1_0={"6982": "no transparent file of 1.0 is protected from reading"},
)


def _has_read_key(h: Host) -> bool:
    return any(key.kid == 0x0A for key in df_of(h.card.state, "SSSE").keys)


def _opened_fingerprint(h: Host) -> Host:
    authenticated(h, 0x0A if _has_read_key(h) else 0x04)
    h("00A4020002EF07")
    return h


READ_RECORD = Command(
    "READ RECORD",
    0xB2,
    "00B2052806",
    lambda h: h("00B2052806"),
    bad_p1p2="00B2FF2C00",
    words={
        "6A83": lambda h: h("00B27F2800"),
        "6981": lambda h: send_all(_opened_fingerprint(h), "00B2010400"),
        "6982": lambda h: send_all(h, DF["DF04"], "00B28F2803"),
        "6986": lambda h: h("00B2010400"),
        "6A82": lambda h: h("00B201FC00"),
        "6Cxx": lambda h: h("00B2052800"),
    },
)
UPDATE_BINARY = Command(
    "UPDATE BINARY",
    0xD6,
    BINARY,
    lambda h: authenticated(h, 0x04)(BINARY),
    writes=True,
    df="DF03",
    bad_p1p2="00D6E70004AABBCCDD",
    bad_length="00D6870000",
    words={
        "6981": lambda h: authenticated(h, 0x04)("00D6850004AABBCCDD"),
        "6982": lambda h: h(BINARY),
        "6984": lambda h: _without_challenge(h, "04D6870006AABB00000000"),
        "6986": lambda h: h("00D6000001AA"),
        "6987": lambda h: _missing_mac(h, "04D6870002AABB"),
        "6988": lambda h: _secured_update(h, "D6", "AABB", bytes(8 if h.card.state.algorithm == 0 else 16)),
        "6A82": lambda h: h("00D69F0001AA"),
        "6B00": lambda h: send_all(authenticated(h, 0x04), "00A4020002EF07", "00D603000100"),
    },
)
UPDATE_RECORD = Command(
    "UPDATE RECORD",
    0xDC,
    PLAIN_UPDATE,
    lambda h: authenticated(h, 0x04)(PLAIN_UPDATE),
    writes=True,
    df="DF03",
    bad_p1p2="00DCFF2C06" + DATE,
    bad_length="00DC052800",
    words={
        "6981": lambda h: send_all(authenticated(h, 0x04), "00A4020002EF07", "00DC010403" + "010101"),
        "6982": lambda h: h(PLAIN_UPDATE),
        "6984": lambda h: _without_challenge(h, f"04DC05280A{DATE}00000000"),
        "6986": lambda h: h("00DC010403010101"),
        "6987": lambda h: _missing_mac(h, f"04DC052806{DATE}"),
        "6988": lambda h: _secured_update(h, "DC", DATE, bytes(8 if h.card.state.algorithm == 0 else 16)),
        "6A82": lambda h: h("00DC01FC03010101"),
        "6A83": lambda h: authenticated(h, 0x04)("00DC092C06" + "1104" + "20260101"),
        "6A84": lambda h: authenticated(h, 0x04)("00DC082C06" + "1104" + "20260101"),
        "6A85": lambda h: authenticated(h, 0x04)("00DC052806" + "050320250101"),
    },
)
APPLICATION_BLOCK = Command(
    "APPLICATION BLOCK",
    0x1E,
    "841E000104" + "00" * 4,
    _block,
    writes=True,
    df="DF03",
    bad_p1p2="841E000004" + "00" * 4,
    bad_length="841E000103" + "00" * 3,
    words={
        "6982": lambda h: _block(h, kid=0),
        "6984": lambda h: authenticated(h, 0x83, "DF03")("841E000104" + "00" * 4),
        "6985": lambda h: send_all(h, SSSE, "841E000104" + "00" * 4),
        "6988": lambda h: _block(h, key=bytes(8 if h.card.state.algorithm == 0 else 16)),
        "6A88": lambda h: send_all(
            without(h, "DF03", {KeyType.MAC, KeyType.MAC_ENCRYPTION}, 0x82), DF["DF03"], "841E000104" + "00" * 4
        ),
    },
    unreachable={"9303": "repeating it on a blocked application is done (9000, P5 §6.1.5)"},
)
CARD_BLOCK = Command(
    "CARD BLOCK",
    0x16,
    "8416000004" + "00" * 4,
    _block_all,
    writes=True,
    bad_p1p2="8416000104" + "00" * 4,
    bad_length="8416000003" + "00" * 3,
    words={
        "6982": lambda h: _block_all(h, kid=0),
        "6984": lambda h: authenticated(h, 0x05)("8416000004" + "00" * 4),
        "6988": lambda h: _block_all(h, key=bytes(8 if h.card.state.algorithm == 0 else 16)),
        "6A88": lambda h: without(h, "SSSE", {KeyType.MAC, KeyType.MAC_ENCRYPTION}, 0x02)("8416000004" + "00" * 4),
    },
)
