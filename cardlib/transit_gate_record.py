"""From the terminal's journal to the records of the centre: `cardlib.transit_takings` (transit_card.md §10).

The journal's `note` carries what the purse's own transaction does not say.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from cardlib.transit_gate_result import TapRecord
from cardlib.transit_gate_trip import Charge, entry_note
from cardlib.transit_journal import Pending, Settled
from cardlib.transit_records import PurseIdentity
from cardlib.transit_rules import Product, TransitRules
from cardlib.transit_takings import TapEntry, TapPlace, TransitRefusal, TransitTap


def note(rules: TransitRules, product: Product, passenger_class: int, city: str, charge: Charge) -> dict[str, Any]:
    """Of one charge; plain JSON. `city` is the purse's own."""
    place = rules.place
    return {
        "mode": "emergency" if charge.is_emergency else rules.mode.value,
        "city": city,
        "passenger_class": passenger_class,
        "product": product.slug,
        "item": product.item,
        "fare": charge.full_fare_fen,
        "place": {"city": place.city, "industry": place.industry, "line": place.line, "station": place.station},
        "acceptor": place.institution,
        "entry": entry_note(charge.entry) if charge.entry is not None else None,
        "marked": charge.marked_fen,
        "opens": charge.opens,
    }


def tap_record(settled: Settled) -> TapRecord:
    """Raises KeyError or ValueError for a note that this module did not write."""
    receipt, sale = settled.receipt, settled.receipt.transaction
    entry, kind = sale.note["entry"], _kind(sale)
    payload = TransitTap(
        psam=sale.terminal.upper(),
        number=sale.terminal_sequence.upper(),
        issuer=sale.issuer.upper(),
        serial=sale.serial,
        city=sale.note["city"].upper(),
        passenger_class=sale.note["passenger_class"],
        product=sale.note["product"],
        catalog_item=sale.note["item"],
        sequence=sale.sequence,
        balance_fen=sale.balance_fen,
        amount_fen=sale.amount_fen,
        fare_fen=sale.note["fare"],
        type=kind,
        mode=sale.note["mode"],
        time=sale.moment,
        key_version=sale.key_version,
        algorithm=sale.algorithm,
        tac=receipt.tac.upper() or None,
        is_verified=receipt.is_verified,
        acceptor=sale.note["acceptor"],
        place=TapPlace(**sale.note["place"]),
        entry=TapEntry(**entry) if entry else None,
        marked_fen=sale.note["marked"],
        outcome=settled.outcome.value,
    )
    return TapRecord(settled.key, payload)


def refusal_record(
    rules: TransitRules, psam: bytes, identity: PurseIdentity, reason: str, moment: str, *, is_locked: bool | None
) -> TapRecord:
    """For what somebody should hear of; nothing moved."""
    place = rules.place
    payload = TransitRefusal(
        psam=psam.hex().upper(),
        issuer=identity.issuer.hex().upper(),
        serial=identity.serial,
        reason=reason,
        is_locked=is_locked,
        time=moment,
        place=TapPlace(city=place.city, industry=place.industry, line=place.line, station=place.station),
    )
    name = f"{reason} {payload.psam} {identity.serial} {moment}"
    return TapRecord(hashlib.sha256(name.encode()).hexdigest()[:32], payload)


def _kind(sale: Pending) -> Literal[6, 9]:
    return 6 if sale.kind == 6 else 9
