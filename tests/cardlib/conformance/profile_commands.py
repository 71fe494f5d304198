"""Commands of the reference COS profile (`docs/card.md`): life cycle, structure, keys."""

from __future__ import annotations

from simulators.card import CardState, Life, SimCard
from tests.cardlib.conformance.model import Command, send_all
from tests.simulators.support import Host
from tests.simulators.test_rcp import MASTER, environment, master_record, structure
from tests.simulators.test_rcp import activated as activated_host

KEY_RECORD = "07040100FF000000" + "5A" * 16
FILE = "80E0EF0B0B2800100000000003000000"


def _chip() -> Host:
    return Host(SimCard(CardState()))


def _in_structure(h: Host) -> Host:
    """The same algorithm's card at stage 2, its environment made and proved."""
    made = environment(h.card.state.algorithm)
    made(structure(h.card.state.algorithm)[3]["apdu"])
    return made


def _key_record(h: Host) -> str:
    return KEY_RECORD.replace("0100FF", f"01{h.card.state.algorithm:02X}FF")


ACTIVATE_COS = Command(
    "ACTIVATE COS",
    0xF4,
    "",
    lambda h: _activate(h.card.state.algorithm),
    is_profile=True,
    words={
        "6700": lambda h: _chip()("80F400001D" + "00" * 29),
        "6A80": lambda h: _activate(0x01),
        "6985": lambda h: activated_host(h.card.state.algorithm)("80F400001E" + "00" * 30),
        "6D00": lambda h: h("80F400001E" + "00" * 30),
    },
)


def _activate(algorithm: int) -> str:
    return _chip()(f"80F400001E{'40' * 16}{algorithm:02X}00FE00000086FE990100000001")


GET_CARD_STATUS = Command(
    "GET CARD STATUS", 0xF2, "", lambda h: h("80F200000A"), is_profile=True, words={"6Cxx": lambda h: h("80F2000000")}
)
CREATE_FILE = Command(
    "CREATE FILE",
    0xE0,
    "",
    lambda h: _in_structure(h)(FILE),
    is_profile=True,
    words={
        "6700": lambda h: _in_structure(h)("80E0EF0B0428001000"),
        "6982": lambda h: activated_host(h.card.state.algorithm)(structure(h.card.state.algorithm)[1]["apdu"]),
        "6A80": lambda h: send_all(_in_structure(h), FILE, FILE),
        "6A84": lambda h: _in_structure(h)(FILE.replace("280010", "286001")),
        "6985": lambda h: activated_host(h.card.state.algorithm)(FILE),
        "6D00": lambda h: h(FILE),
    },
)
WRITE_KEY = Command(
    "WRITE KEY",
    0xD4,
    "",
    lambda h: _in_structure(h).write_key(0, _key_record(h), MASTER),
    is_profile=True,
    words={
        "6700": lambda h: _in_structure(h)("84D4000404" + "00" * 4),
        "6982": lambda h: _reset(_in_structure(h)).write_key(0, _key_record(h), MASTER),
        "6984": lambda h: _in_structure(h)("84D4000424" + "00" * 36),
        "6988": lambda h: _in_structure(h).write_key(0, _key_record(h), bytes(16)),
        "6A80": lambda h: _in_structure(h).write_key(0, "7F" + _key_record(h)[2:], MASTER),
        "6A82": lambda h: environment(h.card.state.algorithm).write_key(0, _key_record(h), MASTER),
        "6A84": lambda h: _full(_in_structure(h)).write_key(0, _key_record(h), MASTER),
        "6A86": lambda h: _in_structure(h)("84D4030424" + "00" * 36),
        "6A88": lambda h: _in_structure(h).write_key(1, _key_record(h), MASTER),
        "6983": lambda h: _locked_transport(h),
        "6985": lambda h: _before_its_master_key(h),
        "6D00": lambda h: h("84D4000424" + "00" * 36),
    },
)


def _before_its_master_key(h: Host) -> str:
    """A key for an environment that has no master key yet."""
    made, transport = activated_host(h.card.state.algorithm), bytes(range(0x40, 0x50))
    made.authenticate(0x00, key=transport)
    made(structure(h.card.state.algorithm)[1]["apdu"])
    return made.write_key(0, _key_record(h), transport)


def _reset(h: Host) -> Host:
    h.reset()
    return h


def _full(h: Host) -> Host:
    h.card.state.dfs[0].ef(0x0000).records_max = 0  # type: ignore[union-attr]
    return h


def _locked_transport(h: Host) -> str:
    made = activated_host(h.card.state.algorithm)
    made.authenticate(0x00, key=bytes(range(0x40, 0x50)))
    made(structure(h.card.state.algorithm)[1]["apdu"])
    for _ in range(3):
        made.authenticate(0x00, key=bytes(16))
    return made.write_key(2, master_record(h.card.state.algorithm, 0x00), bytes(range(0x40, 0x50)))


DELETE_STRUCTURE = Command(
    "DELETE STRUCTURE",
    0xEE,
    "",
    lambda h: _in_structure(h).under_master("84EE0000", "", MASTER),
    is_profile=True,
    words={
        "6700": lambda h: _in_structure(h)("84EE000003" + "00" * 3),
        "6982": lambda h: _reset(_in_structure(h))("84EE000004" + "00" * 4),
        "6984": lambda h: _in_structure(h)("84EE000004" + "00" * 4),
        "6988": lambda h: _in_structure(h).under_master("84EE0000", "", bytes(16)),
        "6985": lambda h: activated_host(h.card.state.algorithm)("84EE000004" + "00" * 4),
        "6D00": lambda h: h("84EE000004" + "00" * 4),
    },
)
SET_STATE = Command(
    "SET STATE",
    0xF4,
    "",
    lambda h: _issue(h),
    is_profile=True,
    words={
        "6700": lambda h: _in_structure(h)("84F4010303" + "00" * 3),
        "6982": lambda h: _reset(_in_structure(h))("84F4010304" + "00" * 4),
        "6984": lambda h: _in_structure(h)("84F4010304" + "00" * 4),
        "6988": lambda h: _in_structure(h).under_master("84F40103", "", bytes(16)),
        "6A80": lambda h: _in_structure(h).under_master("84F40104", "", MASTER),
        "6A86": lambda h: _in_structure(h)("84F4010204" + "00" * 4),
        "6985": lambda h: activated_host(h.card.state.algorithm)("84F4010304" + "00" * 4),
        "6D00": lambda h: h("84F4010404" + "00" * 4),
    },
)


def _issue(h: Host) -> str:
    """PRE-PERSONALISED to ISSUED, on a card whose keys are complete."""
    h.card.state.life = Life.PRE_PERSONALISED
    assert h.authenticate(0x00) == "9000"
    return h.under_master("84F40104", "", h.key(0x00))
