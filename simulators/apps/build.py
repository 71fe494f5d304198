"""Applications beside the SSSE as a persona describes them, with keys of this installation's simulated operator."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from simulators.apps import pki, sm2, transit
from simulators.apps import transit_crypto as crypto
from simulators.apps.certificate import certificate
from simulators.apps.state import BankState, KeyPair, NeighbourState, PinState, PkiState, PurseState
from simulators.apps.transit_psam import TYPE_MAINTENANCE, TYPE_PURCHASE, TYPE_TAC, TransitKey, TransitSam
from simulators.card import crypto as card_crypto

ALGORITHMS = {"3DES": crypto.TRIPLE_DES, "SM4": crypto.SM4}
KEY_VERSION, MAINTENANCE_VERSION = 1, 2
ISSUER = bytes.fromhex("09990100FFFFFFFF")
ACCEPTOR = bytes.fromhex("19990100FFFFFFFF")
PIN_RETRY, ADMIN_RETRY = 6, 6

RootOf = Callable[[str, str], bytes]
"""Root key of the simulated ministry by name and algorithm."""


def operator_root(root_of: RootOf, name: str, algorithm: str) -> bytes:
    """A root of the simulated transit operator.

    It follows from a root of the simulated ministry, so that one file makes the cards, the PSAMs and the back office
    of an installation belong together.
    """
    seed = root_of("MK_SSSE", algorithm)
    cipher = crypto.cipher(ALGORITHMS[algorithm])
    return card_crypto.diversify(cipher, seed, b"TR" + name.encode("ascii").ljust(6, b"\0"))


def purse(root_of: RootOf, table: Mapping[str, Any]) -> PurseState:
    """`serial` 20 digits, `algorithm`, `balance_fen`, `overdraft_fen`, `passenger_class`, `start`, `expiry`, `city`."""
    serial, issuer = bytes.fromhex(table["serial"]), bytes.fromhex(table.get("issuer", ISSUER.hex()))
    algorithm: str = table.get("algorithm", "3DES")
    code = ALGORITHMS[algorithm]

    def key(name: str) -> bytes:
        return crypto.card_key(code, operator_root(root_of, name, algorithm), issuer, serial[2:])

    dates = bytes.fromhex(table.get("start", "20250101") + table.get("expiry", "20350101"))
    province_city = bytes.fromhex(table.get("city", "99009901"))
    management = bytes.fromhex("00000156") + province_city + b"\x00\x01" + bytes((table.get("passenger_class", 1),))
    return PurseState(
        algorithm=code,
        key_index=1,
        key_version=KEY_VERSION,
        dpk=key("DPK"),
        dlk=key("DLK"),
        dtk=key("DTK"),
        damk=key("DAMK"),
        duk=key("DUK"),
        public=issuer + b"\x02\x01" + serial + dates + bytes(2),
        holder=bytes(55),
        management=management.ljust(60, b"\0"),
        processes=[empty_process(number) for number in (1, 2)],
        balance=table.get("balance_fen", 0),
        overdraft_limit=table.get("overdraft_fen", 0),
    )


def empty_process(number: int) -> bytes:
    """Record `number` of EF1A in status 00 (transit_card.md 2.4)."""
    head = bytes((transit.PROCESS_ID, number, transit.PROCESS_LENGTH - 3, 1, 1))
    return head.ljust(transit.PROCESS_LENGTH, b"\0")


def certificates(table: Mapping[str, Any]) -> PkiState:
    """`pin` and `admin_pin`; with a `subject` a fresh signing pair and its self-made certificate, else neither."""
    user, admin = pki.pin_key(table["pin"]), pki.pin_key(table["admin_pin"])
    pair, issued = KeyPair(), b""
    if "subject" in table:
        private, public = sm2.generate()
        pair = KeyPair(public, private)
        issued = certificate(table["subject"], public, private, serial=1, year=datetime.date.today().year)
    return PkiState(
        user=PinState(user, PIN_RETRY, PIN_RETRY),
        admin=PinState(admin, ADMIN_RETRY, ADMIN_RETRY),
        signing=pair,
        encryption=KeyPair(),
        signing_certificate=issued.ljust(pki.CERTIFICATE_SIZE, b"\0"),
        encryption_certificate=bytes(pki.CERTIFICATE_SIZE),
    )


def neighbours(root_of: RootOf, tables: Mapping[str, Mapping[str, Any]]) -> NeighbourState:
    """From the `[applications.*]` tables of a persona. Raises KeyError and ValueError on a wrong one."""
    unknown = set(tables) - {"transit", "pki", "bank"}
    if unknown:
        raise ValueError(f"no application {', '.join(sorted(unknown))}")
    bank = tables.get("bank")
    return NeighbourState(
        transit=purse(root_of, tables["transit"]) if "transit" in tables else None,
        pki=certificates(tables["pki"]) if "pki" in tables else None,
        bank=BankState(bank["number"], bank["expiry"], bank.get("sequence", 1)) if bank else None,
    )


def transit_sam(root_of: RootOf, terminal: bytes, *, sequence: int = 0) -> TransitSam:
    """The transit application of a PSAM that accepts this installation's cards."""
    kinds = (("DPK", TYPE_PURCHASE, KEY_VERSION), ("DTK", TYPE_TAC, KEY_VERSION))
    keys = {
        code: [
            TransitKey(kind, version, operator_root(root_of, name, algorithm))
            for name, kind, version in (*kinds, ("DAMK", TYPE_MAINTENANCE, MAINTENANCE_VERSION))
        ]
        for algorithm, code in ALGORITHMS.items()
    }
    return TransitSam(keys, ISSUER, ACCEPTOR, terminal, sequence)
