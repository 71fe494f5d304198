"""The purse and the PSAM of the worked transit vectors."""

from __future__ import annotations

from typing import Any

from simulators.apps import transit_crypto as crypto
from simulators.apps.build import empty_process
from simulators.apps.state import NeighbourState, PurseState
from simulators.apps.transit_psam import TYPE_MAINTENANCE, TYPE_PURCHASE, TransitKey, TransitSam
from simulators.card import Algorithm, CardState, SimCard
from simulators.psam import SimPsam
from tests.simulators.support import FixedRandom, Host, vector_roots, vector_state, vectors

NAMES = ("3DES", "SM4")
META = vectors("vectors_transit")["meta"]
RECORDS = vectors("vectors_transit")["records"]
SELECT = META["select"]
ISSUER, ACCEPTOR = bytes.fromhex(META["issuer_id"]), bytes.fromhex(META["acceptor_id"])


def of(name: str) -> dict[str, Any]:
    return vectors("vectors_transit")["vectors"][name]


def root(name: str, key: str) -> bytes:
    """The vectors have no DUK: here it is their DLK read backwards."""
    if key == "DUK":
        return root(name, "DLK")[::-1]
    return bytes.fromhex(of(name)["diversification"][key]["root"])


def purse(name: str, **values: Any) -> PurseState:
    """The card of section 12; counters as the purchase vector finds them."""
    keys = {key: bytes.fromhex(v["card_key"]) for key, v in of(name)["diversification"].items()}
    start: dict[str, Any] = {"balance": 10000, "offline": 0x0010, "online": 0x0003} | values
    code = int(of(name)["algorithm_id"], 16)
    return PurseState(
        algorithm=code,
        key_index=1,
        key_version=1,
        dpk=keys["DPK"],
        dlk=keys["DLK"],
        dtk=keys["DTK"],
        damk=keys["DAMK"],
        duk=crypto.card_key(code, root(name, "DUK"), ISSUER, bytes.fromhex(META["serial_factor"])),
        public=bytes.fromhex(META["ef15"]),
        holder=bytes(55),
        management=bytes.fromhex(META["ef17"]),
        processes=[empty_process(1), empty_process(2)],
        **start,
    )


def state(name: str, **values: Any) -> CardState:
    """A social security card with the purse beside its own files."""
    card = vector_state(Algorithm.SM4)
    card.neighbours = NeighbourState(transit=purse(name, **values))
    return card


def card(name: str, *randoms: str, **values: Any) -> SimCard:
    return SimCard(state(name, **values), rng=FixedRandom(*randoms))


def selected(name: str, *randoms: str, **values: Any) -> Host:
    host = Host(card(name, *randoms, **values))
    assert host(SELECT) == META["fci"]
    return host


def sam(
    name: str, terminal: str = "T1", sequence: int = 0x100, levels: int = 2, *, is_mac_folded: bool = True
) -> SimPsam:
    """A PSAM with the vectors' roots, or with roots already diversified by the issuer (`levels` 1)."""
    psam = SimPsam(vector_roots(), terminal_number=META["terminals"][terminal])
    part = "root" if levels == 2 else "level_issuer"
    keys = {
        int(of(n)["algorithm_id"], 16): [
            TransitKey(kind, version, bytes.fromhex(of(n)["diversification"][key][part]), levels)
            for key, kind, version in (("DPK", TYPE_PURCHASE, 1), ("DAMK", TYPE_MAINTENANCE, 2))
        ]
        for n in NAMES
    }
    number = bytes.fromhex(META["terminals"][terminal])
    psam.transit = TransitSam(keys, ISSUER, ACCEPTOR, number, sequence, is_mac_folded=is_mac_folded)
    return psam


ENVIRONMENT = {
    "3DES": "00A404000F7378312E73682EC9E7BBE1B1A3D5CF",
    "SM4": "00A404000F7378332E73682EC9E7BBE1B1A3D5CF",
}
