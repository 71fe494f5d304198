"""What a holder is asked for in a log-in, beside an identifier for the relying party alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from issuance.consents.catalogue import CATALOGUE, Item
from issuance.login.seam import AuthorizationRequest
from issuance.login.transactions import claims_of

_ESSC_NO: Final = Item(
    name="essc_no",
    zh="电子社保卡卡号",
    en="Number of the electronic card",
    source="ecards.ecard_no",
    field="",
    form="plain",
    by_code=(),
    ground="PIPL 13(1)1, 14",
)


def items_of(request: AuthorizationRequest) -> list[Item]:
    return items_named(claims_of(request))


def items_named(names: Iterable[str]) -> list[Item]:
    """Raises KeyError for a name that is no item's."""
    return [_ESSC_NO if name == _ESSC_NO.name else CATALOGUE[name] for name in names]
